"""Architecture 1 and Architecture 2 (section 2.4): how each pools the LSTM's states over time."""

from collections.abc import Sequence

from torch import Tensor

from emoshare_utils.models.layers import Attention, masked_mean
from emoshare_utils.models.regressor import REGRESSORS, Regressor, Sizes


class Architecture1(Regressor):
    """CNN + LSTM + masked mean + FFNN."""

    def pool(self, states: Tensor, final: Tensor, lengths: Tensor) -> Tensor:
        return masked_mean(states, lengths)  # Eq. 1: (N, W_l)


class Architecture2(Regressor):
    """CNN + LSTM + attention + FFNN; the query comes from the LSTM's final hidden states."""

    def add_layers(self, sizes: Sizes) -> None:
        self.attention = Attention(sizes.lstm, sizes.lstm_layers, sizes.scale)

    def ffnn_sizes(self, sizes: Sizes) -> Sequence[int]:
        return sizes.ffnn_2

    def pool(self, states: Tensor, final: Tensor, lengths: Tensor) -> Tensor:
        attended, _ = self.attention(states, final, lengths)  # Eq. 2b: (N, W_l)
        return attended


REGRESSORS.build_in(1, Architecture1)
REGRESSORS.build_in(2, Architecture2)
