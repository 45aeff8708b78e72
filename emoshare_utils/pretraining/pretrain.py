"""Pretrain an encoder on audio alone: its updates, checkpoints and export.

The number of an update alone decides its clips, its mask and its dropout, so that a run resumed
from a checkpoint makes the same updates as an uninterrupted one.
"""

import io
import json
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import Wav2Vec2FeatureExtractor

from emoshare_utils.device import choose_device, choose_precision
from emoshare_utils.features.small_network import MiniConfig
from emoshare_utils.files import (
    UNSEALED,
    DamagedError,
    atomic,
    checksum,
    locked,
    read_json,
    read_sealed,
    sealed,
    write_json,
    write_text,
)
from emoshare_utils.models.weights import read_tensors, write_tensors
from emoshare_utils.pretraining.audio import Audio, crc32, crop, draw_batches, n_frames
from emoshare_utils.pretraining.hubert import Hubert
from emoshare_utils.pretraining.masking import draw_mask
from emoshare_utils.pretraining.objective import Outcome
from emoshare_utils.pretraining.plan import Plan
from emoshare_utils.pretraining.wav2vec2 import Wav2Vec2
from emoshare_utils.progress import track

OBJECTIVES = {"hubert": Hubert, "wav2vec2": Wav2Vec2}
IN_USE = {"hubert": "clusters", "wav2vec2": "codebook entries"}  # what the perplexity counts
COLLAPSE_BELOW = {"hubert": 3, "wav2vec2": 20}  # a perplexity that is a sign of collapse
FILES = (
    "checkpoint.pt",
    "config.json",
    "export.json",
    "history.csv",
    "model.safetensors",
    "preprocessor_config.json",
    "README.md",
)
EXPORTED = ("config.json", "preprocessor_config.json", "model.safetensors")
Measures = tuple[float, float, float, float]  # of an update: loss, accuracy, perplexity, gradient


