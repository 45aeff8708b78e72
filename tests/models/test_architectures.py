"""Architectures 1 and 2: exact under any batch and padding, and the paper's equations."""

import math
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from emoshare_utils.files import checksum
from emoshare_utils.models import kernels
from emoshare_utils.models.architectures import Architecture1, Architecture2
from emoshare_utils.models.joined import can_join
from emoshare_utils.models.kernels import WIDE_KERNEL, Convolution, max_pool
from emoshare_utils.models.layers import CNN, FFNN, LSTM, Attention, Standardise, masked_mean
from emoshare_utils.models.padding import mask, pad
from emoshare_utils.models.regressor import (
    REGRESSORS,
    Regressor,
    Sizes,
    build,
    read_sizes,
    register,
    register_sizes,
)
from emoshare_utils.models.regressor import SIZES as KNOWN_SIZES
from emoshare_utils.models.transformer import Architecture3, Layer, positions
from emoshare_utils.names import ARCHITECTURES, Look, UnknownName

WIDTH = 10
SIZES = Sizes(cnn=(16, 12, 8), lstm=12, ffnn_1=(16, 8), ffnn_2=(16, 8))
LENGTHS = (1, 2, 3, 9, 20, 37, 38)

both = pytest.mark.parametrize("architecture", [Architecture1, Architecture2, Architecture3])


def clips(lengths=LENGTHS) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((length, WIDTH)).astype(np.float32) for length in lengths]


def lively(architecture: type[nn.Module], sizes: Sizes = SIZES) -> nn.Module:
    """A network whose output differs from clip to clip, statistics and biases included."""
    torch.manual_seed(0)
    network = architecture(WIDTH, sizes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.8)
    network.standardise.fit(torch.randn(WIDTH), torch.rand(WIDTH) + 0.5)
    return network.eval()


@both
def test_a_weighted_mean_of_layers_is_learned_and_the_rest_is_as_ever(architecture):
    """Of one layer it is the network without weights; of several, their softmax-weighted mean."""
    plain = lively(architecture)
    weighs = architecture(2 * WIDTH, replace(SIZES, layers=2)).eval()
    weighs.load_state_dict(
        plain.state_dict()
        | {
            "standardise.mean": torch.zeros(2 * WIDTH),
            "standardise.scale": torch.ones(2 * WIDTH),
            "layer_weights.scores": torch.tensor([0.3, -0.5]),
        }
    )
    plain.standardise.fit(torch.zeros(WIDTH), torch.ones(WIDTH))
    first, second = clips(), [clip[::-1].copy() for clip in clips()]
    w = np.exp([0.3, -0.5]) / np.exp([0.3, -0.5]).sum()
    mean = [(w[0] * a + w[1] * b).astype(np.float32) for a, b in zip(first, second)]
    side_by_side = [np.hstack(pair) for pair in zip(first, second)]
    expected = torch.cat([plain(*pad([clip])) for clip in mean])
    for padded_to in (None, 41):
        found = weighs(*pad(side_by_side, padded_to))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    found.sum().backward()
    assert weighs.layer_weights.scores.grad.abs().min() > 0
    assert not can_join([weighs, weighs], pad(side_by_side)[0])


@both
@pytest.mark.parametrize("pool", [2, 3, 4])
def test_a_clip_alone_in_a_batch_and_under_any_padding_has_one_prediction(architecture, pool):
    network = lively(architecture, Sizes(SIZES.cnn, pool, SIZES.lstm, 2, (16, 8), (16, 8)))
    alone = torch.cat([network(*pad([clip])) for clip in clips()])
    assert alone.std() > 0.005  # else the comparison would say nothing
    for padded_to in (None, 41, 398):
        together = network(*pad(clips(), padded_to))
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    backwards = network(*pad(clips()[::-1]))
    torch.testing.assert_close(backwards.flip(0), alone, atol=1e-5, rtol=0)


