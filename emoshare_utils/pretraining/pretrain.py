"""Pretrains an encoder on speech alone: audio, updates, and what is kept.

An update is made of its number alone (which clips, what is hidden, which units drop out), so one
that starts from a checkpoint does what an uninterrupted one would have done.
"""

import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import nn
from transformers import Wav2Vec2FeatureExtractor

from emoshare_utils.device import choose_device, choose_precision
from emoshare_utils.features.small_network import Size
from emoshare_utils.files import atomic, locked, writing
from emoshare_utils.pretraining.audio import Audio, checksum, cut, draw_batches, n_frames
from emoshare_utils.pretraining.masking import draw_mask
from emoshare_utils.pretraining.objectives import OBJECTIVES
from emoshare_utils.pretraining.plan import Plan
from emoshare_utils.progress import track

MADE = (
    "checkpoint.pt",
    "config.json",
    "history.csv",
    "model.safetensors",
    "preprocessor_config.json",
    "README.md",
)
FEW = {"hubert": 3, "wav2vec2": 20}  # clusters, codebook entries: fewer in use is no good sign


def pretrain(
    objective: str,
    heard: Audio,
    folder: Path,
    plan: Plan,
    size: Size = Size(),
    labels: Sequence[np.ndarray] | None = None,
    start: Path | None = None,
    device: str = "auto",
    every: int = 500,
) -> pd.DataFrame:
    """Pretrain an encoder, or go on where the last call was interrupted, and export it.

    Args:
        objective: "hubert", which needs `labels` (one (L, G) array a clip), or "wav2vec2".
        start: an encoder's folder, whose weights to start from; None: by chance.
        folder: what is made goes here: `checkpoint.pt` after `every` updates, and in the end the
            encoder, which `load_encoder` loads by this folder's name.

    Returns:
        The history: for each stretch of updates the means of loss, accuracy and use (see
        `Outcome`), the gradient's length, and seconds of computing.

    Raises:
        ValueError: an unknown objective, labels that do not fit the clips, or a loss that is no
            number.
        StoreError: another process pretrains into this very folder, or the disk is full.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective = {objective!r}: expected one of {', '.join(OBJECTIVES)}")
    if objective == "hubert":
        _check(heard, labels)
    else:
        labels = None
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "objective": objective,
        "plan": asdict(plan),
        "size": asdict(size),
        "audio": checksum(heard.clips),
        "labels": labels and checksum(labels),
        "start": start and zlib.crc32((start / "model.safetensors").read_bytes()),
    }
    torch.manual_seed(plan.seed)
    parts = {}
    if labels is not None:
        parts["clusters"] = [1 + int(k) for k in np.max([clip.max(0) for clip in labels], axis=0)]
    learner = Learner(
        about, OBJECTIVES[objective](size, **parts, dropout=plan.dropout), plan, device
    )
    if start:
        learner.objective.encoder.load_state_dict(load_file(start / "model.safetensors"))
    with locked(folder):
        learner.restore(folder)
        if not (learner.done == plan.updates and (folder / "model.safetensors").is_file()):
            _go_on(learner, heard, labels, folder, every)
    return pd.DataFrame(learner.history)


def _go_on(
    learner: "Learner",
    heard: Audio,
    labels: Sequence[np.ndarray] | None,
    folder: Path,
    every: int,
) -> None:
    """Make the updates that are left, and export the encoder."""
    plan = learner.plan
    (folder / "model.safetensors").unlink(missing_ok=True)  # there is an encoder only in the end
    batches = islice(enumerate(draw_batches(heard, plan)), learner.done, plan.updates)
    label = f"{learner.about['objective']}, seed {plan.seed}"
    stretch, since = [], time.monotonic()
    for number, clips in track(batches, label, plan.updates - learner.done, "updates"):
        stretch.append(learner.update(number, *cut(heard, labels, clips, plan, number)))
        if len(stretch) == every or number + 1 == plan.updates:
            learner.note(stretch, time.monotonic() - since)
            learner.keep(folder)
            stretch, since = [], time.monotonic()
    export(learner.objective.encoder, folder)


class Learner:
    """An objective in training: its network, its optimiser, and what has happened so far."""

    def __init__(self, about: dict, objective: nn.Module, plan: Plan, device: str) -> None:
        self.about, self.objective, self.plan = about, objective, plan
        self.device = choose_device(device)
        self.dtype = choose_precision("auto", self.device)
        self.objective.to(self.device).train()
        self.optimiser = torch.optim.AdamW(
            self.objective.parameters(), betas=(0.9, 0.98), eps=1e-6, fused=True
        )
        self.done, self.history = 0, []

    def update(
        self, number: int, samples: np.ndarray, labels: np.ndarray | None
    ) -> tuple[float, ...]:
        """A step on samples (N, n), labels (N, L, G): loss, accuracy, use, gradient's length."""
        seed_update(self.plan.seed, number)
        hidden = draw_mask(
            len(samples), n_frames(samples.shape[1]), self.plan.hidden, self.plan.span
        ).to(self.device)
        labels = None if labels is None else torch.from_numpy(labels).to(self.device)
        samples = torch.from_numpy(samples).to(self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            outcome = self.objective(samples, hidden, labels, number / self.plan.updates)
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate(number)
        self.optimiser.zero_grad()
        outcome.loss.backward()
        length = nn.utils.clip_grad_norm_(self.objective.parameters(), self.plan.clip_gradient)
        if not (outcome.loss.isfinite() and length.isfinite()):
            raise ValueError(
                f"update {number + 1}: the loss or its gradient is no finite number: set a lower "
                f"learning rate than {self.plan.learning_rate}, and the training starts anew"
            )
        self.optimiser.step()
        self.done = number + 1
        return (*(value.item() for value in outcome), length.item())

    def note(self, stretch: list[tuple[float, ...]], seconds: float) -> None:
        """Add a stretch of updates to the history."""
        loss, accuracy, use, gradient = np.mean(stretch, axis=0).tolist()
        self.history.append(
            {
                "update": self.done,
                "loss": loss,
                "accuracy": accuracy,
                "use": use,
                "gradient": gradient,
                "seconds": seconds,
            }
        )
        print(
            f"update {self.done}: loss {loss:.3f}, {accuracy:.1%} told right, {use:.1f} in use",
            flush=True,
        )
        for sign in signs_of_collapse(self.about["objective"], pd.DataFrame(self.history)):
            print(f"update {self.done}: {sign}", flush=True)

    def keep(self, folder: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "about": json.dumps(self.about),
            "done": self.done,
            "history": self.history,
            "objective": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with writing(folder), atomic(folder / "checkpoint.pt") as file:
            torch.save(state, file)

    def restore(self, folder: Path) -> None:
        """Go back to the checkpoint, if there is one of this objective, plan and size."""
        file, finished = folder / "checkpoint.pt", (folder / "model.safetensors").is_file()
        if not file.is_file():
            if finished:
                print(f"{folder} has no checkpoint.pt: its encoder is now in {_set_aside(folder)}")
            return
        try:
            state = torch.load(file, map_location=self.device, weights_only=True)
        except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
            cause = " ".join(str(error).split())[:100]
            kept = f"; what was finished is in {_set_aside(folder)}" if finished else ""
            print(f"{file} is damaged ({cause}): this encoder starts from its first update{kept}")
            return
        if state["about"] != json.dumps(self.about):
            aside = _set_aside(folder)
            print(f"{file} was of other settings: it is now in {aside}, and this encoder starts")
            return
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done, self.history = state["done"], state["history"]
        print(f"{folder.name}: goes on after update {self.done}", flush=True)


def _set_aside(folder: Path) -> Path:
    """Move an encoder of other settings, which may have taken a night, out of the way."""
    aside = folder / f"earlier-{1 + sum(1 for _ in folder.glob('earlier-*'))}"
    aside.mkdir()
    for file in [file for file in folder.iterdir() if file.name in MADE]:
        file.replace(aside / file.name)
    return aside


def seed_update(seed: int, number: int) -> None:
    """Start the random numbers of one update."""
    torch.manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def signs_of_collapse(objective: str, history: pd.DataFrame) -> list[str]:
    """What in the last stretch hints that the encoder learns nothing of speech; mostly empty."""
    last, signs = history.iloc[-1], []
    if last["use"] < FEW[objective]:
        what = "clusters" if objective == "hubert" else "codebook entries"
        signs.append(f"only {last['use']:.1f} {what} are in use")
    if last["gradient"] < 1e-4:
        signs.append(f"the gradient has vanished ({last['gradient']:.1e})")
    if len(history) > 2 and last["loss"] > history["loss"].iloc[0]:
        signs.append(f"the loss, {last['loss']:.2f}, is above that of the first stretch")
    return [f"sign of collapse: {sign}" for sign in signs]


def export(encoder: nn.Module, folder: Path) -> None:
    """Write the encoder in float16 as a folder that `from_pretrained` loads; its weights last."""
    half = {name: value.detach().half().cpu() for name, value in encoder.state_dict().items()}
    encoder.config.dtype = torch.float16
    encoder.config.hidden_dropout = encoder.config.feat_proj_dropout = 0.0  # frozen from here on
    encoder.config.architectures = [type(encoder).__name__]
    with writing(folder):
        encoder.config.save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(
            folder
        )
        with atomic(folder / "model.safetensors") as file:
            file.write(save(half, metadata={"format": "pt"}))


def _check(heard: Audio, labels: Sequence[np.ndarray] | None) -> None:
    expected = [n_frames(len(clip)) for clip in heard.clips]
    if labels is None or [len(clip) for clip in labels] != expected:
        raise ValueError(
            "hubert needs labels, one for each frame of each clip: make them with "
            "label_by_acoustics or label_by_layer from the same audio"
        )
