"""The pictures of the paper's tables."""

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from emoshare_utils.studies import paper_table as paper
from emoshare_utils.studies.paper_table_figures import draw_differences, draw_means


def test_the_pictures_draw_the_numbers_and_say_whose_they_are():
    means = paper.means()
    first = draw_means(means)
    axes = first.axes[0]
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert sorted(dots) == sorted(means["mean"])
    assert [text.get_text() for text in axes.texts] == [f"{dot:.4f}" for dot in dots]
    best = pd.Series(dots[:2] + dots[2:4] + dots[5:]).groupby([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]).max()
    assert (
        best.is_monotonic_decreasing and dots[4] == means.set_index("encoder")["mean"]["baseline"]
    )
    widths = paper.differences(0.52, 0.517, [0.5, 0.9], n=500, draws=20)
    assert list(widths["one_emotion"]) == pytest.approx(list(3 * widths["nine_emotions"]))
    by_more = {name: widths[name] / 4.5 for name in ("one_emotion", "nine_emotions")}
    second = draw_differences(widths.assign(**by_more), paper.gaps())  # as of the paper's clips
    FigureCanvasAgg(second).draw()
    lines = [line for line in second.axes[0].lines if len(line.get_xdata()) == 2][2:]
    levels = [line.get_ydata()[0] for line in lines]
    assert sorted(levels) == sorted(paper.gaps().query("gap > 0")["gap"])
    names = [text.get_text() for text in second.axes[0].texts]
    assert len(names) == 3 and "wav2vec2.0 (Base)\n0.0083\nHuBERT (Base)\n0.0080" in names
    boxes = [text.get_window_extent() for text in second.axes[0].texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    caption = second.get_supxlabel().replace("\n", " ")
    below = "Architecture 2 − Architecture 1 of wav2vec2.0 (Large) (−0.0028), MFCC (−0.0449)"
    assert f"below 0, not drawn: {below}" in caption
    assert "grey: between the two" in caption and "dotted: the baseline" in first.get_supxlabel()
    for picture in (first, second):
        assert "the paper's listeners" in picture.get_supxlabel()
