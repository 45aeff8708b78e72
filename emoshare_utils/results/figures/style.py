"""The look of every figure, what several of them share, and how one is saved."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.files import atomic, write_csv
from emoshare_utils.names import ARCHITECTURES, BESIDE, label, members
from emoshare_utils.names import GREY as GREY

COLUMN_IN = 3.3
PAGE_IN = 7.0
LINE_IN = 0.13  # of one line of text
LETTERS_PER_INCH, LETTERS_OF_COLUMN = 17, 58  # of a caption; of one across a column
# One colour has one meaning in all figures. Architectures (`names`), families of encoders and
# shares have Okabe and Ito's colours, splits Paul Tol's "muted": no two of one set look alike to
# any kind of colour vision. Acoustic features are black. Grey is what stands behind: the SVR,
# chance, 0. An emotion has no colour but a panel or a row: a corpus may have any number of them.
SPLIT_COLOURS = {"train": "#332288", "devel": "#999933", "test": "#882255"}
FAMILY_COLOURS = {"hubert": "#009E73", "wav2vec2": "#CC79A7", "untrained": "#E69F00"}
SHARES = "#56B4E9"
LOSS_COLOURS = {  # the MSE is black, and others are grey
    "ccc": "#AA4499",
    "balanced_mse": "#117733",
    "soft_rank recalibrated": "#A67C00",
}
# Who knew each clip's expected share would reach this rho: drawn and called the same everywhere.
EXPECTED = {"color": "black", "linewidth": 0.8, "linestyle": (0, (4, 2))}
EXPECTED_NAME = "ρ of the expected share"
FRACTION_NAME = "fraction of the ρ of the expected share"
NO_INTERVAL = {"color": "0.55", "marker": "x", "markersize": 3.5, "mew": 0.9, "ls": "none"}


def style(width_in: float = COLUMN_IN, height_in: float = 2.2) -> dict[str, object]:
    """The rcParams of a figure of this size (inches): 7 pt text, embedded fonts, 200 dpi."""
    return {
        "figure.figsize": (width_in, height_in),
        "figure.constrained_layout.use": True,
        **dict.fromkeys(["figure.dpi", "savefig.dpi"], 200),
        **dict.fromkeys(["figure.facecolor", "savefig.facecolor"], "white"),
        "savefig.bbox": None,
        "pdf.fonttype": 42,
        "font.family": "DejaVu Sans",
        "text.parse_math": False,  # a name is text: two "$" in it are no formula
        **dict.fromkeys(["font.size", "figure.titlesize", "figure.labelsize"], 7),
        **dict.fromkeys(["axes.titlesize", "axes.labelsize"], 7),
        **dict.fromkeys(["xtick.labelsize", "ytick.labelsize", "legend.fontsize"], 6.5),
        **dict.fromkeys(["axes.linewidth", "xtick.major.width", "ytick.major.width"], 0.6),
        **dict.fromkeys(["xtick.major.size", "ytick.major.size"], 2.5),
        **dict.fromkeys(["axes.spines.top", "axes.spines.right", "legend.frameon"], False),
        "legend.handletextpad": 0.4,
        "legend.columnspacing": 1.2,
        "hatch.linewidth": 0.4,
    }


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator[Figure]:
    """An empty figure in this style, which holds until the end of the `with`."""
    with mpl.rc_context(style(width_in, height_in)):
        figure = Figure()
        yield figure
        for axes in figure.axes:  # else a notebook, outside this style, would choose other ticks
            axes.tick_params(labelsize=6.5)


def save(figure: Figure, folder: Path, name: str, data: pd.DataFrame, listeners: str) -> Figure:
    """Write `<name>.pdf`, `<name>.png` (200 dpi) and `<name>.csv`, the data that was plotted.

    Whose shares they are is the last line of a picture, for which it grows, unless they are just
    "listeners": "simulated listeners", or how much of a corpus it is. The same figure and data
    give the same bytes: neither dates nor versions are written.

    Args:
        figure: what one of the drawing functions returned.
        folder, name: where to write.
        data: the numbers in the figure.
        listeners: who rated, as the corpus says: `Corpus.listeners`; "" where nobody did.

    Returns:
        The figure as it was written, for a notebook to show.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    caption = [line for line in figure.get_supxlabel().split("\n") if line]
    with mpl.rc_context(style()):
        if listeners != "listeners" and listeners not in figure.get_supxlabel():
            fits = max(60, int(LETTERS_PER_INCH * figure.get_figwidth()))
            who = wrapped(listeners, fits).split("\n")
            figure.set_figheight(figure.get_figheight() + LINE_IN * len(who))
            figure.supxlabel("\n".join([*caption, *who]))
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # saved again, it gives the same bytes
        for ending, metadata in {"pdf": nothing, "png": {"Software": None}}.items():
            with atomic(folder / f"{name}.{ending}") as file:
                figure.savefig(file, format=ending, metadata=metadata)
    write_csv(folder / f"{name}.csv", data)
    return figure


