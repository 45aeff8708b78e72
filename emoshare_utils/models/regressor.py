"""What all architectures share: their sizes, standardisation, CNN, LSTM and FFNN.

Shapes are the paper's: N clips, L frames, W features per frame; the CNN gives L' = ceil(L / pool)
frames of W_c features, the LSTM W_l features. Nothing in a clip's output depends on frames beyond
its own end, so its predicted share is the same alone, in any batch and under any padding.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn

from emoshare_utils.models.layers import CNN, FFNN, LSTM, OUTPUTS, LayerWeights, Standardise
from emoshare_utils.names import ARCHITECTURES, Look, Registry, settings_of


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network; the layers' defaults are the released code's.

    Attributes:
        cnn: channels after each convolution (kernel 3, stride 1), the last one W_c.
        pool: max-pooling after the CNN, over so many frames; the paper's is 2.
        lstm: W_l, units of each LSTM layer (Architecture 3: of each transformer layer).
        lstm_layers: the paper's is 2.
        ffnn_1, ffnn_2: hidden sizes of the FFNN of Architecture 1 and 2; one output follows.
        scale: what Eq. 2b divides by: "sqrt" for the square root of W_l, "width" for W_l.
        output: "sigmoid", or the released code's "relu".
        layers: of an encoder, side by side in each frame, of which a weighted mean is learned;
            training takes it from the feature store.
        metadata: numbers about the clip (its speaker's age, say) in which each frame ends, and
            which the FFNN reads beside the pooled vector; training takes it from the store too.
    """

    cnn: Sequence[int] = (768, 384, 192)
    pool: int = 2
    lstm: int = 512
    lstm_layers: int = 2
    ffnn_1: Sequence[int] = (256, 64, 8)
    ffnn_2: Sequence[int] = (256, 128, 64)
    scale: str = "sqrt"
    output: str = "sigmoid"
    layers: int = 1
    metadata: int = 0

    def __post_init__(self) -> None:
        if self.scale not in ("sqrt", "width"):
            raise ValueError(f"scale = {self.scale!r}: expected 'sqrt' or 'width'")
        if self.output not in OUTPUTS:
            raise ValueError(f"output = {self.output!r}: expected one of {', '.join(OUTPUTS)}")
        for name in ("pool", "lstm", "lstm_layers", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: expected 1 or more")
        if not self.cnn:
            raise ValueError("cnn is empty: expected the channels of one convolution or more")

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Self:
        """The defaults, changed as `given` says; ValueError for an entry that does not fit."""
        return settings_of(cls, given)

    def stored(self) -> dict[str, Any]:
        """The fields as files keep them: those that came after the rest if they are set."""
        later = {"layers": 1, "metadata": 0}
        return {name: x for name, x in asdict(self).items() if x != later.get(name, ...)}

    def regressor(self, architecture: int) -> Callable[[int, "Sizes"], "Regressor"]:
        """What builds the network from a width and these; a subclass may build another."""
        return REGRESSORS[architecture]


class Regressor(nn.Module, ABC):
    """One network, which predicts the share of one emotion.

    A subclass implements `pool`, and `add_layers` where that needs weights.
    """

    def __init__(self, width: int, sizes: Sizes = Sizes()) -> None:
        super().__init__()
        # in this order: it decides which random numbers each layer starts from
        self.standardise = Standardise(width)
        self.layer_weights = LayerWeights(sizes.layers) if sizes.layers > 1 else None
        self.metadata = sizes.metadata
        self.cnn = CNN((width - sizes.metadata) // sizes.layers, sizes.cnn, sizes.pool)
        self.lstm = self.over_time(sizes)
        self.add_layers(sizes)
        self.ffnn = FFNN(sizes.lstm + sizes.metadata, self.ffnn_sizes(sizes), sizes.output)

    def over_time(self, sizes: Sizes) -> nn.Module:
        """Build what reads the CNN's frames in order: the LSTM, unless a subclass says other.

        It gives states (N, L', W_l) and a final h', as `LSTM` does.
        """
        return LSTM(sizes.cnn[-1], sizes.lstm, sizes.lstm_layers)

    def add_layers(self, sizes: Sizes) -> None:  # noqa: B027
        """Build the architecture's own layers, if it has any."""

    def ffnn_sizes(self, sizes: Sizes) -> Sequence[int]:
        """The hidden sizes of the FFNN; those of Architecture 1 unless a subclass says others."""
        return sizes.ffnn_1

    @abstractmethod
    def pool(self, states: Tensor, final: Tensor, lengths: Tensor) -> Tensor:
        """States (N, L', W_l), final h' (N, layers * W_l), lengths (N,) -> one vector (N, W_l).

        Only the first `lengths` states of a clip are its own: no other may be used.
        """

    @property
    def n_parameters(self) -> int:
        """How many weights training changes."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (N, L, W), lengths (N,) -> predicted shares (N,)."""
        return self.regress(self.standardise(features, lengths), lengths)

    def regress(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Standardised features (N, L, W), lengths (N,) -> predicted shares (N,)."""
        return self.share(*self.frames(features, lengths))

    def frames(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised features -> the CNN's frames (N, L', W_c), and their lengths (N,).

        Metadata stay beside the frames: (N, L', W_c + metadata).
        """
        features, metadata = self.apart(features)
        if self.layer_weights is not None:
            features = self.layer_weights(features)
        frames, lengths = self.cnn(features, lengths)
        if metadata is not None:
            frames = torch.cat([frames, metadata.expand(-1, frames.shape[1], -1)], dim=2)
        return frames, lengths

    def share(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """What the CNN gives, frames (N, L', W_c) and lengths (N,) -> predicted shares (N,)."""
        return self.ffnn(self.vector(frames, lengths))

    def vector(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """What the CNN gives -> what the FFNN reads of a clip, (N, W_l + metadata)."""
        frames, metadata = self.apart(frames)
        states, final = self.lstm(frames, lengths)  # (N, L', W_l), (N, layers * W_l)
        vector = self.pool(states, final, lengths)
        return vector if metadata is None else torch.cat([vector, metadata[:, 0]], dim=1)

    def apart(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Frames (N, L, W + metadata) -> (N, L, W), and the clip's metadata (N, 1, metadata)."""
        if not self.metadata:
            return frames, None
        return frames[..., : -self.metadata], frames[:, :1, -self.metadata :]

    @property
    def has_plain_trunk(self) -> bool:
        """Whether the steps from features to shares are this class's own, not a subclass's."""
        steps = ("regress", "share", "frames", "vector")
        return all(getattr(type(self), step) is getattr(Regressor, step) for step in steps)

    @property
    def trunk(self) -> list[nn.Parameter]:
        """The weights of everything before the FFNN, in their order."""
        head = set(self.ffnn.parameters())
        return [parameter for parameter in self.parameters() if parameter not in head]


REGRESSORS = Registry("architecture")  # number -> subclass of Regressor
SIZES = Registry("sizes", {"Sizes": Sizes})  # class name -> Sizes and its registered subclasses


def register(number: int, regressor: type[Regressor], look: Look) -> None:
    """Add an architecture under its number, and how it appears in tables and figures.

    Raises:
        ValueError: the number is one of the package's own architectures or the baseline's, 0.
    """
    ARCHITECTURES.register(number, look)
    REGRESSORS.register(number, regressor)


def register_sizes(cls: type[Sizes]) -> type[Sizes]:
    """Let `read_sizes` know a subclass of Sizes; a class decorator."""
    own = cls.__module__.startswith("emoshare_utils.")
    (SIZES.build_in if own else SIZES.register)(cls.__name__, cls)
    return cls


def build(architecture: int, width: int, sizes: Sizes) -> Regressor:
    """A new network for features of this width; UnknownName for an unknown architecture."""
    return sizes.regressor(architecture)(width, sizes)


def read_sizes(settings: Mapping[str, Any]) -> Sizes:
    """Rebuild Sizes, or the registered subclass that has all these entries, from a stored dict.

    Raises:
        ValueError: no class has them; the message says what to import.
    """
    for cls in SIZES.values():
        if set(settings) <= {field.name for field in fields(cls)}:
            return cls(**settings)
    others = ", ".join(sorted(set(settings) - {field.name for field in fields(Sizes)}))
    raise ValueError(
        f"sizes with {others}: no class registered with register_sizes has these. Import the "
        "module that defines it first; the variants of the released code are in "
        "emoshare_utils.studies.released_code"
    )
