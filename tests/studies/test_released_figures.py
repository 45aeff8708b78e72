"""The pictures of what the released code does otherwise."""

import pandas as pd
import pytest

from emoshare_utils.names import ARCHITECTURES, Look
from emoshare_utils.studies.released_figures import dead_starts, variant_differences

LABELS = {"paper": "the text", "noise": "noise", "dead": "a dead one"}


@pytest.fixture
def third():
    """A third architecture, number 9."""
    ARCHITECTURES.register(9, Look("Toy", "T9", "#E69F00"))
    yield 9
    del ARCHITECTURES.entries[9]


def table(architectures) -> pd.DataFrame:
    """Three variants of each architecture; only the first one has "noise"."""
    rows = [
        {"architecture": architecture, "variant": variant, "n": 60, "networks": 4}
        | {"constant": 2 * (variant == "dead"), "mean_rho": 0.4 + difference}
        | {"difference": difference, "ci_low": difference - 0.1, "ci_high": difference + 0.1}
        for architecture in architectures
        for variant, difference in (("paper", 0.0), ("noise", -0.05), ("dead", -0.4))
        if variant != "noise" or architecture == architectures[0]
    ]
    return pd.DataFrame(rows)


def test_rows_stand_about_their_name_whatever_architectures_there_are(third):
    for architectures in ((2,), (1, 2), (1, 2, third)):
        figure = variant_differences(table(architectures), LABELS)
        axes = figure.axes[0]
        alone, *dead = [line for line in axes.lines if line.get_marker() in "o<"]
        assert alone.get_ydata()[0] == 0 and alone.get_xdata()[0] == -0.05
        heights = [line.get_ydata()[0] for line in dead]
        assert heights == sorted(heights) and sum(heights) / len(heights) == pytest.approx(1)
        assert min(heights) > 0.5 and max(heights) < 1.5
        assert {line.get_marker() for line in dead} == {"<"}
        colours = [ARCHITECTURES[architecture].colour for architecture in architectures]
        assert [line.get_color() for line in dead] == colours
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == [ARCHITECTURES[architecture].name for architecture in architectures]


def test_dead_starts_of_three_architectures_stand_side_by_side(third):
    zeros = pd.DataFrame({1: [1.0, 0.0], 2: [0.5, 1.0], third: [0.0, 0.0]})
    axes = dead_starts(zeros).axes[0]
    first, second, toy = axes.lines
    assert list(first.get_ydata()) == [0, 100] and list(second.get_ydata()) == [50, 100]
    assert toy.get_color() == ARCHITECTURES[third].colour
    assert list(second.get_xdata()) == [1, 2]
    assert first.get_xdata()[0] < 1 < toy.get_xdata()[0]
