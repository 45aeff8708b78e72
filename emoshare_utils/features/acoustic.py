"""Samples -> acoustic frames: mel filterbank, MFCC or spectrogram (section 2.3), or eGeMAPS.

The first three share one short-time transform: 25 ms window, 10 ms hop, centred, so that an
n-sample clip has floor(n / 160) + 1 frames, the paper's 797 for its longest clip. eGeMAPS has one
frame a clip.
"""

import torch
from torch import Tensor, nn
from torchaudio import transforms

from emoshare_utils.corpora.audio import SAMPLE_RATE

WINDOW = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
FFT = 512  # samples; at 400 the lowest mel bands would be narrower than a bin
BANDS = 40
PITCH_WINDOW = 960  # samples: 60 ms, eGeMAPS's longest
LARGEST = 6e4  # stored as float16; a deviation divided by a mean near zero can be larger
F_MIN, F_MAX = 0.0, 8000.0  # Hz
FLOOR = 1e-8  # power, well below 16-bit quantisation noise
VERSION = 1  # raise it when the frames of a clip change
SHORT_TIME = {
    "window": WINDOW,
    "hop": HOP,
    "fft": FFT,
    "bands": BANDS,
    "range_hz": [F_MIN, F_MAX],
}


class Fbank(nn.Module):
    """40 log-mel bands from 0 to 8,000 Hz: `forward` maps samples (n,) to frames (L, 40)."""

    width = BANDS
    settings = SHORT_TIME

    def __init__(self) -> None:
        super().__init__()
        self.mel = transforms.MelSpectrogram(**_TRANSFORM, **_MEL)

    def forward(self, samples: Tensor) -> Tensor:
        return self.mel(samples).clamp(min=FLOOR).log().T


class Mfcc(nn.Module):
    """40 cepstral coefficients of the log-mel bands: samples (n,) to frames (L, 40)."""

    width = BANDS
    settings = SHORT_TIME

    def __init__(self) -> None:
        super().__init__()
        self.mfcc = transforms.MFCC(
            SAMPLE_RATE,
            n_mfcc=BANDS,
            log_mels=True,
            melkwargs={k: v for k, v in (_TRANSFORM | _MEL).items() if k != "sample_rate"},
        )

    def forward(self, samples: Tensor) -> Tensor:
        return self.mfcc(samples).T


class Spectrogram(nn.Module):
    """The log-power spectrum in 257 bins of 31.25 Hz: samples (n,) to frames (L, 257)."""

    width = FFT // 2 + 1
    settings = SHORT_TIME

    def __init__(self) -> None:
        super().__init__()
        transform = {k: v for k, v in _TRANSFORM.items() if k != "sample_rate"}
        self.spectrogram = transforms.Spectrogram(**transform)

    def forward(self, samples: Tensor) -> Tensor:
        return self.spectrogram(samples).clamp(min=FLOOR).log().T


class Egemaps(nn.Module):
    """The 88 functionals of openSMILE's eGeMAPSv02: samples (n,) to one frame (1, 88).

    Raises:
        ImportError: openSMILE is not installed; the message has the command.
        ValueError: `forward` was given less than 60 ms.
    """

    width = 88

    def __init__(self) -> None:
        super().__init__()
        try:
            import opensmile  # an extra: its licence is another
        except ImportError as error:
            raise ImportError(
                "eGeMAPS needs openSMILE (audEERING's research licence): "
                "pip install -e '.[opensmile]'"
            ) from error
        self.smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02)
        self.settings = {"functionals": "eGeMAPSv02", "opensmile": opensmile.__version__}

    def forward(self, samples: Tensor) -> Tensor:
        if len(samples) < PITCH_WINDOW:
            raise ValueError(
                f"a clip of {len(samples)} samples: eGeMAPS needs {PITCH_WINDOW} (60 ms), so take "
                "the clip out of the corpus, or egemaps out of the feature sets"
            )
        functionals = self.smile(samples.cpu().numpy(), SAMPLE_RATE)[..., 0]
        return torch.from_numpy(functionals).clamp(-LARGEST, LARGEST)


_TRANSFORM = {"sample_rate": SAMPLE_RATE, "n_fft": FFT, "win_length": WINDOW, "hop_length": HOP}
_MEL = {"n_mels": BANDS, "f_min": F_MIN, "f_max": F_MAX}
ACOUSTIC = {"fbank": Fbank, "mfcc": Mfcc, "spectrogram": Spectrogram, "egemaps": Egemaps}
MEL_BANDS = {"fbank"}  # feature sets whose features are mel bands, low to high
ONE_FRAME = {"egemaps"}  # feature sets that have one frame a clip
