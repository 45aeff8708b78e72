"""How many networks of the released code start dead."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.figures import style


def dead_starts(zeros: pd.DataFrame) -> Figure:
    """The fraction of outputs that are 0 before training, one dot per seed, sorted.

    Args:
        zeros: one column per architecture, one row per seed, from 0 to 1 (a dead start).
    """
    with style.drawing(style.COLUMN_IN, 1.9) as figure:
        axes = figure.subplots()
        keys = {}
        offsets = style.side_by_side(zeros.shape[1], 0.6 / zeros.shape[1])
        for (architecture, column), offset in zip(zeros.items(), offsets):
            look = {"marker": "o", "ms": 3, "mew": 0, "ls": "none"}
            look["color"] = ARCHITECTURES[architecture].colour
            seeds = np.arange(1, len(column) + 1)
            axes.plot(seeds + offset, 100 * np.sort(column), **look)
            dead = f"{(column == 1).sum()} of {len(column)} dead"
            keys[f"{ARCHITECTURES[architecture].name}: {dead}"] = Line2D([], [], **look)
        axes.set(ylabel="outputs that\nstart at 0 (%)", ylim=(-5, 105))
        axes.set_xlabel("network, one seed each, those of an architecture sorted")
        style.legend(figure, keys)
    return figure
