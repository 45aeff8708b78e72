"""The pictures of pretraining."""

import pandas as pd
import pytest
from matplotlib.text import Text

from emoshare_utils.pretraining.curves import pretraining_curves, too_few_to_draw


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


@pytest.fixture
def history():
    rows = [
        {"objective": objective, "seed": 0, "iteration": iteration, "update": update}
        | {"loss": 4 - update / 100, "accuracy": update / 400, "use": 10.0 * iteration}
        for objective, iterations in (("hubert", (1, 2)), ("wav2vec2", (1,)))
        for iteration in iterations
        for update in (50, 100, 150)
    ]
    return pd.DataFrame(rows)


def test_each_objective_has_panels_of_its_own(history):
    figure = pretraining_curves(history)
    hubert, wav2vec2 = figure.axes[:3], figure.axes[3:]
    assert [axes.get_title("left") for axes in (hubert[0], wav2vec2[0])] == [
        "HuBERT, n = 1 encoder",
        "wav2vec2.0, n = 1 encoder",
    ]
    assert hubert[0].get_ylabel() == "cross-entropy (nats)"
    assert "contrastive" in wav2vec2[0].get_ylabel()
    drawn = [line for line in hubert[0].lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in drawn] == [[50, 100, 150], [200, 250, 300]]
    (border,) = (line for line in hubert[0].lines if len(line.get_xdata()) == 2)
    assert set(border.get_xdata()) == {150}
    (line,) = wav2vec2[1].lines
    assert list(line.get_xdata()) == [50, 100, 150] and list(line.get_ydata()) == [12.5, 25, 37.5]
    assert line.get_color() != drawn[0].get_color() == drawn[1].get_color()
    assert "second iteration" in texts(figure)


def test_two_checkpoints_are_no_curve(history):
    assert too_few_to_draw(history) == ""
    short = history[history["update"] < 150]
    assert "2 checkpoints in an iteration" in too_few_to_draw(short)
    assert "1 checkpoint in" in too_few_to_draw(history[history["update"] < 100])
    with pytest.raises(ValueError, match="nothing to draw"):
        pretraining_curves(short)


def test_one_objective_in_one_iteration_leaves_no_panel_empty(history):
    figure = pretraining_curves(history[history["objective"] == "wav2vec2"])
    assert len(figure.axes) == 3 and all(len(axes.lines) == 1 for axes in figure.axes)
    assert "iteration" not in texts(figure)
