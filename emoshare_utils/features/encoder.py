"""What an encoder is: samples in, frames out. Read this to add one.

An encoder is a class with a width, settings, a frame count and `encode`, under a name in
`ENCODERS`. In a file of your own:

    from emoshare_utils.features.encoder import Encoder
    from emoshare_utils.features.encoders import ENCODERS

    class Peak(Encoder):
        width = 1
        settings = {"hop": 80, "version": 1}  # 80 samples: 5 ms

        def n_frames(self, n_samples):
            return n_samples // 80

        def encode(self, clips):
            cut = [clip[: len(clip) // 80 * 80].reshape(-1, 80) for clip in clips]
            return [abs(windows).max(axis=1, keepdims=True) for windows in cut]

    ENCODERS.register("peak", Peak)

Name the file in the environment variable EMOSHARE_EXTENSIONS, so that notebooks, command-line runs
and Dask workers all import it; `encoder = "peak"` then works wherever "fbank" does.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.errors import UserError

CPU = torch.device("cpu")
THREE_S = 48_000  # samples


class EncoderError(UserError, RuntimeError):
    """Raised for an encoder that cannot be loaded, does not read samples, or lacks the layer."""


class Encoder(ABC):
    """What turns the samples of a clip into frames.

    Attributes:
        name: as the user gave it, such as "fbank", "hubert-large", "hubert-large@6" or "org/model".
        width: W, the size of a frame.
        settings: everything that changes the numbers, as JSON; a hash of it is in the
            store's folder name. A subclass defines its own; "encoder", the name, is added.
        device: where it computes.
        request: the arguments of `load_encoder` that make the same encoder in another process.
        n_layers: the last layer that "@" may ask for; None: it has no layers.
        reads_samples: False where `encode` takes clip_ids instead, as that of `OwnFrames`.
        one_pass: whether several of its layers can be had from one pass. It then has `at(name)`,
            the encoder of another layer with the same weights, and `encode_layers(layers, clips)`,
            the frames of every clip for each of such encoders.
    """

    width: int
    settings: dict = {}
    request: dict
    n_layers: int | None = None
    reads_samples: bool = True
    one_pass: bool = False

    def __init__(
        self,
        name: str,
        device: torch.device = CPU,
        normalise: bool | None = None,
        precision: str = "float32",
    ) -> None:
        """Keep the name and device; a subclass that uses the rest puts it into `settings`."""
        self.name, self.device = name, device
        self.settings = {"encoder": name, **self.settings}

    @abstractmethod
    def n_frames(self, n_samples: int) -> int:
        """L, the number of frames of a clip of `n_samples` at 16 kHz; 0 if it is too short."""

    @abstractmethod
    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The frames (L_i, W) float32 of each clip, samples (n_i,) float32 at 16 kHz.

        A clip's frames do not depend on the other clips. Several threads may call this at once.
        """

    def lengths(self, clips: pd.DataFrame) -> np.ndarray:
        """L of each row of a checked clip table, (N,) int64; 0 where it is too short."""
        n_samples = (clips["duration_s"] * SAMPLE_RATE).round().astype(int)
        return n_samples.map(self.n_frames).to_numpy(np.int64)

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """The frames (L, W) of one clip, samples (n,)."""
        (frames,) = self.encode([samples])
        return frames

    def shortest(self, n_frames: int = 1) -> int:
        """The fewest samples that make `n_frames` frames, or 3 s of them if that takes longer."""
        return bisect_left(range(THREE_S), n_frames, key=self.n_frames)


def encode_together(
    layers: Sequence[Encoder], clips: Sequence[np.ndarray]
) -> list[list[np.ndarray]]:
    """For each of `layers`, one encoder or several of the same weights, the frames of all clips."""
    first, *others = layers
    return first.encode_layers(layers, clips) if others else [first.encode(clips)]


def brief(error: Exception) -> str:
    """What an exception of another library says, in one line, for messages."""
    return " ".join(str(error).split())[:300].rstrip(".")


def relative_error(frames: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Root of the summed squared differences over all clips, over that of the exact frames."""
    difference = sum(np.square(ours - true).sum() for ours, true in zip(frames, exact, strict=True))
    return float(np.sqrt(difference / sum(np.square(true).sum() for true in exact)))
