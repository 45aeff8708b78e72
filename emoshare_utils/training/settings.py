"""How a network is trained."""

from dataclasses import dataclass

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Training:
    """How a network is trained; the defaults are the paper's (section 2.5).

    Attributes:
        learning_rate, batch_size: Adam's, and clips a step.
        epochs: at most.
        patience: epochs without a better devel rho after which an emotion stops.
        standardise: frames to zero mean and unit variance over the training split.
        max_frames: zero-pad to this many frames; None: as little as may be.
        precision: of the arithmetic of CNN and LSTM, "float32" or "bfloat16"; weights, their
            steps, and everything after the LSTM are float32 in both.
        start_at_mean: the output's bias starts at the mean training share instead of by chance,
            which saves the first epochs, and a ReLU output from starting dead.
        average: the weights that are judged on devel and kept are a running mean over all steps, in
            which a step counts that many times as much as the next (Polyak averaging; .98: about
            the last 50, and fewer in the beginning); 0: those of the last step, as in the paper.
        shift: mel bands by which, at most, training moves a clip's (standardised) spectrum up or
            down, by chance and anew each epoch, much as another vocal tract would. Only `fbank`
            has mel bands; other features stay as they are.
        shuffle_shares: a control: permute the shares that training sees over the clips, each
            emotion's on its own: those of train, and those of devel that choose the epoch.
            Predictions are still scored against the true shares.
    """

    learning_rate: float = 1e-4
    batch_size: int = 128
    epochs: int = 150
    patience: int = 10
    standardise: bool = True
    max_frames: int | None = None
    precision: str = "float32"
    start_at_mean: bool = False
    average: float = 0.0
    shift: float = 0.0
    shuffle_shares: bool = False

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)}: expected more than 0")
        if not 0 <= self.average < 1:
            raise ValueError(f"average = {self.average}: expected from 0 up to, not including, 1")
        if self.shift < 0:
            raise ValueError(f"shift = {self.shift}: expected 0 or more mel bands")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision = {self.precision!r}: expected one of {', '.join(PRECISIONS)}"
            )
