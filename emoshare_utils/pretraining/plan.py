"""How an encoder is pretrained."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from emoshare_utils.names import settings_of

LENGTH_MULTIPLE = 16  # frames; crops come in few lengths, since a CPU compiles for each
STORED = {"mask_probability": "hidden"}  # what checkpoints call a field, where it is not its name


@dataclass(frozen=True)
class Plan:
    """How an encoder is pretrained.

    Attributes:
        updates: how many.
        seconds: of audio in each, about.
        learning_rate: the highest one: it rises in a straight line over the first `warmup` of the
            updates, then falls to 0.
        mask_probability: the probability that a frame is masked, in spans of `span` frames.
        dropout: the probability that a layer's output is set to 0.
        clip_gradient: the largest norm of the gradient.
        seed: of everything random.
        checkpoint_every: updates between two checkpoints, and in one row of the history.
        after: updates made before, in an earlier iteration: the order of clips, crops and masks
            continues from there.

    Raises:
        ValueError: a number outside its range.
    """

    updates: int
    seconds: float = 32.0
    learning_rate: float = 1e-3
    warmup: float = 0.08
    mask_probability: float = 0.5
    span: int = 10
    dropout: float = 0.1
    clip_gradient: float = 5.0
    seed: int = 0
    checkpoint_every: int = 500
    after: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "updates": (self.updates >= 1, "1 or more"),
            "seconds": (self.seconds > 0, "seconds of audio"),
            "mask_probability": (0 < self.mask_probability < 1, "a number between 0 and 1"),
            "span": (1 <= self.span <= LENGTH_MULTIPLE, f"1 to {LENGTH_MULTIPLE} frames"),
            "after": (self.after >= 0, "0 or more updates"),
            "checkpoint_every": (self.checkpoint_every >= 1, "1 or more updates"),
        }
        for name, (fits, expected) in ranges.items():
            if not fits:
                raise ValueError(f"{name} = {getattr(self, name)}: expected {expected}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The defaults, changed as `given` says; ValueError for an entry that does not fit."""
        return settings_of(cls, given)

    def stored(self) -> dict:
        """What a checkpoint says of the plan: all that changes the weights."""
        fields = {STORED.get(name, name): value for name, value in asdict(self).items()}
        del fields["checkpoint_every"]
        if not self.after:
            del fields["after"]  # plans without it were stored so
        return fields

    def learning_rate_at(self, update: int) -> float:
        """The learning rate of an update, counted from 0."""
        warm = max(1, round(self.warmup * self.updates))
        rising, falling = (update + 1) / warm, (self.updates - update) / (self.updates - warm + 1)
        return self.learning_rate * min(rising, falling, 1.0)
