"""What HuBERT's and wav2vec2.0's objectives share."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EMBEDDING_WIDTH = 128  # of projected frames, label embeddings (HuBERT) and codewords (wav2vec2.0)
TEMPERATURE = 0.1  # of the cosine similarity, in both papers


class Outcome(NamedTuple):
    """The loss of one update, and two measures of it.

    Attributes:
        loss: a scalar to minimise.
        accuracy: over the masked frames.
        perplexity: of the predicted labels (HuBERT), or of the codebook entries (wav2vec2.0: of
            the quantiser's mean probabilities, summed over its groups).
    """

    loss: Tensor
    accuracy: Tensor
    perplexity: Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of each row of a (..., A, D) to each row of b (..., B, D): (..., A, B).

    Under autocast the product is rounded to bfloat16.
    """
    return F.normalize(a, dim=-1).float() @ F.normalize(b, dim=-1).float().mT


def perplexity(probabilities: Tensor) -> Tensor:
    """exp of the entropy of (K,) probabilities: K where all are equal, 1 where one of them is 1."""
    return torch.special.entr(probabilities).sum().exp()
