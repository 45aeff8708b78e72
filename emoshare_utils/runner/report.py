"""`report PROFILE`: a finished run as one HTML file, which needs no network."""

import base64
import io
import platform
from collections.abc import Iterable, Mapping
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

import mistune
from jinja2 import Template
from markupsafe import Markup
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from emoshare_utils.files import atomic, size
from emoshare_utils.paths import Run, shown
from emoshare_utils.runner.executed import (
    HEADLINES,
    RUNNING,
    Cell,
    Output,
    headline,
    lines_without,
    read_executed,
    title,
    with_formulas,
)
from emoshare_utils.runner.finished import finished
from emoshare_utils.runner.screen import say

TEMPLATE = Path(__file__).with_name("report.html")
LIGHT, DARK = "friendly", "github-dark"  # Pygments' styles
MARKDOWN = mistune.create_markdown(escape=False, plugins=["table", "url"])
POINTS = 100  # the size at which a formula is set; the page scales it to its text


def report(profile: str, overrides: Mapping[str, Any] | None = None) -> None:
    """Write `report/<run>.html`: tables and figures first, then each notebook with its outputs.

    Pictures, sound and formulas are in the file. Raises as `finished`.
    """
    with finished(profile, overrides) as (this, notebooks):
        cells = {notebook.name: read_executed(notebook, this) for notebook in notebooks}
        page = _page(profile, this, cells)
        this.report.parent.mkdir(parents=True, exist_ok=True)
        with atomic(this.report) as file:
            file.write(page.encode())
    say(f"{shown(this.report)}  {size(len(page.encode()))}")


def _page(profile: str, this: Run, cells: Mapping[str, list[Cell]]) -> str:
    libraries = [f"{name} {metadata.version(name)}" for name in ("torch", "transformers")]
    template = Template(TEMPLATE.read_text("utf-8"), autoescape=True, keep_trailing_newline=True)
    return template.render(
        name=f"Emotion shares in speech: {this.name}",
        profile=profile,
        versions=", ".join([f"Python {platform.python_version()}", *libraries]),
        headline=headline(this.figures),
        headlines=list(_headlines(this.figures)),
        notebooks=[
            {"id": name, "title": title(each), "html": Markup(_notebook(each))}
            for name, each in cells.items()
        ],
        light=Markup(HtmlFormatter(style=LIGHT).get_style_defs(".code")),
        dark=Markup(HtmlFormatter(style=DARK).get_style_defs(".code")),
    )


def _headlines(figures: Path) -> Iterable[dict[str, Any]]:
    """The tables and figures that come first, where the run has drawn them."""
    for name, called in HEADLINES.items():
        table, picture = figures / f"{name}.html", figures / f"{name}.png"
        if table.is_file():
            html = _table(table.read_text("utf-8"))
        elif picture.is_file():
            html = _picture(base64.b64encode(picture.read_bytes()).decode(), called)
        else:
            continue
        yield {"title": called, "html": Markup(html)}


def _notebook(cells: list[Cell]) -> str:
    """Prose and outputs, with the code between them folded."""
    parts, folded = [], ""
    for cell in [*cells, Cell("markdown", "")]:
        if cell.kind == "code":
            folded += highlight(cell.source, PythonLexer(), HtmlFormatter(cssclass="code"))
        if folded and (cell.outputs or cell.kind != "code"):
            parts.append(f"<details><summary>code</summary>{folded}</details>")
            folded = ""
        parts += [_prose(cell.source)] if cell.kind == "markdown" else map(_output, cell.outputs)
    return "\n".join(parts)


def _prose(text: str) -> str:
    return MARKDOWN(with_formulas(text, _formula, lambda tex: _formula(tex, block=True)))


def _output(output: Output) -> str:
    match output.kind:
        case "image/png":
            return _picture(output.content, "figure")
        case "text/html":
            return _table(output.content)
        case "text/markdown":
            return _prose(output.content)
        case "stream":
            text = lines_without(output.content, RUNNING)
            return f'<pre class="printed">{escape(text)}</pre>' if text else ""
        case kind:
            about = "error" if kind == "error" else "printed"
            return f'<pre class="{about}">{escape(output.content)}</pre>'


def _table(html: str) -> str:
    """HTML of a table or a player, without the page around it, in a box that scrolls."""
    start, end = html.find("<style"), html.find("</body>")
    return f'<div class="table">{html[max(start, 0) : end if end >= 0 else None]}</div>'


def _picture(png: str, called: str) -> str:
    source = "".join(png.split())
    return f'<p><img class="figure" alt="{called}" src="data:image/png;base64,{source}"></p>'


def _formula(tex: str, block: bool = False) -> str:
    """A picture of a formula as large as the text around it, or its TeX if matplotlib sets none."""
    file = io.BytesIO()
    font = FontProperties(size=POINTS, math_fontfamily="cm")
    # Without \textstyle, which matplotlib does not know: its sums are small anyway.
    tex = tex.replace(r"\frac", r"\dfrac") if block else tex
    math = " ".join(tex.replace(r"\textstyle", "").split())
    try:
        depth = math_to_image(f"${math}$", file, font, dpi=72, format="svg", color="black")
    except ValueError:
        return f"<code>{escape(tex)}</code>"
    svg = base64.b64encode(file.getvalue()).decode()
    height = float(file.getvalue().decode().split('height="')[1].split("pt")[0])
    place = f"height: {height / POINTS:.2f}em; vertical-align: {-depth / POINTS:.2f}em"
    image = f'<img class="formula" style="{place}" alt="{escape(tex)}" '
    image += f'src="data:image/svg+xml;base64,{svg}">'
    return f'\n\n<p class="block">{image}</p>\n\n' if block else image
