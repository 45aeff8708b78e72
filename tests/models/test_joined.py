"""The CNNs of several networks computed together: those of each network by itself."""

import pytest
import torch

from emoshare_utils.models.joined import WIDE, JoinedCNNs, can_join
from emoshare_utils.models.padding import mask
from emoshare_utils.models.regressor import Sizes, build
from emoshare_utils.studies.released_code import Variant

LENGTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 40)


def networks(width: int, **sizes) -> list:
    torch.manual_seed(0)
    sizes = Sizes(**{"cnn": (6, 4), "pool": 2, "lstm": 5, "ffnn_1": (3,)} | sizes)
    return [build(1, width, sizes) for _ in range(3)]


@pytest.mark.parametrize("width", [5, WIDE, WIDE + 3])
@pytest.mark.parametrize("sizes", [{}, {"cnn": (7,), "pool": 8}, {"cnn": (4, 4, 3), "pool": 3}])
@pytest.mark.parametrize("padded_to", [40, 64])
def test_frames_and_gradients_are_those_of_each_network(width, sizes, padded_to):
    each = networks(width, **sizes)
    lengths = torch.tensor(LENGTHS)
    features = torch.randn(len(LENGTHS), padded_to, width) * mask(lengths, padded_to)[..., None]
    joined = JoinedCNNs(each)
    frames, pooled = joined(features, lengths)
    alone = [network.cnn(features, lengths) for network in each]
    real = mask(pooled, int(pooled.max()))[..., None]
    frames = torch.where(real, frames[:, :, : real.shape[1]], 0.0)
    expected = torch.stack([torch.where(real, x[:, : real.shape[1]], 0.0) for x, _ in alone])
    torch.testing.assert_close(pooled, alone[0][1])
    torch.testing.assert_close(frames, expected, atol=1e-5, rtol=1e-5)

    slopes = torch.randn_like(frames)
    of_kernels = torch.autograd.grad(frames, joined.kernels, slopes)
    parameters = [x for network in each for x in network.cnn.parameters()]
    expected = torch.autograd.grad(expected, parameters, slopes)
    torch.testing.assert_close(joined.gradients(of_kernels), list(expected), atol=1e-4, rtol=1e-4)


def test_a_clips_frames_do_not_depend_on_its_batch():
    joined, features = JoinedCNNs(networks(WIDE)), torch.randn(2, 30, WIDE)
    features[0, 20:] = 0
    together, lengths = joined(features, torch.tensor([20, 30]))
    alone, _ = joined(features[:1, :20], torch.tensor([20]))
    torch.testing.assert_close(together[:, :1, : lengths[0]], alone[:, :, : lengths[0]])


def test_only_small_plain_networks_in_float32_on_a_cpu_are_joined():
    features = torch.zeros(1, 4, 5)
    assert can_join(networks(5), features)
    assert not can_join(networks(5), features.bfloat16())
    assert not can_join(networks(5), features.to("meta"))
    assert not can_join(networks(5, cnn=(2000, 200)), features)
    released = Variant(cnn=(6, 4), lstm=5, ffnn_1=(3,), max_frames=30, convolve_padding=True)
    assert not can_join([build(1, 5, released)], features)