@both
def test_what_lies_in_the_padding_is_never_read(architecture):
    network = lively(architecture)
    features, lengths = pad(clips(), 50)
    expected = network(features, lengths)
    for clip, length in zip(features, lengths):
        clip[length:] = 7.0
    torch.testing.assert_close(network(features, lengths), expected)


@both
def test_gradients_reach_every_parameter(architecture):
    torch.manual_seed(1)
    network = architecture(WIDTH, Sizes(cnn=(32, 24, 16), lstm=24, ffnn_1=(16, 8), ffnn_2=(16, 8)))
    network(*pad(clips())).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@both
def test_predictions_are_shares(architecture):
    shares = lively(architecture)(*pad(clips()))
    assert shares.shape == (len(LENGTHS),)
    assert ((shares > 0) & (shares < 1)).all()


def test_released_sizes_are_the_defaults():
    first, second = Architecture1(1024), Architecture2(1024)
    assert [c.out_channels for c in first.cnn.convolutions] == [768, 384, 192]
    assert all(c.kernel_size == (3,) and c.stride == (1,) for c in first.cnn.convolutions)
    assert [(c.input_size, c.hidden_size) for c in first.lstm.layers] == [(192, 512), (512, 512)]
    assert [c.out_features for c in first.ffnn.hidden] == [256, 64, 8]
    assert [c.out_features for c in second.ffnn.hidden] == [256, 128, 64]
    assert tuple(second.attention.w_q.weight.shape) == (512, 1024)  # W_Q, transposed by nn.Linear
    assert second.attention.w_q.bias is None
    assert second.attention.scale == math.sqrt(512)
    assert Attention(512, 2, "width").scale == 512


def test_cnn_halves_the_frames():
    frames, lengths = CNN(WIDTH, (6, 4), pool=2)(*pad(clips()))
    assert frames.shape == (len(LENGTHS), 19, 4)
    assert lengths.tolist() == [max(1, length // 2) for length in LENGTHS]


def test_max_pool_is_torchs():
    frames = torch.randn(3, 21, 5).relu()
    expected = nn.functional.max_pool1d(frames.transpose(1, 2), 4, ceil_mode=True)
    assert torch.equal(max_pool(frames, 4), expected.transpose(1, 2))


@pytest.mark.parametrize("wide", [0, WIDE_KERNEL])
def test_convolution_and_its_gradients_are_torchs(monkeypatch, wide):
    monkeypatch.setattr(kernels, "WIDE_KERNEL", wide)
    torch.manual_seed(0)
    ours, plain = Convolution(WIDTH, 6, 3, padding=1), nn.Conv1d(WIDTH, 6, 3, padding=1)
    plain.load_state_dict(ours.state_dict())
    for n, length in ((3, 21), (1, 1), (4, 2)):
        frames = torch.randn(n, length, WIDTH, requires_grad=True)
        weight = torch.randn(n, length, 6)
        out, expected = ours(frames), plain(frames.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(out, expected)
        gradients = [
            torch.autograd.grad((y * weight).sum(), [frames, *module.parameters()])
            for y, module in ((out, ours), (expected, plain))
        ]
        torch.testing.assert_close(*gradients)


@both
def test_bfloat16_features_give_shares_close_to_float32s(architecture):
    torch.manual_seed(0)
    network = architecture(WIDTH, SIZES)
    features, lengths = pad(clips())
    exact, rounded = (
        network.regress(features, lengths),
        network.regress(features.bfloat16(), lengths),
    )
    assert rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.02
    rounded.sum().backward()
    assert {p.grad.dtype for p in network.parameters()} == {torch.float32}


def test_lstm_equals_torchs_packed_two_layer_lstm():
    torch.manual_seed(0)
    ours, packed = LSTM(8, 12, layers=2), nn.LSTM(8, 12, num_layers=2, batch_first=True)
    for layer, module in enumerate(ours.layers):
        for name, parameter in module.named_parameters():
            getattr(packed, name.replace("l0", f"l{layer}")).data.copy_(parameter)
    frames, lengths = torch.randn(4, 15, 8), torch.tensor([15, 3, 1, 9])
    states, final = ours(frames, lengths)
    sequence = nn.utils.rnn.pack_padded_sequence(frames, lengths, True, enforce_sorted=False)
    expected, (h_n, _) = packed(sequence)
    expected, _ = nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)
    for clip, length in enumerate(lengths):
        torch.testing.assert_close(states[clip, :length], expected[clip, :length])
    torch.testing.assert_close(final, torch.cat([h_n[0], h_n[1]], dim=1))


def test_masked_mean_is_eq_1():
    states, lengths = torch.randn(3, 7, 5), torch.tensor([7, 1, 4])
    expected = torch.stack([s[:length].mean(dim=0) for s, length in zip(states, lengths)])
    torch.testing.assert_close(masked_mean(states, lengths), expected)


@pytest.mark.parametrize("scale, divisor", [("sqrt", math.sqrt(6)), ("width", 6.0)])
def test_attention_is_eq_2(scale, divisor):
    attention = Attention(6, 2, scale)
    states, final, lengths = torch.randn(3, 7, 6), torch.randn(3, 12), torch.tensor([7, 1, 4])
    attended, weights = attention(states, final, lengths)
    w_q = attention.w_q.weight.T  # (2 W_l, W_l)
    for clip, length in enumerate(lengths):
        k = v = states[clip, :length]
        softmax = torch.softmax(final[clip] @ w_q @ k.T / divisor, dim=0)
        torch.testing.assert_close(attended[clip], softmax @ v)
        torch.testing.assert_close(weights[clip, :length], softmax)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))


