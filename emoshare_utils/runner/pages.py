"""Executed notebooks as Markdown pages, which visitors of the repository read with the outputs."""

import base64
import io
import re
from collections.abc import Collection, Mapping
from html import unescape
from pathlib import Path

from PIL import Image

from emoshare_utils.files import atomic, size
from emoshare_utils.paths import PAPER, Run, home, shown
from emoshare_utils.runner.executed import (
    HEADLINES,
    TIMES,
    Cell,
    Output,
    headline,
    lines_without,
    seconds,
    source_checksum,
    table_of,
    with_formulas,
)
from emoshare_utils.runner.screen import say

LARGEST_PICTURE = 60_000  # bytes
COLOURS = 256  # of a picture that is kept beside its page
MADE = "<!-- made by `{command}` from notebooks/{name}.ipynb, cells {cells} -->"
MADE_BY = re.compile(MADE.format(command="(.+)", name=r"(\w+)", cells=r"(\w+)"))
ABOUT = """# The notebooks with their outputs

The notebooks themselves carry no outputs. These pages show each as a finished run left it; \
`make publish PROFILE=…` renews those of a run.
"""


def write_pages(command: str, this: Run, cells: Mapping[str, list[Cell]]) -> None:
    """Make `docs/notebooks/<run>/` the pages of these notebooks, and renew the index of all runs.

    A picture that is published is linked; any other lies beside its page, in at most 60 kB.

    Args:
        command: what makes them, as each page says.
        this: the run, whose figures are published.
        cells: of each notebook, by its name.
    """
    files: dict[str, bytes] = {}
    for name, each in cells.items():
        made = MADE.format(command=command, name=name, cells=source_checksum(_notebook(name)))
        body, pictures = _page(name, each, this)
        text = "\n\n".join([made, _links(name, list(cells), this), *body])
        files |= {f"{name}.md": f"{text}\n".encode(), **pictures}
    this.pages.mkdir(parents=True, exist_ok=True)
    for path in this.pages.iterdir():
        if path.is_file() and path.name not in files:
            path.unlink()
            say(f"removed {shown(path)}")
    for name, content in files.items():
        with atomic(this.pages / name) as file:
            file.write(content)
    with atomic(this.pages.parent / "README.md") as file:
        file.write(index().encode())
    total = size(sum(map(len, files.values())))
    say(f"{len(cells)} pages with their pictures, {total}, in {shown(this.pages)}/")


def index() -> str:
    """The index of all pages: of each run the best system, the notebooks, tables and figures."""
    runs = [path for path in sorted(Run("any").pages.parent.glob("*")) if path.is_dir()]
    return "\n".join([ABOUT, *(line for run in runs for line in _about(Run(run.name)))])


def stale() -> list[str]:
    """What is older than the notebooks and the published figures, each with the remedy."""
    folder, found = Run("any").pages.parent, []
    for page in sorted(folder.glob("*/*.md")):
        made = MADE_BY.match(page.read_text("utf-8"))
        if made is None:
            found.append(f"{shown(page)} does not say what made it: remove it")
            continue
        command, name, cells = made.groups()
        if not _notebook(name).is_file():
            found.append(f"{shown(page)}: notebooks/{name}.ipynb is gone: renew it by `{command}`")
        elif source_checksum(_notebook(name)) != cells:
            found.append(f"{shown(page)} is older than its notebook: renew it by `{command}`")
    readme = folder / "README.md"
    if folder.is_dir() and (not readme.is_file() or readme.read_text("utf-8") != index()):
        found.append(f"{shown(readme)} is older than the published figures: `make publish` them")
    return found


def _notebook(name: str) -> Path:
    return home() / "notebooks" / f"{name}.ipynb"


def _links(name: str, names: list[str], this: Run) -> str:
    place = names.index(name)
    links = [f"[All notebooks](../README.md), [{name}.ipynb](../../../notebooks/{name}.ipynb)"]
    for word, other in (("before", names[:place][-1:]), ("next", names[place + 1 :][:1])):
        links += [f"{word}: [{each[:2]}]({each}.md)" for each in other]
    took = seconds(name, this)
    time_s = "" if took is None else f", {took:.0f} s"
    return f"*Run `{this.name}`{time_s}. " + ", ".join(links) + "*"


