"""The figures: each function draws one, `save` writes it and says who listened."""

from emoshare_utils.results.figures.corpus import durations, share_distributions
from emoshare_utils.results.figures.fig1_padding import padded_batch
from emoshare_utils.results.figures.fig2_scatter import scatter
from emoshare_utils.results.figures.fig3_bars import bars
from emoshare_utils.results.figures.forest import forest
from emoshare_utils.results.figures.learning_curves import learning_curves
from emoshare_utils.results.figures.matrix import matrix
from emoshare_utils.results.figures.style import save
from emoshare_utils.results.figures.worth import worth

__all__ = [
    "bars",
    "durations",
    "forest",
    "learning_curves",
    "matrix",
    "padded_batch",
    "save",
    "scatter",
    "share_distributions",
    "worth",
]