def test_standardise_leaves_the_padding_at_zero():
    standardise = Standardise(WIDTH)
    standardise.fit(torch.full((WIDTH,), 3.0), torch.full((WIDTH,), 2.0))
    features, lengths = pad(clips((2, 5)))
    out = standardise(features, lengths)
    torch.testing.assert_close(out[1], (features[1] - 3) / 2)
    assert (out[0, 2:] == 0).all()


@pytest.mark.parametrize("output", ["sigmoid", "relu"])
def test_output_can_start_at_the_mean_share(output):
    ffnn = FFNN(4, (3,), output)
    ffnn.start_at(0.2)
    with torch.no_grad():
        ffnn.share.weight.zero_()
    torch.testing.assert_close(ffnn(torch.randn(5, 4)), torch.full((5,), 0.2))


@pytest.mark.parametrize("wrong", [{"scale": "cube"}, {"output": "tanh"}, {"pool": 0}, {"lstm": 0}])
def test_unknown_choices_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} = .*expected"):
        Sizes(**wrong)


@pytest.mark.parametrize("wrong", [{"lstmm": 8}, {"max_frame": 40}])
def test_an_unknown_entry_of_sizes_is_named(wrong):
    assert Sizes.of({"lstm": 8, "ffnn_1": [4]}) == Sizes(lstm=8, ffnn_1=[4])
    with pytest.raises(ValueError, match=f"sizes has no entry '{next(iter(wrong))}': "):
        Sizes.of(wrong)


@pytest.mark.parametrize(
    ("architecture", "expected"), [(1, "16ed1347"), (2, "9c98856e")]
)  # of the package before the base class: trained systems depend on them
def test_initial_weights_and_their_names_are_as_ever(architecture, expected):
    torch.manual_seed(0)
    state = build(architecture, WIDTH, SIZES).state_dict()
    found = checksum(*(part for name, x in state.items() for part in (name.encode(), x.numpy())))
    assert found == expected


class Largest(Regressor):
    """The largest of a clip's own states."""

    def ffnn_sizes(self, sizes):
        return sizes.ffnn_1

    def pool(self, states, final, lengths):
        real = torch.arange(states.shape[1]) < lengths[:, None]
        return states.masked_fill(~real[..., None], -torch.inf).amax(dim=1)


