"""Samples -> acoustic frames: mel filterbank, MFCC or spectrogram (section 2.3), or eGeMAPS.

The first three share one short-time transform: 25 ms window, 10 ms hop, centred, so that an
n-sample clip has floor(n / 160) + 1 frames, the paper's 797 for its longest clip. eGeMAPS has one
frame per clip.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn
from torchaudio import transforms

from emoshare_utils.corpora import audio
from emoshare_utils.features.encoder import Encoder, EncoderError

WINDOW = 400  # samples: 25 ms
ACOUSTIC_HOP = 160  # samples: 10 ms
FFT = 512  # samples; at 400 the lowest mel bands would be narrower than a bin
BANDS = 40
F_MIN, F_MAX = 0.0, 8000.0  # Hz
FLOOR = 1e-8  # of power, well below 16-bit quantisation noise: what is less counts as this
EGEMAPS_WINDOW = 960  # samples: 60 ms, eGeMAPS's longest
EGEMAPS_LARGEST = 6e4  # fits float16; a deviation divided by a mean near zero can be larger
VERSION = 2  # raise it when the frames of a clip change
SHORT_TIME = {"window": WINDOW, "hop": ACOUSTIC_HOP, "fft": FFT}
SHORT_TIME |= {"bands": BANDS, "range_hz": [F_MIN, F_MAX], "floor": FLOOR}
TRANSFORM = {"n_fft": FFT, "win_length": WINDOW, "hop_length": ACOUSTIC_HOP}
MEL = TRANSFORM | {"n_mels": BANDS, "f_min": F_MIN, "f_max": F_MAX}


class Acoustic(Encoder):
    """What acoustic encoders share: each clip is computed by itself, by a `transform`."""

    settings = SHORT_TIME
    make: Callable[[], nn.Module] = nn.Identity

    def __init__(self, *request: Any) -> None:
        super().__init__(*request)
        self.settings |= {"version": [VERSION, audio.VERSION], "torch": torch.__version__}
        self.transform = self.make().to(self.device)

    def frames_of(self, samples: Tensor) -> Tensor:
        """Samples (n,) -> frames (L, W): the logarithm of the transform's power."""
        return self.transform(samples).clamp(min=FLOOR).log().T

    def n_frames(self, n_samples: int) -> int:
        return n_samples // ACOUSTIC_HOP + 1

    @torch.inference_mode()
    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        tensors = (torch.from_numpy(samples).to(self.device) for samples in clips)
        return [self.frames_of(samples).cpu().numpy() for samples in tensors]


class Fbank(Acoustic):
    """40 log-mel bands from 0 to 8,000 Hz."""

    width = BANDS
    make = staticmethod(partial(transforms.MelSpectrogram, audio.SAMPLE_RATE, **MEL))


class Mfcc(Fbank):
    """40 cepstral coefficients: the orthonormal cosine transform (DCT-II) of `Fbank`'s bands."""

    def frames_of(self, samples: Tensor) -> Tensor:
        bands = super().frames_of(samples).cpu().double().numpy()
        return torch.from_numpy(dct(bands, norm="ortho")).float()


class Spectrogram(Acoustic):
    """The log-power spectrum in 257 bins of 31.25 Hz."""

    width = FFT // 2 + 1
    make = staticmethod(partial(transforms.Spectrogram, **TRANSFORM))


class Egemaps(Acoustic):
    """The 88 functionals of openSMILE's eGeMAPSv02, one frame per clip.

    Raises:
        EncoderError: openSMILE is not installed; the message has the command.
        ValueError: a clip is shorter than 60 ms.
    """

    width = 88

    def __init__(self, *request: Any) -> None:
        try:
            import opensmile  # an extra: its licence is another
        except ImportError as error:
            raise EncoderError(
                "encoder 'egemaps': eGeMAPS needs openSMILE (audEERING's research licence): "
                "pip install -e '.[opensmile]'"
            ) from error
        self.smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02)
        self.settings = {"functionals": "eGeMAPSv02", "opensmile": opensmile.__version__}
        super().__init__(*request)

    def n_frames(self, n_samples: int) -> int:
        return int(n_samples >= EGEMAPS_WINDOW)

    def frames_of(self, samples: Tensor) -> Tensor:
        if len(samples) < EGEMAPS_WINDOW:
            raise ValueError(
                f"a clip of {len(samples)} samples: eGeMAPS needs {EGEMAPS_WINDOW} (60 ms), so "
                "take the clip out of the corpus, or egemaps out of the feature sets"
            )
        functionals = self.smile(samples.cpu().numpy(), audio.SAMPLE_RATE)[..., 0]
        return torch.from_numpy(functionals).clamp(-EGEMAPS_LARGEST, EGEMAPS_LARGEST)


ACOUSTIC = {"fbank": Fbank, "mfcc": Mfcc, "spectrogram": Spectrogram, "egemaps": Egemaps}
MEL_BANDS = {"fbank"}  # feature sets whose features are mel bands, low to high
