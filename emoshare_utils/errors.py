"""Errors that the user can mend: a notebook shows the message alone."""


class UserError(Exception):
    """What is wrong is not in our source, so a notebook shows no line of it."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of the traceback."""
        return [f"{type(self).__name__}: {self}"]


class Stopped(KeyboardInterrupt):
    """Stopped by hand; the message says what is kept. No `Exception`: nothing may swallow it."""

    _render_traceback_ = UserError._render_traceback_


class NotMadeYet(UserError, FileNotFoundError):
    """A file that an earlier notebook makes; the message names that notebook."""
