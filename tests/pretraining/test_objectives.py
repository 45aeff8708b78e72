"""The two objectives: their networks, what they mask, and their losses against transformers'."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel

from emoshare_utils.features.small_network import MiniConfig
from emoshare_utils.pretraining.front_end import Positions
from emoshare_utils.pretraining.hubert import MASKED_WEIGHT, Hubert
from emoshare_utils.pretraining.masking import draw_mask
from emoshare_utils.pretraining.objective import TEMPERATURE, perplexity
from emoshare_utils.pretraining.wav2vec2 import (
    GUMBEL_TEMPERATURE,
    NEGATIVES,
    Wav2Vec2,
    draw_negatives,
)

TINY = MiniConfig(conv=(32, 24), width=32, layers=2, heads=2, feed_forward=48)
PAPER = MiniConfig(  # the front end of the paper's encoders, with few channels
    conv=(8, 8, 8, 16, 16, 16, 24),
    kernels=(10, 3, 3, 3, 3, 2, 2),
    strides=(5, 2, 2, 2, 2, 2, 2),
    width=32,
    layers=2,
    heads=2,
    feed_forward=48,
)
LENGTH = 48  # frames


@pytest.fixture
def samples():
    return 0.5 * torch.randn(4, 400 + 320 * (LENGTH - 1), generator=torch.manual_seed(3))


@pytest.fixture
def mask():
    torch.manual_seed(4)
    return draw_mask(4, LENGTH, 0.5, 10)


def test_both_objectives_train_the_same_network():
    hubert, wav2vec2 = Hubert(MiniConfig(), [100]).encoder, Wav2Vec2(MiniConfig()).encoder
    shapes = [{k: v.shape for k, v in e.state_dict().items()} for e in (hubert, wav2vec2)]
    assert shapes[0] == shapes[1]
    assert 2e6 < sum(weight.numel() for weight in hubert.parameters()) < 5e6


@pytest.mark.parametrize("size", [TINY, PAPER])
def test_the_front_end_is_transformers(samples, size):
    plain = HubertModel(HubertConfig(**size.settings())).eval()
    quick = Hubert(size, [5]).encoder.eval()
    names = set(plain.state_dict())
    assert names == set(quick.state_dict())
    quick.load_state_dict(plain.state_dict())
    with torch.no_grad():
        expected, found = plain(samples), quick(samples)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state)


def test_how_many_frames_are_masked_and_in_spans():
    torch.manual_seed(0)
    mask = draw_mask(2000, 100, 0.4, 10)
    assert mask.float().mean() == pytest.approx(0.4, abs=0.01)
    assert mask[:, 0].float().mean() == pytest.approx(0.4, abs=0.05)  # ends as any other
    runs = np.diff(np.flatnonzero(np.diff(mask[:, 20:80].flatten().numpy())))
    assert mask.any(1).all() and np.median(runs) >= 10
    rare = draw_mask(500, 40, 1e-6, 10)
    assert rare.any(1).all()  # no clip without masked frames


def test_negatives_are_other_masked_frames_of_the_clip(mask):
    mask[1] = False
    mask[1, [7, 30]] = True
    negatives = draw_negatives(mask, 60)
    clip, true = mask.nonzero(as_tuple=True)
    assert negatives.shape == (len(true), 60)
    assert mask[clip[:, None], negatives].all()
    assert (negatives != true[:, None]).all()
    assert set(negatives[clip == 1].flatten().tolist()) == {7, 30}
    of_first = negatives[clip == 0][0].unique()
    assert len(of_first) > 0.8 * (mask[0].sum() - 1)  # any of them


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_the_contrastive_loss_is_transformers(samples, mask, progress):
    torch.manual_seed(1)
    objective = Wav2Vec2(TINY).train()  # no dropout
    mask[2] = False
    mask[2, 5:8] = True  # few others, often quantised alike
    negatives = draw_negatives(mask)
    clip, true = mask.nonzero(as_tuple=True)
    theirs = torch.zeros(*mask.shape, NEGATIVES, dtype=torch.long)
    theirs[clip, true] = negatives + clip[:, None] * LENGTH
    first, last = GUMBEL_TEMPERATURE
    objective.model.set_gumbel_temperature(last if progress else first)
    torch.manual_seed(2)  # the draw of the quantiser
    out = objective.model(samples, mask_time_indices=mask, sampled_negative_indices=theirs)
    (out.loss / mask.sum()).backward()
    expected = {name: weight.grad.clone() for name, weight in objective.named_parameters()}
    objective.zero_grad()

    torch.manual_seed(2)
    found = objective.contrast(samples, mask, negatives, progress)
    found.loss.backward()
    assert found.loss.item() == pytest.approx(out.loss.item() / mask.sum().item(), rel=1e-5)
    assert found.perplexity.item() == pytest.approx(out.codevector_perplexity.item(), rel=1e-5)
    for name, weight in objective.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-3, atol=1e-5, msg=name)


def test_hubert_is_the_cross_entropy_of_every_clustering(samples, mask):
    torch.manual_seed(0)
    objective = Hubert(TINY, [7, 4]).train()
    labels = torch.stack([torch.randint(0, count, mask.shape) for count in (7, 4)], dim=-1)
    found = objective(samples, mask, labels, 0.5)
    frames = objective.encoder(samples, mask_time_indices=mask).last_hidden_state
    losses, accuracies = [], []
    for own, project, embeddings in zip(labels.unbind(-1), objective.project, objective.codes):
        cosine = torch.cosine_similarity(project(frames)[:, :, None], embeddings, dim=-1)
        picked = -cosine.div(TEMPERATURE).log_softmax(-1).gather(2, own[..., None])
        picked = picked[..., 0]
        alpha = MASKED_WEIGHT
        losses.append(alpha * picked[mask].mean() + (1 - alpha) * picked[~mask].mean())
        accuracies.append((cosine.argmax(-1) == own)[mask].float().mean())
    assert found.loss.item() == pytest.approx(sum(losses).item() / 2, rel=1e-4)
    assert found.accuracy.item() == pytest.approx(sum(accuracies).item() / 2)


def test_all_frames_masked_is_a_loss_too(samples, mask):
    torch.manual_seed(0)
    objective = Hubert(TINY, [7]).train()
    labels = torch.zeros(*mask.shape, 1, dtype=torch.long)
    assert objective(samples, torch.ones_like(mask), labels, 0.5).loss.isfinite()


def test_the_transformer_does_not_see_masked_frames(samples, mask):
    """The transformer gets one and the same vector for every masked frame."""
    torch.manual_seed(0)
    encoder = Hubert(TINY, [7]).encoder.eval()
    inside = torch.zeros_like(mask)
    inside[:, 10:20] = True
    changed = samples.clone()
    changed[:, 320 * 11 : 320 * 18] = 0  # only frames 10 to 19 hear this
    with torch.no_grad():
        a, b = (encoder(x, mask_time_indices=inside).last_hidden_state for x in (samples, changed))
        c = encoder(changed).last_hidden_state
    torch.testing.assert_close(a, b)
    assert (a - c).abs().max() > 0.01


def test_perplexity_counts_what_is_in_use():
    assert perplexity(torch.full((8,), 1 / 8)).item() == pytest.approx(8)
    assert perplexity(torch.tensor([1.0, 0, 0])).item() == pytest.approx(1)


def test_the_front_end_starts_as_filters():
    """A tone moves the filters around its frequency, in any phase; speech-like noise all alike."""
    first = Hubert(MiniConfig(), [5]).encoder.feature_extractor.conv_layers[0].conv
    bands = first.weight.shape[0] // 4
    mel = np.linspace(*(2595 * np.log10(1 + np.array([60, 7600]) / 700)), bands)
    frequency = 700 * (10 ** (mel / 2595) - 1)

    def magnitude(samples):
        windows = torch.tensor(samples, dtype=torch.float32).unfold(0, 400, 320)
        halves = torch.relu(windows @ first.weight[:, 0].detach().T)  # four phases of each band
        return halves.unflatten(1, (4, bands)).sum(1).numpy()

    t = np.arange(16_000) / 16_000
    for hz in (150, 700, 3000):
        found = magnitude(np.sin(2 * np.pi * hz * t))
        relative = found / (1 + (frequency / 400) ** 1.5)
        assert abs(frequency[relative.mean(0).argmax()] - hz) < 25 + 0.05 * hz
        band = found[:, np.abs(frequency - hz).argmin()]
        assert band.std() < 0.2 * band.mean()  # wherever in its swing a frame starts


@pytest.mark.parametrize("positions", [9, 16])
def test_the_positional_convolution_is_transformers(positions):
    config = MiniConfig(conv=(32, 24), width=32, layers=1, heads=2, feed_forward=48, groups=4)
    config = replace(config, positions=positions)
    layer = HubertModel(HubertConfig(**config.settings())).encoder.pos_conv_embed
    frames = torch.randn(3, 37, 32, generator=torch.manual_seed(0), requires_grad=True)
    weights = [frames, *layer.conv.parameters()]
    expected, found = layer(frames), Positions(layer)(frames)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    upstream = torch.randn(found.shape, generator=torch.manual_seed(1))
    pairs = zip(*(torch.autograd.grad(y, weights, upstream) for y in (found, expected)))
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_frames_of_equal_entries_have_equal_vectors_and_others_do_not():
    model = Wav2Vec2(TINY)
    features = torch.randn(2, 300, TINY.conv[-1], generator=torch.manual_seed(0))
    quantised, entries, _ = model.quantise(features, torch.ones(2, 300, dtype=torch.bool), 0.5)
    vectors, entries = quantised.flatten(0, 1), entries.flatten()
    equal = (vectors[:, None] == vectors).all(-1)
    assert torch.equal(entries[:, None] == entries, equal)
    assert len(vectors) < int(equal.sum()) < len(vectors) ** 2  # some are, some are not
