"""The state of a training run after its last epoch, from which an interrupted one goes on.

One file an emotion, `checkpoint/<emotion>-<epoch>.safetensors`, so that memory never holds all of
them twice; `checkpoint/state.json` is written last and says which epoch counts.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save

from emoshare_utils.learner import Learner
from emoshare_utils.store import atomic, slug, writing

FOLDER = "checkpoint"


def write(
    system: Path,
    about: dict,
    epoch: int,
    learners: dict[str, Learner],
    order: np.random.Generator,
    history: list[dict],
) -> None:
    """Keep the state after `epoch` of the system with the settings `about` in its folder.

    StoreError says so where the disk is full.
    """
    folder = system / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
        for emotion, learner in learners.items():
            with atomic(_file(folder, emotion, epoch)) as file:
                file.write(save(learner.tensors()))
        state = {
            "about": about,
            "epoch": epoch,
            "order": order.bit_generator.state,
            "history": history,
            "best": {name: (one.best_rho, one.best_epoch) for name, one in learners.items()},
        }
        with atomic(folder / "state.json") as file:
            file.write(json.dumps(state).encode())
        kept = {_file(folder, emotion, epoch) for emotion in learners}
        for file in set(folder.glob("*.safetensors")) - kept:
            file.unlink()


def restore(
    system: Path, about: dict, learners: dict[str, Learner], order: np.random.Generator
) -> tuple[int, list[dict]]:
    """Put learners and `order` into the state that `write` kept: its epoch and history.

    The epoch is 0 where there is none of these settings; what there is of others is deleted.
    """
    folder = system / FOLDER
    state = json.loads(_text(folder / "state.json"))
    if state.get("about") != about:
        remove(system)
        return 0, []
    for emotion, learner in learners.items():
        learner.restore(load_file(_file(folder, emotion, state["epoch"])))
        learner.best_rho, learner.best_epoch = state["best"][emotion]
    order.bit_generator.state = state["order"]
    return state["epoch"], state["history"]


def remove(system: Path) -> None:
    """Delete the checkpoint of a finished system."""
    shutil.rmtree(system / FOLDER, ignore_errors=True)


def _file(folder: Path, emotion: str, epoch: int) -> Path:
    return folder / f"{slug(emotion)}-{epoch}.safetensors"


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else "{}"
