"""The look of every figure, and how it is saved."""

import textwrap
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN_IN = 3.3
PAGE_IN = 7.0
SPLIT_COLOURS = {"train": "#009E73", "devel": "#CC79A7", "test": "#56B4E9"}
GREY = "#777777"  # of the challenge's baseline, Architecture 0, too


def style(width_in: float = COLUMN_IN, height_in: float = 2.2) -> dict[str, object]:
    """The rcParams of a figure of this size (inches): 7 pt text, embedded fonts, 200 dpi."""
    return {
        "figure.figsize": (width_in, height_in),
        "figure.dpi": 200,
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "savefig.dpi": 200,
        "savefig.facecolor": "white",
        "savefig.bbox": None,
        "pdf.fonttype": 42,
        "font.family": "DejaVu Sans",
        "font.size": 7,
        "axes.titlesize": 7,
        "axes.labelsize": 7,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "legend.fontsize": 6.5,
        "legend.frameon": False,
        "figure.titlesize": 8,
        "hatch.linewidth": 0.4,
    }


def save(figure: Figure, folder: Path, name: str, data: pd.DataFrame) -> None:
    """Write `<name>.pdf`, `<name>.png` (200 dpi) and `<name>.csv`, the data that was plotted.

    The same figure and data give the same bytes: neither dates nor versions are written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    with mpl.rc_context(style()):
        figure.savefig(folder / f"{name}.pdf", metadata=nothing)
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    data.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def is_simulated(listeners: str) -> bool:
    """Whether the picture has to say who rated."""
    return listeners.startswith("simulated")


def _of(listeners: str) -> str:
    return f" · {listeners}" if is_simulated(listeners) else ""


def _grid(n_panels: int) -> tuple[int, int]:
    """Rows and columns: nine make 3 x 3, six 2 x 3."""
    columns = {1: 1, 2: 2, 4: 2}.get(n_panels, 3 if n_panels <= 9 else 4)
    return -(-n_panels // columns), columns


def _panels(rows: int, columns: int, n_panels: int, **shared: bool) -> tuple[Figure, list[Axes]]:
    figure = Figure()
    panels = figure.subplots(rows, columns, squeeze=False, **shared)
    for axes in panels.flat[n_panels:]:
        axes.set_axis_off()
    for above in panels.flat[n_panels - columns : n_panels]:
        above.tick_params(labelbottom=True)
    return figure, list(panels.flat[:n_panels])


def _wrapped(name: str, width: int = 26) -> str:
    """A long encoder id on several lines, broken after slashes and hyphens."""
    return textwrap.fill(name.replace("/", "/ "), width).replace("/ ", "/")


def _ceiling(rho: float, kind: str) -> str:
    return f"{kind} ceiling {_number(rho)}".strip()


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
