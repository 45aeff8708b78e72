"""Where an encoder can be had that is not on this machine."""

import os
import urllib.error
import urllib.request
from http import HTTPStatus

from emoshare_utils.features.encoder import brief
from emoshare_utils.features.encoders import ENCODERS
from emoshare_utils.features.hub import is_id
from emoshare_utils.features.pretrained import PAPER_ENCODERS
from emoshare_utils.names import FRAMES, nearest
from emoshare_utils.paths import resolve

TIMEOUT_S = 5
BY_HAND = (
    "copy config.json, preprocessor_config.json and model.safetensors of it into a folder and "
    "name that folder as the encoder"
)


def where_to_get(model: str, error: Exception) -> tuple[str, str, bool]:
    """What is wrong with an encoder that could not be loaded without the network.

    Returns:
        What, a remedy, and whether it would stop the run: not if the run can fetch it.
    """
    here = model.startswith(FRAMES) or model in ENCODERS or resolve(model).exists()
    if model not in PAPER_ENCODERS and (here or not is_id(model)):
        return brief(error), "correct or replace it, or leave it out of encoder", True
    hub_id = PAPER_ENCODERS[model].id if model in PAPER_ENCODERS else model
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    what = f"encoder {model!r} is not on this machine"
    try:
        request = urllib.request.Request(f"{hub}/{hub_id}/resolve/main/config.json", method="HEAD")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return f"{what}; {hub} has it", "notebook 02 fetches it: that takes its time", False
    except urllib.error.HTTPError as refusal:
        if refusal.code in (HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED):
            hint = nearest(model, ENCODERS)
            return f"{what}, and {hub} has no public model {hub_id!r}", hint, True
        return f"{what}, and {hub} answers {refusal.code}", BY_HAND, True
    except (OSError, ValueError):
        return f"{what}, and {hub} cannot be reached from here", BY_HAND, True
