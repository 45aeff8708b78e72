"""What several tests of results share: two systems, and tables as a reader sees them."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
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


@pytest.fixture
def two_systems() -> Callable[..., tuple[pd.DataFrame, pd.Series]]:
    """Architecture 1 and 2 on the same 200 clips of 20 speakers; the second has less noise."""

    def make(better_by: float, seeds: int = 2) -> tuple[pd.DataFrame, pd.Series]:
        rng, n = np.random.default_rng(1), 200
        share, hard = {e: rng.random(n) for e in ("Anger", "Calmness")}, rng.normal(0, 0.3, n)
        tables = []
        for architecture, noise in ((1, 0.1 + better_by), (2, 0.1)):
            for seed in range(seeds):
                for emotion in share:
                    predicted = share[emotion] + hard + rng.normal(0, noise, n)
                    about = {"encoder": "fbank", "architecture": architecture, "seed": seed}
                    columns = {"clip_id": np.arange(n), "share": share[emotion]}
                    table = pd.DataFrame(columns | {"prediction": predicted, "emotion": emotion})
                    tables.append(table.assign(**about, split="devel"))
        speakers = pd.Series([f"s{i % 20}" for i in range(n)], index=np.arange(n))
        return pd.concat(tables, ignore_index=True), speakers

    return make
