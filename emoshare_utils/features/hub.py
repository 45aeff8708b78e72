"""Models of the Hugging Face hub: which names are ids there, and whether it answers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import transformers
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

TIMEOUT_S = 5
BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def is_id(name: str) -> bool:
    """Whether a name has the form of an id, "org/model"."""
    return bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name))


def access(model_id: str) -> dict[str, bool]:
    """How `from_pretrained` should look for a model: on this disk alone if the hub does not answer.

    It is asked once, for seconds at most; `from_pretrained` would ask six times within a minute.
    """
    try:
        get_hf_file_metadata(hf_hub_url(model_id, "config.json"), timeout=TIMEOUT_S)
    except HfHubHTTPError as refusal:  # an answer, which from_pretrained explains
        status = refusal.response.status_code
        return {"local_files_only": status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in BUSY}
    except Exception:  # whatever is wrong with the network, or switched off
        return {"local_files_only": True}
    return {}


@contextmanager
def no_bar() -> Iterator[None]:
    """Without transformers' progress bar, which a folder on disk is too quick for."""
    shown = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.logging.enable_progress_bar()
