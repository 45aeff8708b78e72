"""How the tests of tables read what a reader would see."""

import re
from collections.abc import Callable

import pytest

from emoshare_utils.results.rendering import style


@pytest.fixture
def shown() -> Callable[..., str]:
    """A table's HTML as lines "| cell | **bold cell** |", caption and notes after them."""

    def show(table, caption: str = "c", **options) -> str:
        html = style(table, caption, **options).to_html()
        bold = set(re.findall(r"#(T_\w+_row\d+_col\d+)", html))
        lines = []
        for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL):
            cells = re.findall(r'<t[hd](?: id="(\w+)")?[^>]*>(.*?)</t[hd]>', row)
            cells = [f"**{text}**" if name in bold else text for name, text in cells]
            lines.append("| " + " | ".join(cells) + " |")
        (below,) = re.findall(r"<caption>(.*?)</caption>", html, re.DOTALL)
        return "\n".join([*lines, below])

    return show


@pytest.fixture
def row_of() -> Callable[..., str]:
    """The one line that has all these texts."""

    def find(text: str, *has: str) -> str:
        found = [line for line in text.splitlines() if all(part in line for part in has)]
        assert len(found) == 1, found
        return found[0]

    return find
