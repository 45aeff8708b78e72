"""What the released code computes differently from the paper's text, each difference on its own.

Read from the training scripts of https://github.com/payalmohapatra/EmotionShare_ACMMM23, which
are written for one fixed length: 398 frames before the pooling, 199 after it. Here it is
`max_frames`, and `max_frames // pool` after the pooling. The networks pad to it themselves, so
that a clip's output is the same alone, in any batch and under any padding here too. A clip
shorter than one pool, on which the released code stops, keeps one frame as in `models.layers`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emoshare_utils.models.architectures import Architecture2
from emoshare_utils.models.layers import CNN, FFNN, Attention
from emoshare_utils.models.padding import mask
from emoshare_utils.models.regressor import Regressor, Sizes, build, register_sizes
from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.comparisons import compare
from emoshare_utils.results.metrics import CONSTANT_PREDICTION
from emoshare_utils.results.scores import score

FIXED_LENGTH = ("convolve_padding", "frame_norm", "weight_norm")  # these need max_frames


@register_sizes
@dataclass(frozen=True)
class Variant(Sizes):
    """Sizes, and which parts of the released code to use.

    `scale` and `output` are two more differences: Eq. 2b divides by "width", the released code by
    "sqrt"; its output is "relu". Architecture 1 has convolve_padding and output only.

    Attributes:
        max_frames: the fixed length; None where no part in FIXED_LENGTH is used.
        convolve_padding: the padding is convolved as if it were speech. The first convolution's
            bias fills it, and from the second one on a clip's last frames see that.
        frame_norm: LayerNorm over (max_frames // pool, W_c) before the LSTM, with the padded
            frames in its statistics.
        weight_norm: LayerNorm over the max_frames // pool attention weights after the softmax,
            zero in the padding. They no longer sum to 1, and about half are negative. The states
            in the padding are zero, so no padded frame is attended to.
        ffnn_norm: LayerNorm after each ReLU within the FFNN.
        query_bias: W_Q has a bias.

    Raises:
        ValueError: a part needs a fixed length and has none.
    """

    max_frames: int | None = None
    convolve_padding: bool = False
    frame_norm: bool = False
    weight_norm: bool = False
    ffnn_norm: bool = False
    query_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers > 1:
            raise ValueError("the released code reads one layer: leave '@all' out of encoder")
        if self.metadata:
            raise ValueError("the released code reads frames alone: leave out training.metadata")
        needing = [name for name in FIXED_LENGTH if getattr(self, name)]
        if needing and (self.max_frames is None or self.max_frames < self.pool):
            raise ValueError(
                f"max_frames = {self.max_frames} with {', '.join(needing)}: the released code is "
                f"written for a fixed length of {self.pool} frames (pool) or more: "
                "set padding = 'paper' or a number"
            )

    def regressor(self, architecture: int) -> Callable[[int, "Variant"], Regressor]:
        """A function that builds the architecture with the released code's parts."""
        plain = super().regressor(architecture)
        return lambda width, variant: replace_parts(plain(width, variant), variant)


DIFFERENCES = {  # from the paper's text to the released code, in the order of computation
    1: {"convolve_padding": True, "output": "relu"},
    2: {
        "convolve_padding": True,
        "frame_norm": True,
        "query_bias": True,
        "scale": "sqrt",
        "weight_norm": True,
        "ffnn_norm": True,
        "output": "relu",
    },
}
LABELS = {
    "paper": "the paper's text",
    "convolve_padding": "padding convolved",
    "frame_norm": "LayerNorm over frames",
    "query_bias": "bias in W_Q",
    "scale": "square root in Eq. 2b",
    "weight_norm": "LayerNorm over weights",
    "ffnn_norm": "LayerNorms in the FFNN",
    "output": "last ReLU",
    "but_output": "all but the last ReLU",
    "released": "all: the released code",
}
TEXT = {"scale": "width", "output": "sigmoid"}  # Eq. 2b; the paper names no output


def choose(variant: str, sizes: Sizes, max_frames: int | None) -> Sizes:
    """The sizes as they are ("paper"), or all of the released code ("released").

    Raises:
        ValueError: another name, or "released" without a fixed length.
    """
    if variant == "paper":
        return sizes
    if variant == "released":
        return Variant(**asdict(sizes) | DIFFERENCES[2], max_frames=max_frames)
    raise ValueError(f"variant = {variant!r}: expected 'paper' or 'released'")


def variants(
    architecture: int, sizes: Sizes, max_frames: int, names: Sequence[str] | None = None
) -> dict[str, Variant]:
    """The paper's text ("paper"), each difference alone, and all of them ("released").

    As the last ReLU can hide what the others do, there is also all of them but that
    ("but_output"); for Architecture 1 that is convolve_padding. `names` chooses some of the
    differences; those that this architecture lacks are left out.

    Raises:
        ValueError: a name that is no difference, or an architecture that is not in the released
            code.
    """
    if architecture not in DIFFERENCES:
        raise ValueError(f"architecture = {architecture}: the released code has 1 and 2")
    names = DIFFERENCES[2] if names is None else names
    if unknown := [name for name in names if name not in DIFFERENCES[2]]:
        raise ValueError(f"no difference {unknown[0]!r}: expected {', '.join(DIFFERENCES[2])}")
    differences = DIFFERENCES[architecture]
    text = asdict(sizes) | TEXT | {"max_frames": max_frames}
    alone = {name: Variant(**text | {name: differences[name]}) for name in differences}
    chosen = {"paper": Variant(**text)}
    chosen |= {name: variant for name, variant in alone.items() if name in names}
    if architecture == 2:
        chosen["but_output"] = Variant(**text | differences | {"output": TEXT["output"]})
    return chosen | {"released": Variant(**text | differences)}


# Every part takes over a network that is already built and draws none of the random numbers before
# it, so that the variants of one seed start from the same weights.


def replace_parts(network: Regressor, variant: Variant) -> Regressor:
    """Replace a new network's parts by those of the released code that `variant` asks for."""
    attends = isinstance(network, Architecture2)  # the others have only convolve_padding
    if variant.convolve_padding or (attends and variant.frame_norm):
        network.cnn = FixedCNN(network.cnn, variant)
    if not attends:
        return network
    if variant.frame_norm:
        network.cnn.norm = nn.LayerNorm((network.cnn.steps, variant.cnn[-1]))
    if variant.query_bias:
        bound = (variant.lstm_layers * variant.lstm) ** -0.5  # as nn.Linear initialises it
        bias = torch.empty(variant.lstm).uniform_(-bound, bound)
        network.attention.w_q.bias = nn.Parameter(bias)
    if variant.weight_norm:
        network.attention = NormedAttention(network.attention, variant.max_frames // variant.pool)
    if variant.ffnn_norm:
        network.ffnn = NormedFFNN(network.ffnn)
    return network


class FixedCNN(nn.Module):
    """The CNN over a fixed length: (N, L, W) -> (N, max_frames // pool, W_c), then `norm`."""

    def __init__(self, cnn: CNN, variant: Variant) -> None:
        super().__init__()
        self.cnn, self.norm = cnn, nn.Identity()
        self.max_frames, self.steps = variant.max_frames, variant.max_frames // variant.pool
        self.convolve_padding = variant.convolve_padding

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        features = fix(features, lengths, self.max_frames)
        convolved = torch.full_like(lengths, self.max_frames) if self.convolve_padding else lengths
        frames, _ = self.cnn(features, convolved)
        lengths = (lengths // self.cnn.pool).clamp(min=1)
        # the last window of a length that the pool does not divide falls away
        frames = fix(frames, lengths, self.steps)
        return self.norm(frames.float()).to(frames.dtype), lengths


class NormedAttention(nn.Module):
    """Attention with a LayerNorm over all `steps` weights of a clip, its padding among them."""

    def __init__(self, attention: Attention, steps: int) -> None:
        super().__init__()
        self.attention, self.norm = attention, nn.LayerNorm(steps)
        self.steps = steps

    def forward(self, states: Tensor, final: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, L, W_l), final h' (N, 2 W_l) -> A (N, W_l), weights (N, L)."""
        _, weights = self.attention(states, final, lengths)
        weights = self.norm(fix(weights, lengths, self.steps))
        weights = fix(weights, lengths, states.shape[1]) * mask(lengths, states.shape[1])
        return torch.einsum("nl,nlw->nw", weights, states), weights


class NormedFFNN(FFNN):
    """The FFNN with a LayerNorm after each ReLU but the last: (N, W_l) -> (N,)."""

    def __init__(self, ffnn: FFNN) -> None:
        nn.Module.__init__(self)
        self.hidden, self.share = ffnn.hidden, ffnn.share
        self.output, self.inverse = ffnn.output, ffnn.inverse
        self.norms = nn.ModuleList(nn.LayerNorm(layer.out_features) for layer in ffnn.hidden)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.hidden, self.norms):
            x = norm(F.relu(layer(x)))
        return self.output(self.share(x)).squeeze(1)


def fix(values: Tensor, lengths: Tensor, length: int) -> Tensor:
    """Zero-pad or cut dimension 1 to `length`: (N, L, ...) -> (N, length, ...).

    Raises:
        ValueError: a clip is longer.
    """
    if lengths.max() > length:
        raise ValueError(
            f"a clip of {int(lengths.max())} frames does not fit the fixed length of {length} "
            "that this network is made for: set padding (in notebook 06 fixed_length) to a larger "
            "number"
        )
    missing = length - values.shape[1]
    return F.pad(values, (0, 0) * (values.ndim - 2) + (0, missing))


@torch.no_grad()
def zero_starts(
    architecture: int, sizes: Sizes, features: Tensor, lengths: Tensor, seeds: Sequence[int]
) -> list[float]:
    """The fraction of clips whose output is 0 before any training, one value per seed.

    1 is a dead start: the last ReLU passes no gradient back, so the network never learns.

    Args:
        features, lengths: a padded batch, (N, L, W) and (N,).
    """
    fractions = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(architecture, features.shape[2], sizes)
        fractions.append(float((network(features, lengths) == 0).float().mean()))
    return fractions


def compare_variants(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
    split: str = "devel",
) -> pd.DataFrame:
    """What each variant does to the mean rho over emotions, against the paper's text.

    A variant and the paper's text of one seed start from the same weights, so the difference is
    taken seed by seed and averaged; its intervals resample the seeds together with the clips or the
    speakers (`comparisons.compare` with over_seeds).

    Args:
        predictions: the predictions table with a column `variant`, "paper" among its values.
        emotions, resamples, speakers: as in `compare`.

    Returns:
        One row per architecture and variant: architecture, variant, networks, constant (networks
        that predict one value), mean_rho (over the seeds), then the columns of `compare`, which
        are null for "paper".
    """
    named = {variant: LABELS.get(variant, variant) for variant in predictions["variant"].unique()}
    systems = predictions.assign(encoder=predictions["variant"].map(named))
    results, summary = score(systems[systems["split"] == split], emotions, resamples=1)
    of_variant = results.groupby(["encoder", "architecture"])["note"]
    means = summary.groupby(["encoder", "architecture"])["mean_rho"].mean(skipna=False)
    rows, contrasts = [], {}
    pairs = predictions[["architecture", "variant"]].drop_duplicates().to_numpy()
    for architecture, variant in sorted(pairs, key=lambda pair: pair[0]):
        key, paper = ((named[name], architecture) for name in (variant, "paper"))
        notes = of_variant.get_group(key)
        row = {"architecture": architecture, "variant": variant, "networks": len(notes)}
        row |= {"constant": (notes == CONSTANT_PREDICTION).sum(), "mean_rho": means[key]}
        contrast = f"{ARCHITECTURES[architecture].short}: {named[variant]} − {named['paper']}"
        rows.append(row | {"contrast": contrast})
        if variant != "paper":
            contrasts[contrast] = {key: 1, paper: -1}
    compared = compare(systems, emotions, contrasts, split, resamples, speakers, over_seeds=True)
    table = pd.DataFrame(rows).merge(compared, how="left", on="contrast")
    return table.fillna({"note": ""})
