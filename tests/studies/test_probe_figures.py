"""The pictures of linear probes."""

import numpy as np
import pandas as pd
from matplotlib.text import Text

from emoshare_utils.results.figures.style import save
from emoshare_utils.studies.probe_figures import layers, probes

SIMULATED = "simulated listeners"


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def test_layers_are_drawn_and_a_feature_set_without_them_is_a_line():
    rows = [
        (name, layer, layer / 10) for name in ("hubert-mini", "untrained") for layer in range(4)
    ]
    table = pd.DataFrame([*rows, ("fbank", 0, 0.35)], columns=["encoder", "layer", "rho"])
    figure = layers(table, 720, 24)
    (axes,) = figure.axes
    assert [len(line.get_xdata()) for line in axes.lines] == [4, 4, 2]
    assert "no intervals" in figure.get_supxlabel()
    alike = pd.DataFrame([*rows, ("hubert-large", 0, 0.3), ("hubert-large", 1, 0.2)],
                         columns=["encoder", "layer", "rho"])  # fmt: skip
    mini, _, large = layers(alike, 720, 24).axes[0].lines
    assert mini.get_color() == large.get_color()
    assert mini.get_linestyle() != large.get_linestyle()
    assert set(axes.lines[2].get_ydata()) == {0.35}
    for word in ("HuBERT-mini", "untrained", "Mel filterbank", "720 clips of 24 speakers of train"):
        assert word in texts(figure)


def test_probes_are_drawn_with_chance(tmp_path):
    rows = [
        {"encoder": name, "target": target, "measure": measure, "score": score, "chance": chance}
        | {"ci_low": score - 0.1, "ci_high": score + 0.2}
        for name, score in (("hubert-mini", 0.6), ("fbank", 0.4))
        for target, measure, chance in (("intended", "accuracy", 0.1), ("loudness", "rho", 0.0))
    ]
    figure = probes(pd.DataFrame(rows), 240, 8)
    for axes, by_chance in zip(figure.axes, (0.1, 0.0), strict=True):
        hubert, fbank, chance = axes.lines
        assert list(hubert.get_xdata()) == [0.6] and list(fbank.get_xdata()) == [0.4]
        assert list(np.asarray(chance.get_xdata())) == [by_chance]
        for lines, score in zip(axes.collections, (0.6, 0.4), strict=True):
            (line,) = lines.get_segments()
            np.testing.assert_allclose(line[:, 0], [score - 0.1, score + 0.2])
    assert [axes.get_xlabel() for axes in figure.axes] == ["accuracy", "ρ"]
    names = [[tick.get_text() for tick in axes.get_yticklabels()] for axes in figure.axes]
    assert names == [["intended emotion"], ["loudness"]]
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "n = 240 clips of 8 speakers; lines: 95 % intervals over speakers" in caption
    assert "4 intervals, each by itself" in caption and "over clips" not in caption
    speaker = pd.DataFrame(rows).replace({"target": {"intended": "speaker"}})
    assert "(speaker: over clips)" in probes(speaker, 240, 8).get_supxlabel().replace("\n", " ")
    unsure = pd.DataFrame(rows).assign(ci_low=np.nan, ci_high=np.nan)
    said = probes(unsure, 20, 0).get_supxlabel()
    assert said == "linear probes on the mean frame; devel, n = 20 clips"
    save(figure, tmp_path, "probes", pd.DataFrame(rows), SIMULATED)
    first = (tmp_path / "probes.png").read_bytes()
    again = probes(pd.DataFrame(rows), 240, 8)
    save(again, tmp_path, "probes", pd.DataFrame(rows), SIMULATED)
    assert SIMULATED in texts(again)
    assert (tmp_path / "probes.png").read_bytes() == first
