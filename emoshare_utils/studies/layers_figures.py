"""Rho by layer, and the weights that networks give to layers (notebook 15)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import label, split_layer
from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS

TICKS = 13  # at most, of layers
SEED = {"ls": "none", "marker": "o", "ms": 2, "mfc": "white", "mec": "black", "mew": 0.5}


def by_layer(table: pd.DataFrame, encoder: str) -> Figure:
    """Mean rho of every layer of `encoder`, and at the right of whatever else there is.

    Args:
        table: as `layers.levels` returns it.
        encoder: without a layer.
    """
    means = table.drop_duplicates("encoder").set_index("encoder")
    layers = [name for name in means.index if _layer(name, encoder) is not None]
    others = [name for name in means.index if name not in layers]
    places = {name: place for place, name in enumerate([*layers, *others])}
    places |= {name: places[name] + 0.5 for name in others}
    look = {"color": style.family_colour(encoder), "marker": "o", "ms": 4, "lw": 0.8, "zorder": 3}
    with style.drawing(style.PAGE_IN * 0.7, 2.4) as figure:
        axes = figure.subplots()
        for name, row in means.iterrows():
            bounds = [row["ci_speakers_low"], row["ci_speakers_high"]]
            axes.plot([places[name]] * 2, bounds, **OVER_SPEAKERS)
        axes.plot(range(len(layers)), means.loc[layers, "mean_rho"], **look)
        for name in others:
            own = {"marker": "D", "color": style.family_colour(name)}
            axes.plot(places[name], means.loc[name, "mean_rho"], **look | own)
        axes.plot(table["encoder"].map(places), table["rho"], zorder=4, **SEED)
        step = -(-len(layers) // TICKS)
        ticks = {places[name]: str(_layer(name, encoder)) for name in layers[::step]}
        ticks |= {places[name]: style.wrapped(_short(name, encoder), 12) for name in others}
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set(xlabel="layer (0: what enters the transformer)", ylabel="mean ρ")
        axes.set_title(f"{label(encoder)}, devel, n = {_counted(means.iloc[0])}", loc="left")
        figure.supxlabel("grey: 95 % interval over speakers of the mean over seeds")
        keys = {"mean over seeds": Line2D([], [], **look | {"ls": "none"})}
        style.legend(figure, keys | {"each seed": Line2D([], [], **SEED)})
    return figure


def weights(table: pd.DataFrame, encoder: str) -> Figure:
    """The weight of each layer, mean over networks, from the lowest to the highest.

    Args:
        table: as `layers.learned_weights` returns it.
        encoder: without a layer.
    """
    found = table.groupby("layer")["weight"].agg(["mean", "min", "max"])
    look = {"color": style.family_colour(encoder)}
    with style.drawing(style.COLUMN_IN, 2.2) as figure:
        axes = figure.subplots()
        axes.axhline(1 / len(found), color=style.GREY, lw=0.6, ls="--")
        axes.vlines(found.index, found["min"], found["max"], lw=0.8, **look)
        axes.plot(found.index, found["mean"], "o", ms=4, **look)
        axes.set_xticks(found.index[:: -(-len(found) // TICKS)])
        axes.set(xlabel="layer (0: what enters the transformer)", ylabel="learned weight")
        axes.set_ylim(bottom=0)
        axes.set_title(label(encoder), loc="left")
        figure.supxlabel(
            f"means over {table['seed'].nunique()} seeds and {table['emotion'].nunique()} "
            "emotions,\nlowest to highest; dashed: equal weights"
        )
    return figure


def _layer(name: str, encoder: str) -> int | None:
    """The layer if `name` is one of `encoder` alone, else None."""
    model, layer = split_layer(name)
    return layer if model == encoder and isinstance(layer, int) else None


def _short(name: str, encoder: str) -> str:
    """What tells a system on `encoder` from others: "L2 + MFCC" for "HuBERT-mini L2 + MFCC"."""
    whole, of_encoder = label(name), label(encoder)
    own = whole.startswith((f"{of_encoder} ", f"{of_encoder}, "))
    return whole[len(of_encoder) :].lstrip(" ,") if own else whole


def _counted(row: pd.Series) -> str:
    of = f" of {row['n_speakers']:,.0f} speakers" if row["n_speakers"] else ""
    return f"{row['n']:,.0f} clips{of}"
