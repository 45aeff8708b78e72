"""Early stopping (section 2.5): which epoch's weights are kept, and when a network stops."""

import math
from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """The state of early stopping of one emotion's network; checkpoints keep it by these names.

    Attributes:
        epoch: the last one that the network took part in.
        best_rho: its best on devel: rho, or what `Training.select` names, negative if lower is
            better.
        best_epoch: the first epoch with that value; 0 before there is one.
        kept_epoch: the epoch whose weights are kept.
    """

    epoch: int = 0
    best_rho: float = -math.inf
    best_epoch: int = 0
    kept_epoch: int = 0

    def judge(self, value: float, epoch: int) -> None:
        """Note the value on devel after `epoch`; higher is better.

        NaN (rho of a constant prediction, or of a share that is constant on devel) is never the
        best. While there is nothing else, the last weights are kept, so that the results report
        such a network. Where the share is constant on devel nothing can choose: training stops
        after `patience` epochs, and the weights of the last one are kept.
        """
        self.epoch = epoch
        if value > self.best_rho:
            self.best_rho, self.best_epoch = value, epoch
        self.kept_epoch = self.best_epoch or epoch

    def is_over(self, epoch: int, patience: int) -> bool:
        """Whether the network has stopped before `epoch`: `patience` epochs were no better."""
        return epoch - self.best_epoch > patience
