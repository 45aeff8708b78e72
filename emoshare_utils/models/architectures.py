"""Architecture 1 and Architecture 2 (section 2.4): one network predicts the share of one emotion.

Shapes are the paper's: N clips, L frames, W features a frame; the CNN gives W_c features and half
the frames, the LSTM W_l features. Nothing a clip's output is made of reaches beyond its own
frames, so it is the same alone, in any batch and under any padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from emoshare_utils.models.layers import (
    CNN,
    FFNN,
    LSTM,
    OUTPUTS,
    Attention,
    Standardise,
    masked_mean,
)


@dataclass(frozen=True)
class Sizes:
    """The sizes of both architectures; the defaults are the released code's.

    Attributes:
        cnn: channels after each convolution (kernel 3, stride 1), the last one W_c.
        pool: max-pooling after the CNN, L -> floor(L / pool); the paper's is 2.
        lstm: W_l, units of each LSTM layer.
        lstm_layers: the paper's is 2.
        ffnn_1, ffnn_2: hidden sizes of the FFNN of Architecture 1 and 2; one output follows.
        scale: what Eq. 2b divides by: "sqrt" for the square root of W_l, "width" for W_l.
        output: "sigmoid", or the released code's "relu".
    """

    cnn: Sequence[int] = (768, 384, 192)
    pool: int = 2
    lstm: int = 512
    lstm_layers: int = 2
    ffnn_1: Sequence[int] = (256, 64, 8)
    ffnn_2: Sequence[int] = (256, 128, 64)
    scale: str = "sqrt"
    output: str = "sigmoid"

    def __post_init__(self) -> None:
        if self.scale not in ("sqrt", "width"):
            raise ValueError(f"scale = {self.scale!r}: expected 'sqrt' or 'width'")
        if self.output not in OUTPUTS:
            raise ValueError(f"output = {self.output!r}: expected one of {', '.join(OUTPUTS)}")
        for name in ("pool", "lstm", "lstm_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: expected 1 or more")
        if not self.cnn:
            raise ValueError("cnn is empty: expected the channels of one convolution or more")


class Architecture1(nn.Module):
    """CNN + LSTM + masked mean + FFNN."""

    def __init__(self, width: int, sizes: Sizes = Sizes()) -> None:
        super().__init__()
        self.standardise = Standardise(width)
        self.cnn = CNN(width, sizes.cnn, sizes.pool)
        self.lstm = LSTM(sizes.cnn[-1], sizes.lstm, sizes.lstm_layers)
        self.ffnn = FFNN(sizes.lstm, sizes.ffnn_1, sizes.output)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (N, L, W), lengths (N,) -> shares (N,)."""
        return self.regress(self.standardise(features, lengths), lengths)

    def regress(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Standardised features (N, L, W), lengths (N,) -> shares (N,)."""
        frames, lengths = self.cnn(features, lengths)  # (N, L/2, W_c)
        states, _ = self.lstm(frames, lengths)  # (N, L/2, W_l)
        mean = masked_mean(states, lengths)  # Eq. 1: (N, W_l)
        return self.ffnn(mean)


class Architecture2(nn.Module):
    """CNN + LSTM + attention + FFNN; the query comes from the LSTM's final hidden states."""

    def __init__(self, width: int, sizes: Sizes = Sizes()) -> None:
        super().__init__()
        self.standardise = Standardise(width)
        self.cnn = CNN(width, sizes.cnn, sizes.pool)
        self.lstm = LSTM(sizes.cnn[-1], sizes.lstm, sizes.lstm_layers)
        self.attention = Attention(sizes.lstm, sizes.lstm_layers, sizes.scale)
        self.ffnn = FFNN(sizes.lstm, sizes.ffnn_2, sizes.output)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (N, L, W), lengths (N,) -> shares (N,)."""
        return self.regress(self.standardise(features, lengths), lengths)

    def regress(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Standardised features (N, L, W), lengths (N,) -> shares (N,)."""
        frames, lengths = self.cnn(features, lengths)  # (N, L/2, W_c)
        states, final = self.lstm(frames, lengths)  # (N, L/2, W_l), (N, 2 W_l)
        attended, _ = self.attention(states, final, lengths)  # Eq. 2b: (N, W_l)
        return self.ffnn(attended)


ARCHITECTURES = {1: Architecture1, 2: Architecture2}
