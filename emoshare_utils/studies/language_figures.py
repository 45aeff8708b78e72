"""Pictures of what an encoder is worth in languages that it heard, and in others."""

from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS, each_by_itself
from emoshare_utils.studies.languages import Heard

MARKS = "osD^vP*X<>"  # of encoders, the control's first
_EXPECTED = {
    style.EXPECTED_NAME: Line2D([], [], **style.EXPECTED),
    "95 % interval over speakers and seeds": Line2D([], [], **OVER_SPEAKERS),
}


def name(encoder: str, heard: Heard) -> str:
    """An encoder with the languages it heard in brackets."""
    said = style.readable(encoder)
    return f"{said} ({', '.join(heard[encoder])})" if encoder in heard else said


def fractions_by_language(table: pd.DataFrame, heard: Heard, control: str) -> Figure:
    """Rho in each language, and the fraction of that of the expected share: a mark per encoder.

    Encoders have their families' colours, the control its own. Where no fraction is known its
    panel is left out.

    Args:
        table: as `languages.language_table` returns it.
    """
    languages, encoders = (list(table[x].unique()) for x in ("language", "encoder"))
    encoders = [control, *(x for x in encoders if x != control)]
    beside = style.side_by_side(len(encoders), 0.7 / len(encoders))
    with style.drawing(style.PAGE_IN, 1.25 + 0.13 * len(languages) * len(encoders)) as figure:
        known = table["of_ceiling"].notna().any()
        left, *others = figure.subplots(1, 1 + known, sharey=True, squeeze=False)[0]
        for encoder, offset, mark in zip(encoders, beside, cycle(MARKS)):
            of = table[table["encoder"] == encoder].set_index("language").loc[languages]
            for y, row in enumerate(of.itertuples()):
                heard_it = row.heard or encoder == control
                look = _look(encoder, mark) | ({} if heard_it else {"mfc": "white"})
                left.plot(row.rho, y + offset, **look)
                for right in others:
                    right.plot([row.low, row.high], [y + offset] * 2, **OVER_SPEAKERS)
                    right.plot(row.of_ceiling, y + offset, **look)
        of_languages = table.drop_duplicates("language")
        for y, ceiling in enumerate(of_languages["ceiling"]):
            left.plot([ceiling] * 2, [y - 0.4, y + 0.4], **style.EXPECTED)
        speakers = of_languages["n_speakers"]
        style.name_rows(left, [f"{x} ({n})" for x, n in zip(languages, speakers)])
        left.set_xlabel("mean ρ")
        for right in others:
            right.tick_params(axis="y", length=0)
            right.spines["left"].set_visible(False)
            right.set_xlabel(style.FRACTION_NAME)
        keys = {
            name(x, heard): Line2D([], [], ls="", **_look(x, mark))
            for x, mark in zip(encoders, cycle(MARKS))
        }
        style.legend(figure, keys | (_EXPECTED if known else {}), columns=3)
        figure.supxlabel(_caption(table, control))
    return figure


def _look(encoder: str, mark: str) -> dict[str, object]:
    colour = style.family_colour(encoder)
    return {"marker": mark, "ms": 4, "mew": 0.9, "mec": colour, "mfc": colour}


def _caption(table: pd.DataFrame, control: str) -> str:
    notes = table["note"].unique()
    known = table["of_ceiling"].notna().any()
    missing = "interval" if known else f"interval and no {style.EXPECTED_NAME}"
    marks = "in brackets: speakers; filled: the encoder heard the language, hollow: not"
    lines = [
        f"{marks}; {style.readable(control)}: the control",
        each_by_itself(int(table["low"].notna().sum())),
        f"no {missing}: {' | '.join(filter(None, notes))}" if any(notes) else "",
    ]
    return style.caption(lines, style.PAGE_IN)


def worth(table: pd.DataFrame, heard: Heard, control: str) -> Figure:
    """What hearing a language is worth: a row per encoder.

    Args:
        table: as `languages.worth_of_hearing` returns it.
    """
    together = len(table) > 1
    with style.drawing(style.PAGE_IN, 0.95 + 0.22 * len(table)) as figure:
        axes = figure.subplots()
        for y, row in enumerate(table.itertuples()):
            low, high = (row.low_all, row.high_all) if together else (row.low, row.high)
            axes.plot([low, high], [y, y], **OVER_SPEAKERS)
            face = "black" if low > 0 or high < 0 else "white"
            axes.plot(row.difference, y, "o", ms=4, mew=0.7, mec="black", mfc=face, zorder=3)
            words = [style.signed(row.difference)]
            words += [] if row.note else [f"[{style.signed(low)}, {style.signed(high)}]"]
            style.at_right(axes, y, " ".join(words))
        axes.axvline(0, color="black", lw=0.6, zorder=1)
        style.name_rows(axes, [name(x, heard) for x in table["encoder"]])
        joint = f" of all {len(table)} together (Bonferroni)" if together else ""
        none = " | ".join(filter(None, table["note"].unique()))
        lines = [
            f"gain over {style.readable(control)}, a {style.FRACTION_NAME}: languages heard less "
            "others",
            f"lines: 95 % intervals over speakers and seeds{joint}; filled: leaves out 0"
            if not none
            else f"no interval: {none}",
        ]
        figure.supxlabel(style.caption(lines, style.PAGE_IN))
    return figure
