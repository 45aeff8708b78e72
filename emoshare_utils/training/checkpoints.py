"""The state of a training run after its last epoch, from which an interrupted one goes on.

One file an emotion and epoch, `checkpoint/<emotion>-<epoch>.safetensors`, of which the last and
the best stay; `checkpoint/state.json` is written last and says which epochs those are.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from emoshare_utils.files import atomic, slug, writing
from emoshare_utils.training.learner import Learner

FOLDER = "checkpoint"
STATE = ("epoch", "best_rho", "best_epoch", "kept_epoch")


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
            if learner.epoch == epoch:  # it has not dropped out
                with atomic(_file(folder, emotion, epoch)) as file:
                    file.write(save(learner.tensors()))
        state = {
            "about": about,
            "epoch": epoch,
            "order": order.bit_generator.state,
            "history": history,
            "learners": {
                emotion: {name: getattr(learner, name) for name in STATE}
                for emotion, learner in learners.items()
            },
        }
        with atomic(folder / "state.json") as file:
            file.write(json.dumps(state).encode())
        kept = {
            _file(folder, emotion, counts)
            for emotion, learner in learners.items()
            for counts in (learner.epoch, learner.kept_epoch)
        }
        for file in set(folder.glob("*.safetensors")) - kept:
            file.unlink()


def restore(
    system: Path, about: dict, learners: dict[str, Learner], order: np.random.Generator
) -> tuple[int, list[dict]]:
    """Put learners and `order` into the state that `write` kept: its epoch and history.

    The epoch is 0 where there is none of these settings, or none that can be read; what else
    there is, is deleted.
    """
    folder = system / FOLDER
    file = folder / "state.json"
    if not file.is_file():
        remove(system)
        return 0, []
    try:
        state = json.loads(file.read_text())
        tensors = {}
        for emotion, of_one in state["learners"].items():
            load_file(_file(folder, emotion, of_one["kept_epoch"]))  # needed in the end
            tensors[emotion] = load_file(_file(folder, emotion, of_one["epoch"]))
    except (ValueError, KeyError, FileNotFoundError, SafetensorError) as error:
        print(f"{folder} is damaged ({error}): this system starts again from its first epoch")
        remove(system)
        return 0, []
    if state["about"] != about:
        print(f"{folder} is of other settings: this system starts from its first epoch")
        remove(system)
        return 0, []
    for emotion, learner in learners.items():
        vars(learner).update(state["learners"][emotion])
        learner.restore(tensors[emotion])
    order.bit_generator.state = state["order"]
    return state["epoch"], state["history"]


def take_best(system: Path, learners: dict[str, Learner]) -> None:
    """Put every learner's network back to the epoch whose weights count."""
    for emotion, learner in learners.items():
        learner.take_weights(load_file(_file(system / FOLDER, emotion, learner.kept_epoch)))


def remove(system: Path) -> None:
    """Delete the checkpoint of a finished system."""
    shutil.rmtree(system / FOLDER, ignore_errors=True)


def _file(folder: Path, emotion: str, epoch: int) -> Path:
    return folder / f"{slug(emotion)}-{epoch}.safetensors"
