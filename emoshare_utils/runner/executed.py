"""The executed notebooks of a run, as reports and pages show them: prose, code, outputs."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from bs4 import BeautifulSoup

from emoshare_utils.files import checksum
from emoshare_utils.names import system
from emoshare_utils.paths import Run, home, resolve
from emoshare_utils.runner.notebooks import Notebook
from emoshare_utils.runner.screen import plain

KINDS = ("image/png", "text/html", "text/markdown", "text/plain")  # the first there is counts
# the lines of `progress.track`, and others that differ from run to run and machine to machine
RUNNING = re.compile(r" in \d+ s \(.* s left\)$")
TIMES = re.compile(
    r" in \d+ s \(.*\)$|% of the time |: nothing left to do$|: resumes after "
    r"|^precision = auto takes "
)
# code, which stays, or a formula: `code`, $$block$$ or $inline$
FORMULA = re.compile(r"(```.*?```|`[^`]+`)|\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\d)", re.S)
HEADLINES = {
    "table1": "Table 1",
    "table2": "Table 2",
    "fig2": "Fig. 2: predicted against true shares",
    "fig3": "Fig. 3: Architecture 1 against Architecture 2",
}


@dataclass(frozen=True)
class Output:
    """What a cell put out, of one of KINDS or "stream" or "error"; a PNG in base64."""

    kind: str
    content: str


@dataclass(frozen=True)
class Cell:
    """A cell of an executed notebook; `kind` is "markdown" or "code"."""

    kind: str
    source: str
    outputs: tuple[Output, ...] = ()


def read_executed(notebook: Notebook, this: Run) -> list[Cell]:
    """Read a notebook's prose and code as they are, with what they put out in the run.

    The notebook is up to date, so its code is that of the executed copy; its prose may be newer.
    What the run gave it as parameters follows the parameters cell. Folders outside the project
    and home folders are shortened.
    """
    copy = nbformat.read(this.notebooks / f"{notebook.name}.ipynb", as_version=4)
    ran = [cell for cell in copy.cells if cell.cell_type == "code"]
    given = [cell for cell in ran if "injected-parameters" in cell.metadata.get("tags", [])]
    outputs = iter([cell.outputs for cell in ran if cell not in given])
    public = _public(copy.metadata.get("papermill", {}).get("parameters", {}))
    cells = []
    for cell in nbformat.read(notebook.path, as_version=4).cells:
        if cell.cell_type != "code":
            cells.append(Cell("markdown", cell.source))
            continue
        shown = tuple(_output(each, public) for each in next(outputs))
        cells.append(Cell("code", cell.source, shown))
        if "parameters" in cell.metadata.get("tags", []):
            cells += [Cell("code", public(each.source)) for each in given]
    return cells


def seconds(name: str, this: Run) -> float | None:
    """What the notebook took in the run; None where its executed copy does not say."""
    copy = nbformat.read(this.notebooks / f"{name}.ipynb", as_version=4)
    return copy.metadata.get("papermill", {}).get("duration")


def title(cells: Iterable[Cell]) -> str:
    """The first heading."""
    return next((c.source.splitlines()[0].strip("# ") for c in cells if c.kind == "markdown"), "")


def source_checksum(path: Path) -> str:
    """What tells a notebook's prose and code from an earlier state of them; no output counts."""
    return cells_checksum(nbformat.read(path, as_version=4).cells)


def cells_checksum(cells: Iterable[Any]) -> str:
    """As `source_checksum`, of the cells of a notebook that is read."""
    return checksum(json.dumps([[cell.cell_type, cell.source] for cell in cells]).encode())


def with_formulas(prose: str, inline: Callable[[str], str], block: Callable[[str], str]) -> str:
    """Markdown with each formula, as TeX without its dollars, replaced; code stays."""

    def replaced(found: re.Match) -> str:
        code, display, within = found.groups()
        return code or (block(display.strip()) if display else inline(within))

    return FORMULA.sub(replaced, prose)


def lines_without(text: str, times: re.Pattern) -> str:
    """The text without the lines in which `times` is found."""
    return "\n".join(line for line in text.splitlines() if not times.search(line)).strip()


