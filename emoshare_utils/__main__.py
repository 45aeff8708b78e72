"""`python -m emoshare_utils run PROFILE`: the numbered notebooks, one after the other."""

import argparse
import signal
import sys

from emoshare_utils.runner.execute import NotebookFailed
from emoshare_utils.runner.profiles import WorkbookError, parse_settings


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0, 1 for a failing notebook, 2 for bad input, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m emoshare_utils")
    run = parser.add_subparsers(required=True).add_parser(
        "run", help="run the numbered notebooks that are not up to date"
    )
    run.add_argument("profile", help="a name in profiles/, or a path to a .yaml file")
    run.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="name=value",
        help="parameters in place of the profile's; the value is read as YAML",
    )
    run.add_argument("--only", metavar="03", help="run this notebook alone")
    run.add_argument("--force", action="store_true", help="run what is up to date, too")
    given = parser.parse_args(arguments)

    sys.stdout.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        overrides = parse_settings(given.set)
        run(given.profile, overrides, only=given.only, force=given.force)
    except NotebookFailed as error:
        print(error, file=sys.stderr)
        return 1
    except (WorkbookError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"\nstopped{stopped}: the same command goes on with that notebook", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
