"""What pretraining asks of an encoder: HuBERT's objective and wav2vec2.0's, on one network.

Both hide spans of frames from the transformer and ask what was there. HuBERT (Hsu et al. 2021)
predicts the label of a cluster that the hidden frame fell into, here of several clusterings at
once, and of the frames that are seen too; wav2vec2.0 (Baevski et al. 2020) picks the hidden
frame's own quantised features out of those of other hidden frames of its clip.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2ForPreTraining

from emoshare_utils.features.small_network import Size, start_as_filters
from emoshare_utils.pretraining.masking import NEGATIVES, draw_negatives

CODES = 128  # width in which a frame is compared with a cluster or with quantised features
ALPHA = 0.5  # HuBERT: weight of the hidden frames, as against those that are seen
TEMPERATURE = 0.1  # of the cosine similarity, in both papers
CODEBOOK = 2, 100  # wav2vec2.0: groups, and entries in each
GUMBEL = 2.0, 0.5  # wav2vec2.0: temperature of the quantiser, first and last
DIVERSITY = 0.1  # wav2vec2.0: weight of the diversity loss


class Outcome(NamedTuple):
    """What an update tells of itself.

    Attributes:
        loss: a scalar to descend.
        accuracy: share of hidden frames told right.
        use: how many clusters (HuBERT, as told) or codebook entries (wav2vec2.0, the mean of the
            quantiser's chances, both groups together) are in use in this update: the perplexity.
    """

    loss: Tensor
    accuracy: Tensor
    use: Tensor


class Hubert(nn.Module):
    """Masked prediction of cluster labels, of several clusterings side by side.

    Args:
        size: of the encoder.
        clusters: how many labels each clustering has.
    """

    def __init__(self, size: Size, clusters: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        config = HubertConfig(**size.settings(dropout), attn_implementation="eager")
        self.encoder = start_as_filters(HubertModel(config))
        self.project = nn.ModuleList(nn.Linear(size.width, CODES) for _ in clusters)
        self.codes = nn.ParameterList(torch.randn(count, CODES) for count in clusters)
        quicken(self.encoder)

    def forward(self, samples: Tensor, hidden: Tensor, labels: Tensor, progress: float) -> Outcome:
        """Samples (N, n), hidden frames (N, L) bool, labels (N, L, G) int64 -> the outcome.

        Loss, accuracy and use are means over the G clusterings.
        """
        frames = self.encoder(samples, mask_time_indices=hidden).last_hidden_state  # (N, L, W)
        clusterings = zip(self.project, self.codes, labels.unbind(-1), strict=True)
        outcomes = [
            tell(project(frames), codes, label, hidden) for project, codes, label in clusterings
        ]
        return Outcome(*(torch.stack(values).mean() for values in zip(*outcomes)))


def tell(frames: Tensor, codes: Tensor, labels: Tensor, hidden: Tensor) -> Outcome:
    """What one clustering says of the projected frames (N, L, CODES) and their labels (N, L).

    The chance of cluster c at a frame o is softmax_c(cos(A o, e_c) / .1), Eq. 3 of the HuBERT
    paper; the loss is alpha times the cross-entropy over the hidden frames plus 1 - alpha times
    that over the others (Section II-B). Accuracy and use are those of the hidden frames.
    """
    logits = cosine(frames, codes) / TEMPERATURE  # (N, L, clusters)
    surprise = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")  # (N, L)
    of_hidden = (surprise * hidden).sum() / hidden.sum()
    of_others = (surprise * ~hidden).sum() / (~hidden).sum().clamp(min=1)
    told = logits[hidden].argmax(-1)
    used = torch.bincount(told, minlength=len(codes)) / len(told)
    return Outcome(
        ALPHA * of_hidden + (1 - ALPHA) * of_others,
        (told == labels[hidden]).float().mean(),
        perplexity(used),
    )


class Wav2Vec2(nn.Module):
    """The contrastive and the diversity loss, on transformers' `Wav2Vec2ForPreTraining`."""

    def __init__(self, size: Size, dropout: float = 0.0) -> None:
        super().__init__()
        groups, entries = CODEBOOK
        config = Wav2Vec2Config(
            **size.settings(dropout),
            attn_implementation="eager",
            num_codevector_groups=groups,
            num_codevectors_per_group=entries,
            codevector_dim=CODES,
            proj_codevector_dim=CODES,
            contrastive_logits_temperature=TEMPERATURE,
            diversity_loss_weight=DIVERSITY,
            num_negatives=NEGATIVES,
        )
        self.model = Wav2Vec2ForPreTraining(config)
        start_as_filters(self.encoder)
        quicken(self.encoder)

    @property
    def encoder(self) -> nn.Module:
        """The part that is kept."""
        return self.model.wav2vec2

    def forward(
        self, samples: Tensor, hidden: Tensor, labels: Tensor | None, progress: float
    ) -> Outcome:
        """Samples (N, n), hidden frames (N, L) bool -> the outcome; `labels` are not looked at.

        Args:
            progress: from 0 at the first update to 1 at the last; cools the quantiser.
        """
        return self.contrast(samples, hidden, draw_negatives(hidden), progress)

    def contrast(
        self, samples: Tensor, hidden: Tensor, negatives: Tensor, progress: float
    ) -> Outcome:
        """`forward` with the negatives (hidden, NEGATIVES) that it draws.

        The loss at a hidden frame is -log softmax(cos(c_t, q) / .1) at q = q_t, over q_t and its
        negatives (Eq. 3 of the wav2vec2.0 paper), plus the diversity loss (Eq. 4). All cosines
        of a clip come from one matrix product, where transformers takes each pair apart.
        """
        out = self.model.wav2vec2(samples, mask_time_indices=hidden)
        context = self.model.project_hid(out.last_hidden_state)  # (N, L, CODES)
        features = self.model.dropout_features(out.extract_features)
        quantised, use = self.quantise(features, hidden, progress)
        quantised = self.model.project_q(quantised)  # (N, L, CODES)

        similar = (cosine(context, quantised) / TEMPERATURE)[hidden]  # (hidden, L)
        clip, own = hidden.nonzero(as_tuple=True)
        entry = entries_of(quantised)
        same = entry[clip[:, None], negatives] == entry[clip, own][:, None]  # then no other
        others = similar.gather(1, negatives).masked_fill(same, -torch.inf)
        logits = torch.cat([similar.gather(1, own[:, None]), others], dim=1)

        contrastive = F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
        entries = CODEBOOK[0] * CODEBOOK[1]
        loss = contrastive + DIVERSITY * (entries - use) / entries
        right = (logits[:, :1] > logits[:, 1:]).all(1)  # a tie is not: in bfloat16 there are many
        return Outcome(loss, right.float().mean(), use.detach())

    def quantise(self, features: Tensor, hidden: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Features (N, L, W_c) -> one codebook entry of each group for each frame, and their use.

        The entry is drawn by Gumbel softmax (Eq. 1), as transformers' quantiser does, but looked
        up by a matrix product.
        """
        quantiser, (first, last) = self.model.quantizer, GUMBEL
        logits = quantiser.weight_proj(features).float().unflatten(-1, CODEBOOK)  # (N, L, G, V)
        drawn = F.gumbel_softmax(logits, tau=first * (last / first) ** progress, hard=True)
        use = sum(perplexity(group) for group in logits[hidden].softmax(-1).mean(0))
        entries = quantiser.codevectors.view(*CODEBOOK, -1)  # (G, V, CODES / G)
        return torch.einsum("nlgv,gvd->nlgd", drawn, entries).flatten(-2), use


OBJECTIVES = {"hubert": Hubert, "wav2vec2": Wav2Vec2}


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between each row of a (..., A, D) and each of b (..., B, D).

    Under autocast the product is rounded to bfloat16.
    """
    return F.normalize(a, dim=-1).float() @ F.normalize(b, dim=-1).float().mT


def perplexity(shares: Tensor) -> Tensor:
    """How many outcomes are in use: exp of the entropy of their shares."""
    return torch.special.entr(shares).sum().exp()


def entries_of(quantised: Tensor) -> Tensor:
    """Quantised features (N, L, D) -> a number for each frame, (N, L), the same where they are."""
    rows = quantised.detach().float().flatten(0, 1)
    return rows.unique(dim=0, return_inverse=True)[1].view(quantised.shape[:2])


def quicken(encoder: nn.Module) -> None:
    """Put `FrontEndLayer` in place of each layer of the front end; names of weights stay."""
    layers = encoder.feature_extractor.conv_layers
    for number, layer in enumerate(layers):
        layers[number] = FrontEndLayer(layer)


class FrontEndLayer(nn.Module):
    """A convolution of the front end, LayerNorm, GELU: (N, C, T) -> (N, C', T').

    The same numbers as transformers' layer. Frames keep their channels side by side in memory,
    as LayerNorm wants them, so nothing is transposed: four times as fast on a CPU.
    """

    def __init__(self, old: nn.Module) -> None:
        super().__init__()
        self.conv, self.layer_norm = old.conv, old.layer_norm

    def forward(self, x: Tensor) -> Tensor:
        (kernel,), (stride,) = self.conv.kernel_size, self.conv.stride
        if x.shape[1] == 1:  # samples
            x = F.linear(x[:, 0].unfold(1, kernel, stride), self.conv.weight[:, 0], self.conv.bias)
        else:
            weight = self.conv.weight[:, :, None].to(memory_format=torch.channels_last)
            x = F.conv2d(x[:, :, None], weight, self.conv.bias, stride=(1, stride))
            x = x[:, :, 0].mT  # (N, T', C')
        return F.gelu(self.layer_norm(x)).mT
