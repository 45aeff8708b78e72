"""The released code's arithmetic: equal to a plain network written from its description."""

from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from torch import Tensor, nn

from emoshare_utils.models.architectures import Architecture2
from emoshare_utils.models.padding import pad
from emoshare_utils.models.regressor import Sizes, build, read_sizes
from emoshare_utils.results.figures import forest
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies.released_code import (
    DIFFERENCES,
    TEXT,
    Variant,
    choose,
    compare_variants,
    variants,
    zero_starts,
)
from emoshare_utils.studies.released_figures import dead_starts

WIDTH = 10
SIZES = Sizes(cnn=(12, 10, 6), lstm=8, ffnn_1=(9, 7, 5), ffnn_2=(9, 7, 5))
LENGTHS = (2, 3, 4, 9, 150, 397, 398)
EACH = [(a, name) for a in (1, 2) for name in DIFFERENCES[a]]


class Plain(nn.Module):
    """Both released networks, as plainly as torch can say it, with every part always there.

    The paper's text is this network with LayerNorms, bias and padding taken out by `off`.
    """

    def __init__(self, architecture: int, sizes: Sizes, steps: int, off: frozenset = frozenset()):
        super().__init__()
        (c1, c2, c3), units = sizes.cnn, sizes.lstm
        h1, h2, h3 = sizes.ffnn_1 if architecture == 1 else sizes.ffnn_2
        self.architecture, self.steps, self.off = architecture, steps, off
        self.conv1 = nn.Conv1d(WIDTH, c1, 3, padding=1)
        self.conv2 = nn.Conv1d(c1, c2, 3, padding=1)
        self.conv3 = nn.Conv1d(c2, c3, 3, padding=1)
        self.pool = nn.MaxPool1d(sizes.pool)
        self.lstm = nn.LSTM(c3, units, num_layers=2, batch_first=True)
        self.query = nn.Linear(2 * units, units)
        self.frame_norm = nn.LayerNorm((steps, c3))
        self.weight_norm = nn.LayerNorm((1, steps))
        self.linear = nn.ModuleList(
            nn.Linear(*pair) for pair in ((units, h1), (h1, h2), (h2, h3), (h3, 1))
        )
        self.norms = nn.ModuleList(nn.LayerNorm(n) for n in (h1, h2, h3))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        x = features.transpose(1, 2)
        for conv in (self.conv1, self.conv2, self.conv3):
            x = torch.relu(conv(x))
            if "convolve_padding" in self.off:
                x = x * torch.stack([torch.arange(x.shape[2]) < n for n in lengths])[:, None]
        x = self.pool(x).transpose(1, 2)
        lengths = lengths // self.pool.kernel_size
        if self.architecture == 2 and "frame_norm" not in self.off:
            x = self.frame_norm(x)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        states, (h_n, _) = self.lstm(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(states, True, total_length=self.steps)
        if self.architecture == 1:
            x = torch.stack([s[:n].mean(dim=0) for s, n in zip(states, lengths)])
        else:
            query = self.query(torch.cat([h_n[0], h_n[1]], dim=1))
            if "query_bias" in self.off:
                query = query - self.query.bias
            units = states.shape[2]
            divisor = units if "scale" in self.off else units**0.5
            weights = torch.zeros(len(states), 1, self.steps)
            for clip, length in enumerate(lengths):
                scores = states[clip, :length] @ query[clip] / divisor
                weights[clip, 0, :length] = scores.softmax(dim=0)
            if "weight_norm" not in self.off:
                weights = self.weight_norm(weights)
            x = (weights @ states)[:, 0]
        *hidden, last = self.linear
        for layer, norm in zip(hidden, self.norms):
            x = torch.relu(layer(x))
            if self.architecture == 2 and "ffnn_norm" not in self.off:
                x = norm(x)
        x = last(x).squeeze(1)
        return torch.sigmoid(x) if "output" in self.off else torch.relu(x)


def clips(lengths=LENGTHS) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((length, WIDTH)).astype(np.float32) for length in lengths]


def fitting(pool: int, max_frames: int) -> list[np.ndarray]:
    """The clips that the released code could read: one frame or more is left of each."""
    return [clip for clip in clips() if pool <= len(clip) <= max_frames]