def grid(n_panels: int) -> tuple[int, int]:
    """Rows and columns: nine make 3 x 3, six 2 x 3."""
    columns = {1: 1, 2: 2, 4: 2}.get(n_panels, 3 if n_panels <= 9 else 4)
    return -(-n_panels // columns), columns


def panels(figure: Figure, names: Sequence[str]) -> list[Axes]:
    """A grid of panels with these names and one scale."""
    rows, columns = grid(len(names))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for panel, name in zip(axes.flat, names):
        panel.set_title(wrapped(name), loc="left", fontweight="bold", pad=3)
    for lowest in axes.flat[len(names) - columns : len(names)]:
        lowest.tick_params(labelbottom=True)
    for empty in axes.flat[len(names) :]:
        empty.set_axis_off()
    return list(axes.flat[: len(names)])


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows y = 0, 1, ..., from the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def at_right(axes: Axes, y: float, words: str, colour: str = "black") -> None:
    """Words beside a row, to the right of the panel."""
    look = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 6.5}
    axes.text(1.01, y, words, color=colour, **look)


def side_by_side(n: int, step: float) -> np.ndarray:
    """Where n marks stand about their place, `step` apart, (n,)."""
    return step * (np.arange(n) - (n - 1) / 2)


def architecture_keys(architectures: Iterable[int], **look: object) -> dict[str, Line2D]:
    """A legend's keys for these architectures, in their colours."""
    looks = [ARCHITECTURES[architecture] for architecture in sorted(set(architectures))]
    return {name: Line2D([], [], color=colour, **look) for name, _, colour in looks}


def legend(
    figure: Figure, keys: Mapping[str, Line2D], columns: int | None = None, handlelength: float = 2
) -> None:
    """Put a legend above the panels, in as few rows as fit (at most `columns` names in each).

    Args:
        handlelength: of a line in it, in letters: more where dashes tell lines apart.
    """
    look = {"loc": "outside upper center", "handlelength": handlelength}
    fewest = -(-len(keys) // (columns or len(keys)))
    for rows in range(fewest, len(keys) + 1):
        ncols = -(-len(keys) // rows)
        names = [name for column in range(ncols) for name in list(keys)[column::ncols]]
        handles = [keys[name] for name in names]
        above = figure.legend(handles, names, ncols=ncols, **look)
        if ncols == 1 or above.get_window_extent().width <= figure.bbox.width:
            return
        above.remove()


def family_colour(name: str) -> str:
    """The colour of an encoder's or an objective's family; black where it has none."""
    colours = (colour for family, colour in FAMILY_COLOURS.items() if family in name.lower())
    return next(colours, "black")


def readable(encoder: str) -> str:
    """A feature set's label; of an encoder that a run made, "hubert-mini-0 of languages_a"."""
    made = [re.fullmatch(r"(?:.*/)?runs/([^/]+)/encoders/(.+)", one) for one in members(encoder)]
    names = [
        f"{label(run[2])} of {run[1]}" if run else label(one)
        for run, one in zip(made, members(encoder))
    ]
    return BESIDE.join(names)


def wrapped(name: str, width: int = 26) -> str:
    """A long name on several lines: broken before a minus, then before a plus, then elsewhere.

    That is after commas, slashes and spaces. "L2 (A2)" and "wav2vec2.0 (Large)" stay together
    where they fit on a line; a hyphen ends one only where a word is too long for it.
    """
    if len(name) <= width:
        return name
    for gap in (" (?=− )", r" (?=\+ )", "(?<=,) "):
        parts = re.split(gap, name, maxsplit=1)
        if len(parts) > 1:
            return "\n".join(wrapped(part, width) for part in parts)
    parted = name.replace("/", "/\v")  # else nothing would end a line there
    together = re.sub(r" (?=\(\w{,8}\))", "\N{NO-BREAK SPACE}", parted)
    parted = together if _longest_word(together) <= width else parted
    look = {"replace_whitespace": False, "break_on_hyphens": _longest_word(parted) > width}
    lines = textwrap.fill(parted, width, **look)
    return lines.replace("\v", "").replace("\N{NO-BREAK SPACE}", " ")


def caption(lines: Iterable[str], width_in: float) -> str:
    """The lines that are not empty, each on as many lines as a figure of this width needs."""
    width = max(LETTERS_OF_COLUMN, round(LETTERS_PER_INCH * width_in))
    return "\n".join(filled(line, width) for line in lines if line)


def filled(text: str, width: int) -> str:
    """A text on lines of this many letters; a range ("−.02 to .03") stays on one."""
    together = re.sub(r"(?<=\d) to (?=[−-]?[.\d])", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}", text)
    return textwrap.fill(together, width).replace("\N{NO-BREAK SPACE}", " ")


def _longest_word(text: str) -> int:
    return max(map(len, re.split(r"[ \v]", text)))


def number(value: float) -> str:
    """Three decimals, with a true minus."""
    return f"{value:.3f}".replace("-", "−")


def signed(value: float) -> str:
    """Three decimals and always a sign."""
    return f"{value:+.3f}".replace("-", "−")
