"""How an encoder is pretrained."""

from dataclasses import dataclass

ROUND = 16  # frames; lengths come in multiples of it, since a CPU compiles for each


@dataclass(frozen=True)
class Plan:
    """How an encoder is pretrained.

    Attributes:
        updates: how many.
        seconds: of audio in each, about.
        learning_rate: the highest, after `warmup` of the updates; from there it falls to 0 in a
            straight line.
        hidden: share of the frames that are hidden, in spans of `span` frames.
        dropout: share of a layer's outputs that are set to 0.
        clip_gradient: the longest gradient.
        seed: of everything random.

    Raises:
        ValueError: a number outside its range.
    """

    updates: int
    seconds: float = 32.0
    learning_rate: float = 1e-3
    warmup: float = 0.08
    hidden: float = 0.5
    span: int = 10
    dropout: float = 0.1
    clip_gradient: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "updates": (self.updates >= 1, "1 or more"),
            "seconds": (self.seconds > 0, "seconds of audio"),
            "hidden": (0 < self.hidden < 1, "a share between 0 and 1"),
            "span": (1 <= self.span <= ROUND, f"1 to {ROUND} frames"),
        }
        for name, (fits, expected) in ranges.items():
            if not fits:
                raise ValueError(f"{name} = {getattr(self, name)}: expected {expected}")

    def rate(self, update: int) -> float:
        """The learning rate of an update."""
        warm = max(1, round(self.warmup * self.updates))
        rising, falling = (update + 1) / warm, (self.updates - update) / (self.updates - warm + 1)
        return self.learning_rate * min(rising, falling, 1.0)