@torch.no_grad()
def lively(network: Plain, max_frames: int) -> Plain:
    """Large weights, LayerNorms that do something, and an output of unit variance about 0."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.6 + 0.1)
    last, before = network.linear[-1], []
    hook = last.register_forward_hook(lambda _module, _given, output: before.append(output))
    network(*pad(fitting(network.pool.kernel_size, max_frames), max_frames))
    hook.remove()
    last.bias.copy_((last.bias - before[0].mean()) / before[0].std())
    last.weight.div_(before[0].std())
    return network.eval()


@torch.no_grad()
def copy_weights(plain: Plain, ours: nn.Module) -> None:
    cnn = getattr(ours.cnn, "cnn", ours.cnn)
    copies = list(zip(cnn.convolutions, (plain.conv1, plain.conv2, plain.conv3)))
    copies += zip([*ours.ffnn.hidden, ours.ffnn.share], plain.linear)
    if hasattr(ours, "attention"):
        attention = getattr(ours.attention, "attention", ours.attention)
        copies.append((attention.w_q, plain.query))
    for mine, theirs in copies:
        mine.weight.copy_(theirs.weight)
        if mine.bias is not None:
            mine.bias.copy_(theirs.bias)
    for layer, module in enumerate(ours.lstm.layers):
        for name, parameter in module.named_parameters():
            parameter.copy_(getattr(plain.lstm, name.replace("l0", f"l{layer}")))
    norms = [
        (getattr(ours.cnn, "norm", None), plain.frame_norm),
        (getattr(getattr(ours, "attention", None), "norm", None), plain.weight_norm),
        *zip(getattr(ours.ffnn, "norms", ()), plain.norms),
    ]
    for mine, theirs in norms:
        if isinstance(mine, nn.LayerNorm):
            mine.weight.copy_(theirs.weight.view_as(mine.weight))
            mine.bias.copy_(theirs.bias.view_as(mine.bias))


def both(architecture: int, variant: Variant, off: frozenset) -> tuple[Plain, nn.Module]:
    plain = Plain(architecture, variant, variant.max_frames // variant.pool, off)
    lively(plain, variant.max_frames)
    ours = build(architecture, WIDTH, variant).eval()
    copy_weights(plain, ours)
    return plain, ours


@pytest.mark.parametrize("architecture", [1, 2])
@pytest.mark.parametrize("pool, max_frames", [(2, 398), (4, 397), (8, 410)])
def test_released_equals_a_plain_network(architecture, pool, max_frames):
    sizes = choose("released", replace(SIZES, pool=pool), max_frames)
    plain, ours = both(architecture, sizes, frozenset())
    given = fitting(pool, max_frames)
    expected = plain(*pad(given, max_frames))
    assert (expected == 0).any() and expected.std() > 0.1  # else this would say little
    # relative too: a last ReLU gives more than 1 here
    for padded_to in (None, max_frames, 450):
        shares = ours(*pad(given, padded_to))
        torch.testing.assert_close(shares, expected, atol=1e-5, rtol=1e-5)
    alone = torch.cat([ours(*pad([clip])) for clip in given])
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture, name", [(1, None), (2, None), *EACH])
def test_each_difference_alone_equals_the_plain_network_without_the_others(architecture, name):
    variant = variants(architecture, SIZES, 398)[name or "paper"]
    others = frozenset(DIFFERENCES[2]) - {name}
    plain, ours = both(architecture, variant, others)
    expected = plain(*pad(clips(), 398))
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(*pad(clips())), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture, name", EACH)
def test_each_difference_matters(architecture, name):
    different = variants(architecture, SIZES, 398)
    off = {which: frozenset(DIFFERENCES[2]) - {which} for which in ("paper", name)}
    shares = [both(architecture, different[w], off[w])[1](*pad(clips())) for w in ("paper", name)]
    assert (shares[0] - shares[1]).abs().max() > 1e-4


@pytest.mark.parametrize("architecture", [1, 2])
def test_variants_of_one_seed_start_from_the_papers_weights(architecture):
    def start(sizes: Sizes) -> list[Tensor]:
        torch.manual_seed(3)
        return list(build(architecture, WIDTH, sizes).state_dict().values())

    paper = start(replace(SIZES, **TEXT))
    for name, variant in variants(architecture, SIZES, 398).items():
        weights = start(variant)
        assert all(any(torch.equal(a, b) for b in weights) for a in paper), name


def test_without_differences_it_is_the_paper():
    paper = choose("paper", SIZES, None)
    assert paper is SIZES
    assert type(build(2, WIDTH, paper)) is Architecture2
    assert list(variants(1, SIZES, 398)) == ["paper", *DIFFERENCES[1], "released"]
    assert list(variants(2, SIZES, 398, ["output"])) == [
        "paper",
        "output",
        "but_output",
        "released",
    ]
    but_output = variants(2, SIZES, 398)["but_output"]
    assert replace(but_output, output="relu") == choose("released", SIZES, 398)
    assert variants(1, SIZES, 398)["paper"].scale == "width"  # Eq. 2b as printed


def test_the_normalisations_have_the_released_shapes():
    network = build(2, 1024, choose("released", Sizes(), 398))
    assert network.cnn.norm.normalized_shape == (199, 192)
    assert network.attention.norm.normalized_shape == (199,)
    assert [norm.normalized_shape for norm in network.ffnn.norms] == [(256,), (128,), (64,)]
    assert network.attention.attention.w_q.bias.abs().max() <= 1024**-0.5
    assert network.attention.attention.scale == 512**0.5


@pytest.mark.parametrize("architecture", [1, 2])
def test_gradients_reach_every_parameter(architecture):
    sizes = replace(choose("released", SIZES, 398), output="sigmoid")
    network = build(architecture, WIDTH, sizes)
    network(*pad(clips())).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_settings_say_what_was_built():
    for sizes in (SIZES, choose("released", SIZES, 398)):
        assert read_sizes(asdict(sizes)) == sizes


@pytest.mark.parametrize("name", ["convolve_padding", "frame_norm", "weight_norm"])
def test_what_needs_a_fixed_length_is_refused_without_one(name):
    with pytest.raises(ValueError, match=f"max_frames = None with {name}.*padding = 'paper'"):
        Variant(**{name: True})
    network = build(2, WIDTH, Variant(**asdict(SIZES), **{name: True}, max_frames=20))
    with pytest.raises(ValueError, match="does not fit the fixed length"):
        network(*pad(clips((3, 44))))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="variant = 'code': expected 'paper' or 'released'"):
        choose("code", SIZES, 398)
    with pytest.raises(ValueError, match="no difference 'last_relu': expected convolve_padding"):
        variants(1, SIZES, 398, ["last_relu"])
    with pytest.raises(ValueError, match="architecture = 3: the released code has 1 and 2"):
        variants(3, SIZES, 398)


def test_many_seeds_start_dead_with_the_last_relu_and_none_with_a_sigmoid():
    features, lengths = torch.randn(8, 12, 16, generator=torch.Generator().manual_seed(0)), 12
    lengths = torch.full((8,), lengths)
    sizes = Sizes(cnn=(16, 12, 8), lstm=16)
    for architecture in (1, 2):
        released = choose("released", sizes, 12)
        zeros = zero_starts(architecture, released, features, lengths, range(30))
        assert 5 <= zeros.count(1.0) <= 25
        assert zeros == zero_starts(architecture, released, features, lengths, range(30))
        alive = replace(released, output="sigmoid")
        assert set(zero_starts(architecture, alive, features, lengths, range(5))) == {0.0}


def predictions(seeds=(0, 1)) -> pd.DataFrame:
    """Two emotions of 80 clips; "worse" is noisier, "dead" constant for one emotion."""
    rng = np.random.default_rng(0)
    rows = []
    for seed, (variant, noise) in product(seeds, {"paper": 0.3, "worse": 1, "dead": 0.3}.items()):
        for column, emotion in enumerate(("Anger", "Joy")):
            share = np.random.default_rng(column).random(80)
            guess = share + noise * rng.random(80)
            if (variant, emotion) == ("dead", "Joy"):
                guess = np.zeros(80)
            rows.append(
                pd.DataFrame({"clip_id": np.arange(80), "share": share, "prediction": guess})
                .assign(emotion=emotion, variant=variant, seed=seed, architecture=2)
                .assign(split=np.where(np.arange(80) < 60, "devel", "test"))
            )
    return pd.concat(rows, ignore_index=True)


BOTH = ["Anger", "Joy"]


def test_compare_is_the_mean_rho_and_its_paired_difference():
    given = predictions()
    table = compare_variants(given, BOTH, resamples=400).set_index("variant")
    assert list(table.index) == ["paper", "worse", "dead"]
    devel = given[given["split"] == "devel"]
    rho = devel.groupby(["variant", "emotion", "seed"])[["share", "prediction"]].apply(
        lambda rows: spearman(rows["share"], rows["prediction"])
    )
    means = rho.groupby("variant").mean()
    worse = table.loc["worse"]
    assert worse["mean_rho"] == pytest.approx(means["worse"])
    assert worse["difference"] == pytest.approx(means["worse"] - means["paper"])
    assert worse["ci_low"] < worse["difference"] < worse["ci_high"] < 0 and worse["seeds"] == 2
    assert (table["networks"] == 4).all()
    assert table["constant"].to_dict() == {"paper": 0, "worse": 0, "dead": 2}
    assert np.isnan(table.loc["paper", "difference"])
    assert table.loc["dead", ["mean_rho", "difference", "ci_low"]].isna().all()
    note = "constant prediction: Joy (dead (A2)); no mean over emotions"
    assert table.loc["dead", "note"] == note
    same = given[given["variant"] == "worse"].assign(variant="paper")
    twins = pd.concat([same, same.assign(variant="twin")])
    paired = compare_variants(twins, BOTH, resamples=50).set_index("variant")
    assert (paired.loc["twin", ["difference", "ci_low", "ci_high"]].abs() < 1e-12).all()


def test_pictures_say_what_died():
    def texts(figure) -> str:
        shown = " ".join(text.get_text() for text in figure.findobj(Text))
        return " ".join(shown.split())  # a caption may break anywhere

    table = compare_variants(predictions(), BOTH, resamples=20)
    said = texts(forest(table[table["variant"] != "paper"], over_seeds=True))
    assert "A2: dead" in said and "no ρ" in said and "constant prediction: Joy (dead (A2))" in said
    assert "n = 60 clips; means over 2 seeds, resampled too" in said
    zeros = pd.DataFrame({1: [0.0, 1.0, 1.0], 2: [0.0, 0.5, 1.0]})
    said = texts(dead_starts(zeros))
    assert "Architecture 1: 2 of 3 dead" in said and "Architecture 2: 1 of 3 dead" in said
