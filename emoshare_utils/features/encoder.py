"""What an encoder is: samples in, frames out, a clip at a time or many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch


class EncoderError(RuntimeError):
    """An encoder that cannot be loaded, is none for speech, or has no such layer."""


@dataclass(frozen=True)
class Encoder:
    """What turns samples into frames.

    Attributes:
        name: as the user gave it, such as "fbank", "hubert-large", "hubert-large@6" or "org/model".
        width: W, the size of a frame.
        settings: everything that changes the numbers; names the feature store.
        device: where it computes.
        request: the arguments of `load_encoder` that make it anew in another process.
        encode: the samples of N clips, each (n_i,) float32 at 16 kHz -> their frames, each
            (L_i, W) float32. A clip's frames do not depend on the others.
    """

    name: str
    width: int
    settings: dict
    device: torch.device
    request: dict
    encode: Callable[[Sequence[np.ndarray]], list[np.ndarray]]

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """The frames (L, W) of one clip, samples (n,) float32 at 16 kHz."""
        (frames,) = self.encode([samples])
        return frames


def relative_error(frames: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Root of the summed squared differences over all clips, over that of the exact frames."""
    difference = sum(np.square(ours - true).sum() for ours, true in zip(frames, exact, strict=True))
    return float(np.sqrt(difference / sum(np.square(true).sum() for true in exact)))
