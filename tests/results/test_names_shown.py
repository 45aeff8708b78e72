"""An emotion's or encoder's name is text: it stands as it is in figures, HTML, LaTeX and CSV."""

import html
import re

import numpy as np
import pandas as pd
import pytest
from figure_data import SIMULATED, boxes, clips, differences, summary, system, texts
from matplotlib.backends.backend_agg import FigureCanvasAgg

from emoshare_utils.corpora.validation import check_emotions
from emoshare_utils.names import LABELS, label
from emoshare_utils.results.figures import (
    bars,
    forest,
    learning_curves,
    save,
    scatter,
    share_distributions,
)
from emoshare_utils.results.figures.style import wrapped
from emoshare_utils.results.rendering import write
from emoshare_utils.results.scores import score
from emoshare_utils.results.tables import table1, table2
from emoshare_utils.studies.claims import claims

NAMES = [
    *("$x_{$", "$x$", "$a$ $b$ \\frac{", "<script>", "=1+1", "@sum", "a_b & c%", "人", "x" * 60),
    *("\\textbf{x}", "}}", "~^#", "[2em]", "*", '"', "a|b", "and/or this / that", "a  b", "<br>"),
    *("mean_x", "baseline_x", "50 percent", "mean_ mae", "nan", "1", "é 😀", "Joy; Fear: 2"),
]
DRAWN = NAMES[:9]  # a panel each
ENCODERS = ["$e_{$", "a_b & <i>%", "[2em] \\x{", "=e"]


def predictions(names, encoders=ENCODERS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    shares = {name: rng.random(20) for name in names}
    return pd.concat(
        pd.DataFrame({"clip_id": np.arange(20), "share": share})
        .assign(prediction=share + rng.normal(0, 0.3, 20), emotion=name, encoder=encoder)
        .assign(architecture=architecture, seed=0, split="devel")
        for name, share in shares.items()
        for encoder in encoders
        for architecture in (1, 2)
    )


@pytest.fixture(scope="module")
def measured():
    table = predictions(NAMES)
    constant = table["emotion"].eq("$x$")
    table = table.assign(share=table["share"].mask(constant, 0.0))  # its name is in the notes
    return table, score(table, NAMES, 10)[0]


def drawn(figure) -> str:
    """All text of a figure, once it is drawn."""
    FigureCanvasAgg(figure).draw()
    return texts(figure)


def test_all_of_them_may_name_an_emotion(tmp_path):
    check_emotions(NAMES, tmp_path)


@pytest.mark.filterwarnings("ignore:Glyph")
def test_figures_show_names_as_they_are(tmp_path):
    points, results = system(DRAWN, encoder=ENCODERS[0])
    history = pd.DataFrame({"epoch": [1, 2], "train_mse": 0.1, "devel_rho": [0.1, 0.2]})
    history = history.assign(encoder=ENCODERS[1], architecture=1, emotion="$x_{$", seed=0)
    compared = differences().assign(contrast=[f"{ENCODERS[1]}: A2 − A1", "$a$ − $b$"])
    compared["note"] = "constant share: $x_{$, $y$"
    rows = summary(ENCODERS).assign(note="constant share: $x_{$")
    figures = {
        "scatter": (scatter(points, results, DRAWN), points, [*DRAWN, ENCODERS[0]]),
        "shares": (share_distributions(clips(DRAWN), DRAWN), clips(DRAWN), DRAWN),
        "curves": (learning_curves(history), history, [ENCODERS[1]]),
        "forest": (forest(compared), compared, ["$a$ − $b$", "constant share: $x_{$, $y$"]),
        "bars": (bars(rows), rows, ["constant share: $x_{$", *ENCODERS]),
    }
    for name, (figure, data, shown) in figures.items():
        save(figure, tmp_path, name, data, SIMULATED)
        said = drawn(figure).replace("\n", " ") + drawn(figure).replace("\n", "")
        for text in shown:
            assert text in said, (name, text)
        written = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)
        assert not any(str(cell)[:1] in ("=", "+", "@") for cell in written.columns), name
        assert not written.astype(str).isin(["=1+1", "@sum", "=e"]).any(axis=None), name


def test_a_dollar_is_drawn_as_one():
    found = boxes(share_distributions(clips(["$x$", "x"]), ["$x$", "x"]))
    assert found["$x$"].width > 2.5 * found["x"].width  # as a formula it would be as wide


def test_wrapping_changes_nothing_but_lines():
    for name in [*NAMES, "org/" * 12, "a / b / c / d / e / f / g / h / i"]:
        assert re.sub(r"\s", "", wrapped(name, 10)) == re.sub(r"\s", "", name)


def balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    return depth == 0


def test_tables_show_names_as_they_are(measured, tmp_path):
    table, results = measured
    said = claims(table, NAMES, resamples=5)
    tables = {
        "table1": table1(results, NAMES),
        "table2": table2(results, NAMES),
        "claims": said[["claim", "contrast", "difference", "ci_low", "holds", "note"]],
    }
    for name, frame in tables.items():
        write(frame, tmp_path, name, "c <b> $x$ 5 %", notes=["constant share: " + NAMES[0]])
        page = (tmp_path / f"{name}.html").read_text("utf-8")
        tags = set(re.findall(r"</?([a-zA-Z]+)", page.partition("<body>")[2]))
        assert tags <= {
            "table",
            "caption",
            "br",
            "thead",
            "tr",
            "th",
            "tbody",
            "td",
            "sup",
            "body",
        } | {"html"}, name
        shown = html.unescape(re.sub(r"<[^>]+>", "\n", page))
        assert "constant share: $x$" in shown and "c <b> $x$ 5 %" in shown
        tex = (tmp_path / f"{name}.tex").read_text("utf-8")
        assert balanced(tex) and not re.search(r"(\\\\|rule)\n[*\[]", tex)
        plain = re.sub(r"\\[$%&#_{}\\]", "", tex.partition("\n")[2].replace("$\\rho$", ""))
        assert "#" not in plain and "<" not in plain and "%" not in plain
        assert plain.replace("$-$", "").count("$") == 0
    cells = html.unescape((tmp_path / "table1.html").read_text("utf-8"))
    for text in [*NAMES, *map(label, ENCODERS)]:
        assert f">{text}<" in cells, text
    columns = pd.read_csv(tmp_path / "table1.csv").columns
    assert "'=1+1" in columns and "=1+1" not in columns and "人" in columns
    assert tables["table1"][NAMES].columns.tolist() == NAMES
    assert set(LABELS).isdisjoint(ENCODERS)


def test_a_name_like_our_columns_is_shown_and_counted_as_an_emotion(measured):
    _, results = measured
    row = table1(results, NAMES).iloc[0]
    kept = [name for name in NAMES if name != "$x$"]
    assert row["mean"] == pytest.approx(row[kept].astype(float).mean())
    assert row["n_emotions"] == len(NAMES) - 1