def _about(this: Run) -> list[str]:
    """The lines of the index on a run."""
    lines = [f"## {this.name}", ""]
    if said := headline(this.published):
        lines += [said, ""]
    for page in sorted(this.pages.glob("*.md")):
        heading = re.search(r"^# (\d+\. .+)$", page.read_text("utf-8"), re.M)
        lines.append(f"- [{heading[1] if heading else page.stem}]({this.name}/{page.name})")
    for name, called in HEADLINES.items():
        table = this.published / f"{name}.html"
        if table.is_file():
            lines += ["", f"### {called}", "", _table(table.read_text("utf-8"))]
        elif (this.published / f"{name}.png").is_file():
            picture = f"![{called}](../../figures/published/{this.name}/{name}.png)"
            lines += ["", f"### {called}", "", picture]
    return [*lines, ""]


def _page(name: str, cells: list[Cell], this: Run) -> tuple[list[str], dict[str, bytes]]:
    """The paragraphs of a page, and the pictures beside it by file name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    literal = set(re.findall(r'"(\w+)"', "\n".join(cell.source for cell in cells)))
    for cell in cells:
        if cell.kind == "markdown":
            # GitHub takes \, and the like for its own escapes between plain dollars
            block = "\n\n```math\n{}\n```\n\n".format
            prose = with_formulas(cell.source, "$`{}`$".format, block)
            parts.append(re.sub(r"\n{3,}", "\n\n", prose))
            continue
        parts.append(f"```python\n{cell.source.strip()}\n```")
        drawn = [output for output in cell.outputs if output.kind == "image/png"]
        links = _published(cell.source, this, literal)
        for output in cell.outputs:
            if output.kind != "image/png":
                parts.append(_text(output))
            elif len(links) == len(drawn):
                parts.append(links[drawn.index(output)])
            else:
                beside = f"{name}_{len(pictures) + 1}.png"
                pictures[beside] = small_png(base64.b64decode(output.content))
                parts.append(f"![a figure]({beside})")
    return [part for part in parts if part], pictures


def _published(source: str, this: Run, literal: Collection[str] = ()) -> list[str]:
    """Links to the published pictures that a cell names, in order; a name may have a {part} for
    each of several pictures, which are drawn in the order of the alphabet and are none of those
    that a cell names in full, `literal`."""
    folder, links = "../../../figures/published", {}
    for name in re.findall(r'"((?:{\w+})*\w(?:\w|{\w+})*)"', source):
        for run in (PAPER, this):
            for path in sorted(run.published.glob(re.sub(r"{\w+}", "*", name) + ".png")):
                if path.stem == name or path.stem not in literal:
                    links[path.stem] = f"![{path.stem}]({folder}/{run.name}/{path.name})"
    return list(links.values())


def _text(output: Output) -> str:
    content = output.content
    if output.kind == "text/html":
        if "<audio" in content:
            return "*(a clip to listen to, in the notebook)*"
        if "<table" in content:
            return _table(content)
    if output.kind == "stream":
        content = lines_without(content, TIMES)
    fenced = f"```text\n{content.rstrip()}\n```" if content.strip() else ""
    return content if output.kind in ("text/html", "text/markdown") else fenced


def _table(html: str) -> str:
    """A table of HTML as one of Markdown, its caption below."""
    head, body, caption = table_of(html)
    if not head:
        head, body = body[:1], body[1:]
    *above, last = head
    if above and not last[-1]:  # pandas' row of the index's names, under the columns' own name
        names = [name or " ".join(filter(None, more)) for name, *more in zip(last, *above)]
    else:
        names = [" ".join(filter(None, column)) for column in zip(*head)]
    rows = [[_cell(text) for text in row] for row in (names, *body)]
    numbers = [
        all(re.fullmatch(r"[-+−–\d.,e ]*", unescape(row[i]).strip("*")) for row in rows[1:])
        for i in range(len(names))
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("---:" if right else ":---" for right in numbers) + "|")
    return "\n".join(lines) + (f"\n\n{caption}" if caption else "")


def _cell(html: str) -> str:
    return html.replace("<b>", "**").replace("</b>", "**").replace("|", "\\|")


def small_png(png: bytes) -> bytes:
    """The picture in few colours, and smaller until it takes at most 60 kB."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    while True:
        file = io.BytesIO()
        picture.quantize(COLOURS).save(file, "PNG", optimize=True)
        if file.tell() <= LARGEST_PICTURE:
            return file.getvalue()
        picture = picture.resize([round(0.85 * side) for side in picture.size])
