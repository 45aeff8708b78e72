"""Rho by layer, and the weights that networks give to layers (notebook 15)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import label, split_layer
from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS, each_by_itself

TICKS = 13  # at most, of layers
ASIDE = 0.12  # how far a seed stands from the mean
SEED = {"ls": "none", "marker": "o", "ms": 2, "mfc": "white", "mec": "black", "mew": 0.5}


def by_layer(table: pd.DataFrame, encoder: str, of: str = "") -> Figure:
    """Mean rho of every layer of `encoder`, and at the right of whatever else there is.

    Args:
        table: as `layers.levels` returns it.
        encoder: without a layer.
        of: the architecture and what else the systems share, for the caption.
    """
    means = table.drop_duplicates("encoder").set_index("encoder")
    layers = [name for name in means.index if _layer(name, encoder) is not None]
    others = [name for name in means.index if name not in layers]
    apart = max(1, (len(layers) + len(others)) / 7)  # room for names below the others
    places = {name: place for place, name in enumerate(layers)}
    places |= {name: len(layers) + 0.5 + apart * place for place, name in enumerate(others)}
    look = {"color": style.family_colour(encoder), "marker": "o", "ms": 4, "lw": 0.8, "zorder": 3}
    intervals = each_by_itself(int(means["ci_speakers_low"].notna().sum()))
    caption = style.caption([of, intervals], style.PAGE_IN)
    with style.drawing(style.PAGE_IN, 2.4 + style.LINE_IN * caption.count("\n")) as figure:
        axes = figure.subplots()
        for name, row in means.iterrows():
            bounds = [row["ci_speakers_low"], row["ci_speakers_high"]]
            axes.plot([places[name]] * 2, bounds, **OVER_SPEAKERS)
        axes.plot(range(len(layers)), means.loc[layers, "mean_rho"], **look)
        for name in others:
            own = {"marker": "D", "color": style.family_colour(name)}
            axes.plot(places[name], means.loc[name, "mean_rho"], **look | own)
        axes.plot(table["encoder"].map(places) + _aside(table["seed"]), table["rho"], **SEED)
        step = -(-len(layers) // TICKS)
        ticks = {places[name]: str(_layer(name, encoder)) for name in layers[::step]}
        ticks |= {places[name]: style.wrapped(_short(name, encoder), 13) for name in others}
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set(xlabel="layer (0: what enters the transformer)", ylabel="mean ρ")
        axes.set_title(f"{label(encoder)}, devel, n = {_counted(means.iloc[0])}", loc="left")
        figure.supxlabel(caption)
        keys = {"mean over seeds": Line2D([], [], **look), "each seed": Line2D([], [], **SEED)}
        if intervals:
            keys["95 % interval of the mean, over speakers"] = Line2D([], [], **OVER_SPEAKERS)
        style.legend(figure, keys)
    return figure


def weights(table: pd.DataFrame, encoder: str) -> Figure:
    """The weight of each layer, mean over networks, from the lowest to the highest.

    The axis is about equal weights, not from 0.

    Args:
        table: as `layers.learned_weights` returns it.
        encoder: without a layer.
    """
    found = table.groupby("layer")["weight"].agg(["mean", "min", "max"])
    look = {"color": style.family_colour(encoder)}
    with style.drawing(style.COLUMN_IN, 2.2) as figure:
        axes = figure.subplots()
        axes.axhline(1 / len(found), color=style.GREY, lw=0.6, ls="--")
        ends = [found["mean"] - found["min"], found["max"] - found["mean"]]
        axes.errorbar(found.index, found["mean"], ends, fmt="o", ms=2.5, lw=1, capsize=3, **look)
        axes.margins(y=0.15)
        axes.set_xticks(found.index[:: -(-len(found) // TICKS)])
        axes.set(xlabel="layer (0: what enters the transformer)", ylabel="learned weight")
        axes.set_title(label(encoder), loc="left")
        figure.supxlabel(
            f"means over {table['seed'].nunique()} seeds and {table['emotion'].nunique()} "
            "emotions,\nbars: lowest to highest; dashed: equal weights"
        )
    return figure


def _aside(seeds: pd.Series) -> pd.Series:
    """Where each seed's dot stands beside the mean: all to the right, in their order."""
    order = {seed: ASIDE * (1 + place / 2) for place, seed in enumerate(sorted(seeds.unique()))}
    return seeds.map(order)


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
