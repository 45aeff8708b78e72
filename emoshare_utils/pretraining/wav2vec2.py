"""wav2vec2.0 (Baevski et al. 2020): contrastive learning of quantised features.

Spans of frames are masked before the transformer. At each masked frame it must identify that
frame's own quantised features among those of other masked frames of the clip.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from emoshare_utils.features.small_network import MiniConfig, start_as_filters
from emoshare_utils.pretraining.front_end import speed_up_front_end
from emoshare_utils.pretraining.objective import (
    EMBEDDING_WIDTH,
    TEMPERATURE,
    Outcome,
    cosine,
    perplexity,
)

NEGATIVES = 100  # other masked frames that the true one is compared with
GROUPS, ENTRIES = 2, 100  # codebooks, and the entries of each
GUMBEL_TEMPERATURE = 2.0, 0.5  # of the quantiser, at the first and at the last update
DIVERSITY_WEIGHT = 0.1


class Wav2Vec2(nn.Module):
    """The contrastive and the diversity loss, with the modules of `Wav2Vec2ForPreTraining`.

    Args:
        config: the encoder's network.
        dropout: the probability that a layer's output is set to 0.
    """

    def __init__(self, config: MiniConfig, dropout: float = 0.0) -> None:
        super().__init__()
        network = Wav2Vec2Config(
            **config.settings(dropout),
            attn_implementation="eager",
            num_codevector_groups=GROUPS,
            num_codevectors_per_group=ENTRIES,
            codevector_dim=EMBEDDING_WIDTH,
            proj_codevector_dim=EMBEDDING_WIDTH,
            contrastive_logits_temperature=TEMPERATURE,
            diversity_loss_weight=DIVERSITY_WEIGHT,
            num_negatives=NEGATIVES,
        )
        self.model = Wav2Vec2ForPreTraining(network)
        start_as_filters(self.encoder)
        speed_up_front_end(self.encoder)

    @property
    def encoder(self) -> nn.Module:
        """The part that is kept after pretraining."""
        return self.model.wav2vec2

    def forward(
        self, samples: Tensor, mask: Tensor, labels: Tensor | None, progress: float
    ) -> Outcome:
        """Samples (N, n), mask (N, L) bool -> the outcome.

        Args:
            labels: not used; HuBERT's objective takes them.
            progress: from 0 at the first update to 1 at the last; lowers the Gumbel temperature.
        """
        return self.contrast(samples, mask, draw_negatives(mask), progress)

    def contrast(
        self, samples: Tensor, mask: Tensor, negatives: Tensor, progress: float
    ) -> Outcome:
        """The outcome with these negatives, (M, K), of the M masked frames.

        The contrastive loss at a masked frame is -log softmax(cos(c_t, q) / 0.1) at q = q_t, over
        q_t and its negatives (Eq. 3). The diversity loss is (G V - perplexity) / G V (Eq. 4). One
        matrix product gives all cosines of a clip.
        """
        out = self.model.wav2vec2(samples, mask_time_indices=mask)
        context = self.model.project_hid(out.last_hidden_state)  # c_t: (N, L, D)
        features = self.model.dropout_features(out.extract_features)
        quantised, entries, in_use = self.quantise(features, mask, progress)
        quantised = self.model.project_q(quantised)  # q_t: (N, L, D)

        similarity = (cosine(context, quantised) / TEMPERATURE)[mask]  # (M, L)
        clip, true = mask.nonzero(as_tuple=True)
        same = entries[clip[:, None], negatives] == entries[clip, true][:, None]  # no negative
        others = similarity.gather(1, negatives).masked_fill(same, -torch.inf)
        logits = torch.cat([similarity.gather(1, true[:, None]), others], dim=1)  # (M, 1 + K)

        contrastive = F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
        diversity = 1 - in_use / (GROUPS * ENTRIES)
        loss = contrastive + DIVERSITY_WEIGHT * diversity
        correct = (logits[:, :1] > logits[:, 1:]).all(1)  # a tie is not: bfloat16 has many
        return Outcome(loss, correct.float().mean(), in_use.detach())

    def quantise(
        self, features: Tensor, mask: Tensor, progress: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise features (N, L, W_c).

        Each group's entry is drawn by Gumbel softmax (Eq. 1), as by transformers' quantiser, but
        looked up by a matrix product.

        Returns:
            Quantised features (N, L, D); the number of their entries (N, L), of GROUPS together;
            the perplexity of the masked frames' entries, over all groups.
        """
        quantiser, (first, last) = self.model.quantizer, GUMBEL_TEMPERATURE
        logits = quantiser.weight_proj(features).float().unflatten(-1, (GROUPS, ENTRIES))
        one_hot = F.gumbel_softmax(logits, tau=first * (last / first) ** progress, hard=True)
        in_use = sum(perplexity(group) for group in logits[mask].softmax(-1).mean(0))
        codebooks = quantiser.codevectors.view(GROUPS, ENTRIES, -1)
        quantised = torch.einsum("nlgv,gvd->nlgd", one_hot, codebooks).flatten(-2)
        places = ENTRIES ** torch.arange(GROUPS, device=mask.device)
        return quantised, (one_hot.argmax(-1) * places).sum(-1), in_use


def draw_negatives(mask: Tensor, count: int = NEGATIVES) -> Tensor:
    """For each of the M masked frames, `count` other masked frames of its clip: (M, count) int64.

    A clip's only masked frame is its own negative, which the loss then leaves out.
    """
    of_clip = mask.sum(1)
    start = (of_clip.cumsum(0) - of_clip).repeat_interleave(of_clip)[:, None]
    others = (of_clip - 1).repeat_interleave(of_clip)[:, None]
    own = torch.arange(len(others), device=mask.device)[:, None] - start
    drawn = (torch.rand(len(others), count, device=mask.device) * others).long()
    _, frame = mask.nonzero(as_tuple=True)
    return frame[start + drawn + ((drawn >= own) & (others > 0))]
