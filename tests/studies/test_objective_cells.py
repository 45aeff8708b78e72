"""The cells of the study of objectives: what they share, and what tells them apart."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from emoshare_utils.features.small_network import MiniConfig
from emoshare_utils.models.weights import read_tensors
from emoshare_utils.pretraining import pretrain as pretraining
from emoshare_utils.pretraining.audio import Audio, n_frames
from emoshare_utils.pretraining.plan import Plan
from emoshare_utils.pretraining.pretrain import Pretrainer
from emoshare_utils.studies import objective_figures
from emoshare_utils.studies.objective_cells import (
    ALL,
    CELLS,
    Recipe,
    cell_label,
    pretrain_cell,
    start,
)

TINY = MiniConfig(conv=(32, 24), width=32, layers=2, heads=2, feed_forward=48)
RECIPE = Recipe({"updates": 4, "seconds": 3.0}, TINY, clusters=6, device="cpu")


@pytest.fixture(scope="module")
def audio() -> Audio:
    rng = np.random.default_rng(0)
    clips = [rng.integers(-9_000, 9_000, 16_000 + 1_600 * i).astype(np.int16) for i in range(8)]
    return Audio(clips, pd.DataFrame())


@pytest.fixture(scope="module")
def seen(audio, tmp_path_factory):
    """What every cell's updates were computed on: cell -> [(samples, labels, mask)]."""
    work, seen = tmp_path_factory.mktemp("cells"), {}
    update, draw = Pretrainer.update, pretraining.draw_mask
    with pytest.MonkeyPatch.context() as patch:

        def watched(self, number, samples, labels):
            seen[cell].append([samples, None if labels is None else labels.shape[-1]])
            return update(self, number, samples, labels)

        def watched_mask(*arguments):
            seen[cell][-1].append(draw(*arguments))
            return seen[cell][-1][-1]

        patch.setattr(Pretrainer, "update", watched)
        patch.setattr(pretraining, "draw_mask", watched_mask)
        histories = {}
        for cell in CELLS:
            seen[cell] = []
            histories[cell] = pretrain_cell(cell, 3, audio, work, RECIPE)
    return work, seen, histories


def test_every_cell_sees_the_same_samples_under_the_same_masks(seen):
    _, seen, _ = seen
    expected = seen["wav2vec2"]
    assert len(expected) == 4 and not np.array_equal(expected[0][0], expected[2][0])
    for cell, updates in seen.items():
        assert len(updates) == 4, cell
        for (samples, _, mask), (others, _, other_mask) in zip(updates, expected):
            np.testing.assert_array_equal(samples, others)
            assert torch.equal(mask, other_mask)


def test_what_each_cell_predicts(seen):
    _, seen, histories = seen
    predicted = {cell: [n for _, n, _ in updates] for cell, updates in seen.items()}
    assert predicted["wav2vec2"] == [None] * 4
    assert predicted["hubert-1x1"] == [1] * 4
    assert predicted["hubert-2x1"] == [1, 1, 2, 2]
    assert predicted[f"hubert-1x{ALL}"] == [ALL] * 4
    assert predicted[f"hubert-2x{ALL}"] == [ALL, ALL, ALL + 1, ALL + 1]
    two = histories["hubert-2x1"]
    assert list(two["iteration"]) == [1, 2] and set(two["cell"]) == {"hubert-2x1"}


def test_every_cell_starts_from_the_same_weights(audio, seen):
    work, *_ = seen
    weights = read_tensors(start(3, work, TINY) / "model.safetensors")
    labels = [np.zeros((n_frames(len(clip)), 1), int) for clip in audio.clips]
    plan = Plan(updates=4)
    for objective, targets in (("wav2vec2", None), ("hubert", labels)):
        given = audio.labelled(targets)
        made = Pretrainer(objective, given, plan, TINY, start(3, work, TINY), "cpu")
        for name, value in made.network.encoder.state_dict().items():
            assert torch.equal(value, weights[name].float()), (objective, name)


def test_a_finished_cell_is_read_and_an_unknown_one_refused(audio, seen, monkeypatch):
    work, _, histories = seen
    monkeypatch.setattr(Pretrainer, "update", None)  # no update is made
    for cell in CELLS:
        pd.testing.assert_frame_equal(pretrain_cell(cell, 3, audio, work, RECIPE), histories[cell])
    with pytest.raises(ValueError, match="cell = 'hubert': expected one of wav2vec2, hubert-1x1"):
        pretrain_cell("hubert", 3, audio, work, RECIPE)


def test_a_picture_has_a_line_for_every_encoder_and_iteration(seen):
    histories = pd.concat(seen[2].values())
    with pytest.raises(ValueError, match="nothing to draw: an encoder has 1 checkpoint"):
        objective_figures.histories(histories)
    longer = [histories.assign(update=histories["update"] - back) for back in (0, 0.2, 0.4)]
    figure = objective_figures.histories(pd.concat(longer))
    first, second = figure.axes
    FigureCanvasAgg(figure).draw()
    for axes in (first, second):  # the legend is above what is drawn, its dashes can be told apart
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1
        assert axes.get_legend().handlelength > 4
    assert len(first.lines) == 1
    assert len(second.lines) == 6  # two cells have two iterations
    assert max(line.get_xdata().max() for line in second.lines) == 4
    assert cell_label("hubert-2x1") == "HuBERT, 2 iterations, 1 clustering"
