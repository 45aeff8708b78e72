"""Samples -> acoustic frames: mel filterbank, MFCC or spectrogram (section 2.3).

All share one short-time transform: 25 ms window, 10 ms hop, centred, so that an n-sample clip
has floor(n / 160) + 1 frames, the paper's 797 for its longest clip.
"""

from torch import Tensor, nn
from torchaudio import transforms

from emoshare_utils.audio import SAMPLE_RATE

WINDOW = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
FFT = 512  # samples; at 400 the lowest mel bands would be narrower than a bin
BANDS = 40
F_MIN, F_MAX = 0.0, 8000.0  # Hz
FLOOR = 1e-8  # power, well below 16-bit quantisation noise
VERSION = 1  # raise it when the frames of a clip change


class Fbank(nn.Module):
    """40 log-mel bands from 0 to 8,000 Hz: `forward` maps samples (n,) to frames (L, 40)."""

    width = BANDS

    def __init__(self) -> None:
        super().__init__()
        self.mel = transforms.MelSpectrogram(**_TRANSFORM, **_MEL)

    def forward(self, samples: Tensor) -> Tensor:
        return self.mel(samples).clamp(min=FLOOR).log().T


class Mfcc(nn.Module):
    """40 cepstral coefficients of the log-mel bands: samples (n,) to frames (L, 40)."""

    width = BANDS

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

    def __init__(self) -> None:
        super().__init__()
        transform = {k: v for k, v in _TRANSFORM.items() if k != "sample_rate"}
        self.spectrogram = transforms.Spectrogram(**transform)

    def forward(self, samples: Tensor) -> Tensor:
        return self.spectrogram(samples).clamp(min=FLOOR).log().T


_TRANSFORM = {"sample_rate": SAMPLE_RATE, "n_fft": FFT, "win_length": WINDOW, "hop_length": HOP}
_MEL = {"n_mels": BANDS, "f_min": F_MIN, "f_max": F_MAX}

ACOUSTIC = {"fbank": Fbank, "mfcc": Mfcc, "spectrogram": Spectrogram}