def table_of(html: str) -> tuple[list[list[str]], list[list[str]], str]:
    """Read the first table: the rows of its head, those of its body, and its caption, as HTML.

    Bold, which pandas' Styler keeps in a style sheet, is a <b> in the cell; an empty heading over
    other columns' names, and a cell that spans several rows, are filled in. Rows have one length.
    """
    soup = BeautifulSoup(html, "html.parser")
    sheets = "".join(sheet.get_text() for sheet in soup.find_all("style"))
    bold = {
        name
        for names, rule in re.findall(r"([^{}]*)\{([^{}]*)\}", sheets)
        if "font-weight: bold" in rule
        for name in re.findall(r"#([\w-]+)", names)
    }
    caption = soup.caption.decode_contents().strip() if soup.caption else ""

    def rows(part: Any) -> list[list[str]]:
        found: list[list[str]] = []
        below: dict[int, int] = {}  # of a column that a cell above spans: how many rows more
        for row in part.find_all("tr") if part else ():
            cells: list[str] = []
            for cell in row.find_all(["th", "td"]):
                while below.get(len(cells)):
                    below[len(cells)] -= 1
                    cells.append("")
                text = " ".join(cell.decode_contents().split())
                below[len(cells)] = int(cell.get("rowspan", 1)) - 1
                cells.append(f"<b>{text}</b>" if cell.get("id") in bold else text)
                cells += [""] * (int(cell.get("colspan", 1)) - 1)
            found.append(cells)
        return found

    return rows(soup.thead), rows(soup.tbody), caption


def headline(folder: Path) -> str:
    """One sentence on the best system, which is that of Fig. 2; "" where there is none.

    Where Fig. 2 is of a system that is not ranked, as its predictions hardly vary, it says that.

    Args:
        folder: with `fig2.csv` and `fig3.csv`.
    """
    if not all((folder / f"{name}.csv").is_file() for name in ("fig2", "fig3")):
        return ""
    keys = ["encoder", "architecture", "seed", "split"]
    best = pd.read_csv(folder / "fig2.csv", nrows=1)[keys]
    rows = pd.read_csv(folder / "fig3.csv").merge(best, on=keys)
    if rows.empty:
        return ""
    row = rows.iloc[0]
    if "not ranked" in str(row.get("note")):
        return f"There is no best system on {row['split']}: {row['note']}."
    said = f"The best system on {row['split']} is {system(row['encoder'], row['architecture'])}: "
    said += f"mean ρ {row['mean_rho']:.3f}"
    for of, low, high in (
        ("speakers", "ci_speakers_low", "ci_speakers_high"),
        ("clips", "ci_low", "ci_high"),
    ):
        if row[[low, high]].notna().all():
            said += f" (95 % interval over {of} {row[low]:.3f} to {row[high]:.3f})"
            break
    said += f", n = {row['n']:,} clips."
    note = row.get("note")
    return said if pd.isna(note) else f"{said} {note}."


def _output(output: Mapping[str, Any], public: Callable[[str], str]) -> Output:
    if output["output_type"] == "stream":
        return Output("stream", public(plain(output["text"])))
    if output["output_type"] == "error":
        return Output("error", public(plain("\n".join(output["traceback"]))))
    data = output["data"]
    kind = next((kind for kind in KINDS if kind in data), "text/plain")
    content = data.get(kind, f"({', '.join(data)})")
    return Output(kind, content if kind == "image/png" else public(content))


def _public(parameters: Mapping[str, Any]) -> Callable[[str], str]:
    """A function that shortens the folders of this machine in a text."""
    names = {f"{home()}/": "", str(home()): ".", f"{Path.home()}/": "~/", f"{sys.prefix}/": ""}
    for place in re.findall(r'"((?:/|~|\.\.?/)[^"]*)"', json.dumps(parameters)):
        kept = place if place[0] == "." else f"…/{Path(place).name}"
        names |= {str(resolve(place)): kept, place: kept}
    longest = sorted(names, key=len, reverse=True)
    # not within base64, where a slash may be of sound
    pattern = re.compile(r"(?<![\w+/])(?:" + "|".join(map(re.escape, longest)) + ")")
    return lambda text: pattern.sub(lambda found: names[found[0]], text)
