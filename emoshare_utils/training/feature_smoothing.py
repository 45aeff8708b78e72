"""Feature-distribution smoothing: what the FFNN reads is calibrated by clips of a similar share."""

import numpy as np
import torch
from torch import Tensor

from emoshare_utils.training.losses import SHARE_BINS, share_bin, smoothing_kernel

MOMENTUM = 0.9  # of the statistics, from one epoch to the next
LEAST_VARIANCE = 1e-10  # below it a feature is constant within its bin, and stays as it is
MOST_CHANGE = 10.0  # of a variance: it is at most so many times larger or smaller
PREFIX = "smoothing/"  # in a checkpoint


class FeatureSmoothing:
    """Feature-distribution smoothing of one network (Yang et al. 2021, arXiv 2102.09554, sec. 3.2).

    The pooled vectors z of the clips in bin b of the share have a mean m_b and, feature by feature,
    a variance v_b. Both are smoothed over neighbouring bins by the kernel of
    `losses.SmoothedLabels`, empty bins left out, and those of one clip, which has no variance and
    stays as it is, left out of the variance; while it trains, the FFNN reads
    sqrt(smooth v_b / v_b) (z - m_b) + smooth m_b. The statistics are those of train at the end of
    each epoch, with a moving average over epochs; in the first epoch vectors stay as they are, and
    so do they on devel and test, and the metadata beside them.

    Args:
        width: W_l, the features of a pooled vector.
    """

    def __init__(self, width: int) -> None:
        self.mean = torch.zeros(SHARE_BINS, width)
        self.variance = torch.zeros(SHARE_BINS, width)
        self.clips = torch.zeros(SHARE_BINS)
        self._derive()

    def __call__(self, vectors: Tensor, shares: Tensor) -> Tensor:
        """Calibrate vectors (N, W_l + metadata) by their clips' shares (N,)."""
        bins = torch.from_numpy(share_bin(shares.cpu().numpy()))
        scale, offset = (x[bins].to(vectors.device) for x in (self._scale, self._offset))
        width = scale.shape[1]
        return torch.cat([vectors[:, :width] * scale + offset, vectors[:, width:]], dim=1)

    def update(self, vectors: Tensor, shares: np.ndarray) -> None:
        """Take in an epoch's vectors (n, W_l or more) and shares (n,) of train."""
        bins = share_bin(shares)
        first = not self.clips.any()
        for b in np.unique(bins):
            own = vectors[torch.from_numpy(bins == b), : self.mean.shape[1]].float().cpu()
            kept = 0.0 if first else MOMENTUM
            self.mean[b].lerp_(own.mean(0), 1 - kept)
            if len(own) > 1:
                self.variance[b].lerp_(own.var(0), 1 - kept)
            self.clips[b] = len(own)
        self._derive()

    def _derive(self) -> None:
        """The calibration that the statistics ask for: z times a scale, plus an offset."""
        mean = _near(self.clips > 0) @ self.mean
        variance = _near(self.clips > 1) @ self.variance
        change = (variance / self.variance).clamp(1 / MOST_CHANGE, MOST_CHANGE).sqrt()
        varies = self.variance > LEAST_VARIANCE
        self._scale = torch.where(varies, change, 1.0)
        self._offset = torch.where(varies, mean - change * self.mean, 0.0)

    def tensors(self) -> dict[str, Tensor]:
        """All that training resumes from."""
        about = {"mean": self.mean, "variance": self.variance, "clips": self.clips}
        return {f"{PREFIX}{name}": x for name, x in about.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        self.mean, self.variance, self.clips = (
            tensors[f"{PREFIX}{name}"].clone() for name in ("mean", "variance", "clips")
        )
        self._derive()


def _near(known: Tensor) -> Tensor:
    """The weight of each bin for each bin, of sum 1 over those that are `known`, (bins, bins)."""
    kernel = torch.from_numpy(smoothing_kernel()).float()
    near = torch.zeros(SHARE_BINS, SHARE_BINS)
    for b in range(SHARE_BINS):
        for place, weight in enumerate(kernel, b - len(kernel) // 2):
            if 0 <= place < SHARE_BINS and known[place]:
                near[b, place] = weight
    return near / near.sum(1, keepdim=True).clamp(min=LEAST_VARIANCE)
