"""HuBERT (Hsu et al. 2021): masked prediction of cluster labels.

Spans of frames are masked before the transformer, which predicts each frame's cluster: here in
several clusterings at once, and for the unmasked frames too.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from emoshare_utils.features.small_network import MiniConfig, start_as_filters
from emoshare_utils.pretraining.front_end import speed_up_front_end
from emoshare_utils.pretraining.objective import (
    EMBEDDING_WIDTH,
    TEMPERATURE,
    Outcome,
    cosine,
    perplexity,
)

MASKED_WEIGHT = 0.5  # alpha: weight of the masked frames' loss; the unmasked frames' is 1 - alpha


class Hubert(nn.Module):
    """Masked prediction of cluster labels, for several clusterings side by side.

    Args:
        config: the encoder's network.
        clusters: the number of clusters in each clustering.
        dropout: the probability that a layer's output is set to 0.
    """

    def __init__(self, config: MiniConfig, clusters: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        network = HubertConfig(**config.settings(dropout), attn_implementation="eager")
        self.encoder = start_as_filters(HubertModel(network))
        # A and e_c of each clustering; checkpoints hold them under these names
        self.project = nn.ModuleList(nn.Linear(config.width, EMBEDDING_WIDTH) for _ in clusters)
        self.codes = nn.ParameterList(torch.randn(count, EMBEDDING_WIDTH) for count in clusters)
        speed_up_front_end(self.encoder)

    def forward(self, samples: Tensor, mask: Tensor, labels: Tensor, progress: float) -> Outcome:
        """Samples (N, n), mask (N, L) bool, labels (N, L, G) int64 -> means over G clusterings.

        Args:
            progress: not used; wav2vec2.0's objective takes it.
        """
        frames = self.encoder(samples, mask_time_indices=mask).last_hidden_state  # (N, L, W)
        clusterings = zip(self.project, self.codes, labels.unbind(-1), strict=True)
        outcomes = [
            clustering_loss(project(frames), label_embeddings, targets, mask)
            for project, label_embeddings, targets in clusterings
        ]
        return Outcome(*(torch.stack(values).mean() for values in zip(*outcomes)))


def clustering_loss(
    projected: Tensor, label_embeddings: Tensor, labels: Tensor, mask: Tensor
) -> Outcome:
    """HuBERT's loss for one clustering.

    The probability of cluster c at frame o is softmax_c(cos(A o, e_c) / 0.1) (Eq. 3). The loss is
    alpha times the cross-entropy of the masked frames plus 1 - alpha times that of the unmasked
    frames (Section II-B).

    Args:
        projected: A o, (N, L, D).
        label_embeddings: e_c, (C, D).
        labels: (N, L) int64.
        mask: (N, L) bool.
    """
    logits = cosine(projected, label_embeddings) / TEMPERATURE  # (N, L, C)
    loss = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")  # (N, L)
    masked = (loss * mask).sum() / mask.sum()
    unmasked = (loss * ~mask).sum() / (~mask).sum().clamp(min=1)
    predicted = logits[mask].argmax(-1)
    return Outcome(
        loss=MASKED_WEIGHT * masked + (1 - MASKED_WEIGHT) * unmasked,
        accuracy=(predicted == labels[mask]).float().mean(),
        perplexity=perplexity(predicted.bincount(minlength=len(label_embeddings)) / len(predicted)),
    )