def pretrain(
    objective: str,
    audio: Audio,
    folder: Path,
    plan: Plan,
    config: MiniConfig = MiniConfig(),
    start: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> pd.DataFrame:
    """Pretrain an encoder, or resume from the last checkpoint, and export the encoder.

    Args:
        objective: "hubert", which needs labelled audio, or "wav2vec2".
        folder: gets `checkpoint.pt` every `plan.checkpoint_every` updates, and in the end the
            encoder, which `load_encoder` loads by this folder's name.
        config: the encoder's network.
        start: the folder of an encoder to start from; None: random weights.
        precision: of the products, "float32", "bfloat16" or "auto"; weights are float32.

    Returns:
        The history, one row per checkpoint: update, and the means since the row before of loss,
        accuracy, use (the perplexity; see `Outcome`) and gradient (its norm); seconds of computing.

    Raises:
        ValueError: an unknown objective, no labels for HuBERT, or a loss that is not finite.
        FolderError: another process pretrains into this folder, or the disk is full.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective = {objective!r}: expected one of {', '.join(OBJECTIVES)}")
    if objective == "hubert" and audio.labels is None:
        raise ValueError("hubert needs labels: make them with label_by_acoustics or label_by_layer")
    if objective != "hubert":
        audio = audio.labelled(None)
    folder.mkdir(parents=True, exist_ok=True)
    pretrainer = Pretrainer(objective, audio, plan, config, start, device, precision)
    with locked(folder):
        if (history := _finished(folder, pretrainer.about)) is None:
            pretrainer.restore(folder)
            if pretrainer.done < plan.updates:
                (folder / "model.safetensors").unlink(missing_ok=True)  # it means finished
                pretrainer.run(audio, folder)
            export(pretrainer.network.encoder, folder)
            files = {name: checksum((folder / name).read_bytes()) for name in EXPORTED}
            history = pretrainer.history
            about = {"about": pretrainer.about, "files": files, "history": history}
            write_json(folder / "export.json", about)
    return pd.DataFrame(history)


def _finished(folder: Path, about: dict) -> list[dict] | None:
    """The history of this very encoder, if it is exported and whole; says what is damaged."""
    try:
        record = read_json(folder / "export.json")
    except FileNotFoundError:
        return None
    except DamagedError as error:
        print(f"{error}: the encoder is exported again", flush=True)
        return None
    if record["about"] != json.loads(json.dumps(about)):
        return None
    for name, expected in record["files"].items():
        file = folder / name
        if not file.is_file() or checksum(file.read_bytes()) != expected:
            print(f"{file} is lost or damaged: the encoder is exported again", flush=True)
            return None
    return record["history"]


class Pretrainer:
    """An objective in training: its network, its optimiser, and its history.

    The arguments are those of `pretrain`.

    Attributes:
        about: everything that decides the weights; a checkpoint of another `about` is set aside.
        done: the number of updates made.
    """

    def __init__(
        self,
        objective: str,
        audio: Audio,
        plan: Plan,
        config: MiniConfig,
        start: Path | None,
        device: str,
        precision: str = "auto",
    ) -> None:
        self.objective, self.plan = objective, plan
        self.about = {
            "objective": objective,
            "plan": plan.stored(),
            "size": asdict(config),
            "audio": crc32(*audio.clips),
            "labels": audio.labels and crc32(*audio.labels),
            "start": start and crc32((start / "model.safetensors").read_bytes()),
        }
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        torch.manual_seed(plan.seed)
        arguments = {"dropout": plan.dropout}
        if audio.labels:
            largest = np.max([labels.max(0) for labels in audio.labels], axis=0)  # (G,)
            arguments["clusters"] = [1 + int(label) for label in largest]
        self.network = OBJECTIVES[objective](config, **arguments)
        if start:
            self.network.encoder.load_state_dict(read_tensors(start / "model.safetensors"))
        self.network.to(self.device).train()
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), betas=(0.9, 0.98), eps=1e-6, fused=True
        )
        self.done, self.history = 0, []

    def run(self, audio: Audio, folder: Path) -> None:
        """Make the updates that are left, with checkpoints in `folder`."""
        plan = self.plan
        drawn = islice(draw_batches(audio, plan), plan.after + self.done, None)
        batches = zip(range(self.done, plan.updates), drawn)
        label = f"{self.objective}, seed {plan.seed}"
        measures, since = [], time.monotonic()
        for number, clips in track(batches, label, plan.updates - self.done, "updates"):
            measures.append(self.update(number, *crop(audio, clips, plan, plan.after + number)))
            if len(measures) == plan.checkpoint_every or number + 1 == plan.updates:
                self.log(measures, time.monotonic() - since)
                self.save_checkpoint(folder)
                measures, since = [], time.monotonic()

    def update(self, number: int, samples: np.ndarray, labels: np.ndarray | None) -> Measures:
        """One step on samples (N, n), labels (N, L, G).

        Raises:
            ValueError: the loss or the gradient is not finite.
        """
        plan = self.plan
        seed_update(plan.seed, plan.after + number)
        frames = n_frames(samples.shape[1])
        mask = draw_mask(len(samples), frames, plan.mask_probability, plan.span).to(self.device)
        labels = None if labels is None else torch.from_numpy(labels).to(self.device)
        samples = torch.from_numpy(samples).to(self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            outcome: Outcome = self.network(samples, mask, labels, number / plan.updates)
        for group in self.optimiser.param_groups:
            group["lr"] = plan.learning_rate_at(number)
        self.optimiser.zero_grad()
        outcome.loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), plan.clip_gradient)
        if not (outcome.loss.isfinite() and norm.isfinite()):
            raise ValueError(
                f"update {number + 1}: the loss or its gradient is not finite: set a lower "
                f"learning rate than {plan.learning_rate}, which starts the training again"
            )
        self.optimiser.step()
        self.done = number + 1
        return (*(value.item() for value in outcome), norm.item())

    def log(self, measures: list[Measures], seconds: float) -> None:
        """Add the means of these updates' measures to the history, and print them."""
        columns = ("loss", "accuracy", "use", "gradient")  # files call the perplexity use
        row = dict(zip(columns, np.mean(measures, axis=0).tolist()))
        self.history.append({"update": self.done, **row, "seconds": seconds})
        print(
            f"update {self.done}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.1%}, "
            f"perplexity {row['use']:.1f}",
            flush=True,
        )
        for sign in signs_of_collapse(self.objective, pd.DataFrame(self.history)):
            print(f"update {self.done}: {sign}", flush=True)

    def save_checkpoint(self, folder: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "about": json.dumps(self.about),
            "done": self.done,
            "history": self.history,
            "objective": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        stream = io.BytesIO()
        torch.save(state, stream)
        with atomic(folder / "checkpoint.pt") as file:
            file.write(sealed(stream.getvalue() + UNSEALED))

    def restore(self, folder: Path) -> None:
        """Resume from the checkpoint, if there is one of this objective, plan and network."""
        file, finished = folder / "checkpoint.pt", (folder / "model.safetensors").is_file()
        if not file.is_file():
            if finished:
                print(f"{folder} has no checkpoint.pt: its encoder is now in {_set_aside(folder)}")
            return
        try:
            content = io.BytesIO(read_sealed(file))
            state = torch.load(content, map_location=self.device, weights_only=True)
        except (EOFError, RuntimeError, UnpicklingError) as error:
            cause = " ".join(str(error).split())[:100]
            moved = f"; the finished one is now in {_set_aside(folder)}" if finished else ""
            print(f"{file} is damaged ({cause}): this encoder starts from its first update{moved}")
            return
        if state["about"] != json.dumps(self.about):
            aside = _set_aside(folder)
            print(f"{file} is of other settings: it is now in {aside}, and this encoder starts")
            return
        self.network.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done, self.history = state["done"], state["history"]
        print(f"{folder.name}: resumes after update {self.done}", flush=True)


def _set_aside(folder: Path) -> Path:
    """Move an encoder of other settings, perhaps a night's work, into a folder of its own."""
    aside = folder / f"earlier-{1 + sum(1 for _ in folder.glob('earlier-*'))}"
    aside.mkdir()
    for file in [file for file in folder.iterdir() if file.name in FILES]:
        file.replace(aside / file.name)
    return aside


def seed_update(seed: int, number: int) -> None:
    """Seed the random numbers of one update."""
    torch.manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def signs_of_collapse(objective: str, history: pd.DataFrame) -> list[str]:
    """Signs in the history's last row that the encoder learns nothing; usually none."""
    last, signs = history.iloc[-1], []
    if last["use"] < COLLAPSE_BELOW[objective]:
        signs.append(f"only {last['use']:.1f} {IN_USE[objective]} are in use")
    if last["gradient"] < 1e-4:
        signs.append(f"the gradient has vanished ({last['gradient']:.1e})")
    if len(history) > 2 and last["loss"] > history["loss"].iloc[0]:
        signs.append(f"the loss, {last['loss']:.2f}, is above the first row's")
    return [f"sign of collapse: {sign}" for sign in signs]


def export(encoder: nn.Module, folder: Path) -> None:
    """Write the encoder in float16 as a folder that `from_pretrained` loads; its weights last."""
    half = {name: value.detach().half().cpu() for name, value in encoder.state_dict().items()}
    encoder.config.dtype = torch.float16
    encoder.config.hidden_dropout = encoder.config.feat_proj_dropout = 0.0  # frozen from here on
    encoder.config.architectures = [type(encoder).__name__]
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    write_text(folder / "config.json", encoder.config.to_json_string())
    write_text(folder / "preprocessor_config.json", extractor.to_json_string())
    write_tensors(folder / "model.safetensors", half)
