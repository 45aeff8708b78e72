"""The pictures of what the released code does otherwise."""

import pandas as pd
import pytest

from emoshare_utils.names import ARCHITECTURES, Look
from emoshare_utils.studies.released_figures import dead_starts


@pytest.fixture
def third():
    """A third architecture, number 9."""
    ARCHITECTURES.register(9, Look("Toy", "T9", "#661100"))
    yield 9
    del ARCHITECTURES.entries[9]


def test_dead_starts_of_three_architectures_stand_side_by_side(third):
    zeros = pd.DataFrame({1: [1.0, 0.0], 2: [0.5, 1.0], third: [0.0, 0.0]})
    axes = dead_starts(zeros).axes[0]
    first, second, toy = axes.lines
    assert list(first.get_ydata()) == [0, 100] and list(second.get_ydata()) == [50, 100]
    assert toy.get_color() == ARCHITECTURES[third].colour
    assert list(second.get_xdata()) == [1, 2]
    assert first.get_xdata()[0] < 1 < toy.get_xdata()[0]
