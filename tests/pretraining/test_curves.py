"""The pictures of pretraining."""

import pandas as pd
import pytest
from matplotlib.text import Text

from emoshare_utils.pretraining.curves import pretraining_curves


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


def test_a_second_iteration_follows_the_first(history):
    figure = pretraining_curves(history)
    loss, *_ = figure.axes
    drawn = [line for line in loss.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in drawn] == [
        [50, 100, 150],
        [200, 250, 300],
        [50, 100, 150],
    ]
    assert drawn[0].get_color() == drawn[1].get_color() != drawn[2].get_color()
    (border,) = (line for line in loss.lines if len(line.get_xdata()) == 2)
    assert set(border.get_xdata()) == {150}
    assert "HuBERT" in texts(figure) and "wav2vec2.0" in texts(figure)
    assert "accuracy on masked frames" in texts(figure)