def test_an_architecture_can_be_registered_and_brings_its_look(monkeypatch):
    for registry in (REGRESSORS, ARCHITECTURES):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))
    with pytest.raises(UnknownName, match="architecture = 7: expected one of 1, 2"):
        build(7, WIDTH, SIZES)
    register(7, Largest, Look("Largest state", "A7", "#009E73"))
    assert isinstance(build(7, WIDTH, SIZES), Largest)
    assert ARCHITECTURES[7].colour == "#009E73"
    network = lively(Largest)
    alone = torch.cat([network(*pad([clip])) for clip in clips()])
    torch.testing.assert_close(network(*pad(clips(), 398)), alone, atol=1e-5, rtol=0)


def test_a_regressor_without_pooling_is_refused():
    with pytest.raises(TypeError, match="abstract"):
        Regressor(WIDTH, SIZES)


@dataclass(frozen=True)
class Deep(Sizes):
    heads: int = 1

    def regressor(self, architecture):
        return Largest


def test_sizes_of_a_subclass_are_read_once_it_is_registered(monkeypatch):
    monkeypatch.setattr(KNOWN_SIZES, "entries", {"Sizes": Sizes})
    stored = asdict(Deep(heads=2))
    with pytest.raises(ValueError, match="heads: no class .*Import the module .*released_code"):
        read_sizes(stored)
    register_sizes(Deep)
    assert read_sizes(stored) == Deep(heads=2)
    assert type(read_sizes(asdict(SIZES))) is Sizes
    assert isinstance(build(1, WIDTH, read_sizes(stored)), Largest)


# Architecture 3


def test_the_transformer_layer_is_torchs():
    torch.manual_seed(0)
    layer = Layer(8).eval()
    torchs = nn.TransformerEncoderLayer(8, 4, 16, 0.0, F.gelu, batch_first=True, norm_first=True)
    named = {
        "self_attn.in_proj_weight": layer.queries_keys_values.weight,
        "self_attn.in_proj_bias": layer.queries_keys_values.bias,
        "self_attn.out_proj.weight": layer.out.weight,
        "self_attn.out_proj.bias": layer.out.bias,
    }
    for number, (norm, linear) in enumerate(zip(layer.norms, layer.feed_forward[::2]), 1):
        for name, module in ((f"norm{number}", norm), (f"linear{number}", linear)):
            named |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    torchs.load_state_dict(named)
    states, real = torch.randn(3, 7, 8), mask(torch.tensor([7, 3, 5]), 7)
    expected = torchs.train()(states, src_key_padding_mask=~real)
    torch.testing.assert_close(layer(states, real)[real], expected[real], atol=1e-5, rtol=1e-5)


def test_positions_are_the_papers_sines():
    found = positions(50, 12)
    for frame, place in ((0, 0), (7, 4), (31, 11)):
        angle = frame / 10_000 ** (place // 2 * 2 / 12)
        expected = math.cos(angle) if place % 2 else math.sin(angle)
        assert found[frame, place] == pytest.approx(expected, abs=1e-4)
    assert positions(5, 7).shape == (5, 7)


def test_the_order_of_frames_matters_to_it_and_its_size_is_that_of_architecture_2():
    network = lively(Architecture3, Sizes(cnn=(8,), pool=1, lstm=12, ffnn_1=(8,)))
    features, lengths = pad([clips()[-1]])
    turned = features.flip(1)
    states, _ = network.lstm(features[..., :8], lengths)
    backwards, _ = network.lstm(turned[..., :8], lengths)
    assert (states.mean(1) - backwards.mean(1)).abs().max() > 1e-3
    sizes = Sizes(cnn=(64,), lstm=64, ffnn_1=(32,), ffnn_2=(32,))
    two, three = (
        architecture(40, sizes).n_parameters for architecture in (Architecture2, Architecture3)
    )
    assert 0.9 < three / two < 1.1
