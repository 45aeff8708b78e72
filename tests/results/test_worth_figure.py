"""The pictures of what a rho is worth: the curve of listeners, and other panels in Fig. 3."""

import numpy as np
import pandas as pd
import pytest
from figure_data import SIMULATED, boxes, compared, summary, texts
from matplotlib.text import Text

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.figures import bars, save, worth


def test_the_curve_the_system_s_lines_and_its_worth_in_words():
    figure = worth(compared(), 2)
    (axes,) = figure.axes
    curve = axes.lines[0]
    np.testing.assert_allclose(curve.get_xydata(), [[1, 0.36], [2, 0.44], [3, 0.48], [4, 0.51]])
    ours = [line for line in axes.lines if line.get_color() == ARCHITECTURES[2].colour]
    across, foot, head, down = (np.array(line.get_data()).tolist() for line in ours)
    assert across == [[0, 3.2], [0.49, 0.49]] and foot == [[2.4, 4.5], [0, 0]]
    assert head == [[4.5], [0]] and ours[2].get_marker() == ">"
    assert down[0] == [3.2, 3.2] and down[1] == [axes.get_ylim()[0], 0.49]
    said = texts(figure)
    for words in (
        "worth: 3.2 listeners [2.4, more than 4]",
        "bar on the x axis: interval of the worth",
        "arrow: no end",
        "n = 1,166 clips of 15 speakers",
        "95 % interval over speakers",
        "mean ρ against 4 listeners",
        "audio-visual panel",
    ):
        assert words in said


def test_names_beside_the_curve_do_not_overlap_and_stay_inside(tmp_path):
    table = compared()
    figure = save(worth(table, 2), tmp_path, "worth", table, SIMULATED)
    drawn = boxes(figure)
    names = [drawn[name] for name in ("face panel", "audio-visual panel", "HuBERT-mini L2 (A2)")]
    assert not any(a.overlaps(b) for i, a in enumerate(names) for b in names[:i])
    outer, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert outer.x0 >= 0 and outer.y0 >= 0 and outer.x1 <= width and outer.y1 <= height
    assert SIMULATED in texts(figure)
    assert pd.read_csv(tmp_path / "worth.csv")["worth_high"].iloc[-1] == np.inf


def test_a_worth_beyond_the_curve_or_without_speakers_is_drawn_as_far_as_it_goes():
    figure = worth(compared(0.6, (np.inf, 3.6, np.inf)), 1)
    ours = [line for line in figure.axes[0].lines if line.get_color() == ARCHITECTURES[1].colour]
    drawn = [list(line.get_xdata()) for line in ours]
    assert drawn == [[0, 4.5], [3.6, 4.5], [4.5]]  # nothing down
    bounded = texts(worth(compared(at=(3.2, 2.4, 3.9)), 2))
    assert "arrow" not in bounded and "bar on the x axis" in bounded
    assert "more than 4 listeners [3.6, more than 4]" in texts(figure)
    figure = worth(compared(speakers=0), 1)
    said = texts(figure)
    assert "worth: 3.2 listeners\n" in said + "\n"
    assert "interval" not in said and "speakers" not in said
    with pytest.raises(ValueError, match="no single votes"):
        worth(compared().head(0), 1)


def test_bars_name_other_panels_above_each_other_and_in_order(tmp_path):
    panels = {"audio-visual panel": 0.541, "face panel": 0.4, "intended emotion": 0.464}
    figure = bars(summary(), expected=0.7, expected_kind="estimated", panels=panels)
    save(figure, tmp_path, "fig3", summary(), "listeners")
    names = ["face panel 0.40", "intended emotion 0.46", "audio-visual panel 0.54"]
    names.append("ρ of the expected share 0.70 (estimated)")
    boxes(figure)  # draws it; the box of a name without its line is the text's alone
    annotations = figure.axes[0].texts
    drawn = {text.get_text(): Text.get_window_extent(text) for text in annotations}
    above = [drawn[name] for name in names]
    assert all(low.y1 <= high.y0 + 1 and low.x1 < high.x1 for low, high in zip(above, above[1:]))
    axes = figure.axes[0]
    for name, rho in zip(names, [0.4, 0.464, 0.541, 0.7]):  # the name ends at its line
        x = axes.transData.transform((rho, 0))[0]
        assert drawn[name].x1 == pytest.approx(x, abs=2)
        assert any(line.get_xdata()[0] == rho for line in axes.lines)
    assert "dotted: other panels' shares" in texts(figure)
    assert "dotted" not in texts(bars(summary(), expected=0.7))
