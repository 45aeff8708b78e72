"""The state of training after its last epoch, from which it resumes when it was interrupted.

One file per emotion and epoch, `checkpoint/<emotion>-<epoch>.safetensors`, of which the last and
the best stay. `checkpoint/state.json` is written last and says which epochs those are.
"""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from emoshare_utils.files import DamagedError, read_json, slug, write_json, writing
from emoshare_utils.models.weights import read_tensors, write_tensors
from emoshare_utils.training.early_stopping import EarlyStopping
from emoshare_utils.training.learner import Learner

FOLDER = "checkpoint"


def write(
    system: Path,
    about: dict,
    epoch: int,
    learners: dict[str, Learner],
    order: np.random.Generator,
    history: list[dict],
) -> None:
    """Write the state after `epoch` of the system with the settings `about` into its folder.

    Raises:
        FolderError: the disk is full, or the folder cannot be written.
    """
    folder = system / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
        for emotion, learner in learners.items():
            if learner.stopping.epoch == epoch:  # it has not stopped
                write_tensors(_file(folder, emotion, epoch), learner.tensors())
        state = {
            "about": about,
            "epoch": epoch,
            "order": order.bit_generator.state,
            "history": history,
            "learners": {
                emotion: asdict(learner.stopping) for emotion, learner in learners.items()
            },
        }
        write_json(folder / "state.json", state)
        kept = {
            _file(folder, emotion, needed)
            for emotion, learner in learners.items()
            for needed in (learner.stopping.epoch, learner.stopping.kept_epoch)
        }
        for file in set(folder.glob("*.safetensors")) - kept:
            file.unlink()


def restore(
    system: Path, about: dict, learners: dict[str, Learner], order: np.random.Generator
) -> tuple[int, list[dict]]:
    """Restore learners and `order` to the state that `write` wrote; return its epoch and history.

    The epoch is 0 if there is no checkpoint, or if it has other settings or cannot be read: then it
    is deleted.
    """
    folder = system / FOLDER
    file = folder / "state.json"
    if not file.is_file():
        remove(system)
        return 0, []
    try:
        state = read_json(file)
        tensors = {}
        for emotion, of_one in state["learners"].items():
            read_tensors(_file(folder, emotion, of_one["kept_epoch"]))  # needed at the end
            tensors[emotion] = read_tensors(_file(folder, emotion, of_one["epoch"]))
    except (DamagedError, FileNotFoundError) as error:
        print(f"{error}: this system restarts from its first epoch")
        remove(system)
        return 0, []
    if state["about"] != about:
        print(f"{folder} has other settings: this system starts from its first epoch")
        remove(system)
        return 0, []
    for emotion, learner in learners.items():
        learner.stopping = EarlyStopping(**state["learners"][emotion])
        learner.restore(tensors[emotion])
    order.bit_generator.state = state["order"]
    return state["epoch"], state["history"]


def take_best(system: Path, learners: dict[str, Learner]) -> None:
    """Restore every learner's network to its weights after the epoch that is kept."""
    for emotion, learner in learners.items():
        file = _file(system / FOLDER, emotion, learner.stopping.kept_epoch)
        learner.take_weights(read_tensors(file))


def remove(system: Path) -> None:
    """Delete the checkpoint of a finished system."""
    shutil.rmtree(system / FOLDER, ignore_errors=True)


def _file(folder: Path, emotion: str, epoch: int) -> Path:
    return folder / f"{slug(emotion)}-{epoch}.safetensors"
