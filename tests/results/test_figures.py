"""All figures: the same bytes twice, who listened said once, and that they draw the data given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from figure_data import (
    SIMULATED,
    SIX,
    SYSTEMS,
    batch,
    boxes,
    clips,
    differences,
    every_figure,
    history,
    pairs,
    summary,
    system,
    texts,
    third,
)

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results import figures
from emoshare_utils.results.figures import (
    bars,
    durations,
    forest,
    learning_curves,
    matrix,
    padded_batch,
    save,
    scatter,
    share_distributions,
)
from emoshare_utils.results.figures.style import (
    COLUMN_IN,
    FAMILY_COLOURS,
    LOSS_COLOURS,
    PAGE_IN,
    SHARES,
    SPLIT_COLOURS,
    caption,
    readable,
    wrapped,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Every figure, saved twice as of simulated listeners, its height before, and its PNGs."""
    folder, found = tmp_path_factory.mktemp("saved"), {}
    for name, figure in every_figure().items():
        assert "simulated" not in texts(figure), name
        height, pngs = figure.get_figheight(), []
        for _ in range(2):
            assert save(figure, folder, name, summary(), SIMULATED) is figure
            pngs.append((folder / f"{name}.png").read_bytes())
        found[name] = figure, height, pngs
    return found


def test_saving_says_once_that_listeners_are_simulated(saved):
    assert {*saved, "save"} == set(figures.__all__)
    for name, (figure, height, pngs) in saved.items():
        assert texts(figure).count("simulated") == 1, name
        assert figure.get_supxlabel().endswith(SIMULATED)
        assert height < figure.get_figheight() < height + 0.2
        assert pngs[0] == pngs[1], name


def test_who_listened_stands_in_the_picture_and_over_nothing(saved):
    for name, (figure, *_) in saved.items():
        found = boxes(figure)
        caption = found.pop(figure.get_supxlabel())
        assert caption.y0 >= 0 and caption.x0 >= 0 and caption.x1 <= figure.bbox.x1, name
        assert not [text for text, box in found.items() if box.overlaps(caption)], name
        drawn = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
        assert all(box.y0 >= caption.y1 for box in drawn), name
        whole, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(whole.x0, whole.y0, width - whole.x1, height - whole.y1) >= 0, name


@pytest.mark.parametrize("listeners", ["listeners", ""])
def test_saving_adds_nothing_for_people_or_for_nobody(tmp_path, listeners):
    for figure in (bars(summary()), durations(clips(SIX))):
        before = figure.get_supxlabel(), figure.get_figheight(), len(figure.texts)
        save(figure, tmp_path, "figure", summary(), listeners)
        assert (figure.get_supxlabel(), figure.get_figheight(), len(figure.texts)) == before


def test_saving_says_how_much_of_a_corpus_it_is(tmp_path):
    sample = "CREMA-D's listeners, 60 of its 91 actors, audio at 11,025 Hz"
    figure = save(bars(summary()), tmp_path, "figure", summary(), sample)
    assert figure.get_supxlabel().endswith(f"\n{sample}")
    whole, (width, _) = figure.get_tightbbox(), figure.get_size_inches()
    assert whole.x0 >= 0 and whole.x1 <= width


def test_no_setting_of_matplotlib_changes_and_no_figure_is_left_open(tmp_path):
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    every_figure()
    save(bars(summary()), tmp_path, "bars", summary(), SIMULATED)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_a_figure_whose_saving_is_stopped_stays_as_it_was(tmp_path, monkeypatch):
    figure = save(bars(summary()), tmp_path, "bars", summary(), "listeners")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(file, **_):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(figure, "savefig", stop)
    with pytest.raises(KeyboardInterrupt):
        save(figure, tmp_path, "bars", summary(), "listeners")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    predictions, results = system(SIX)
    for folder in ("a", "b"):
        figure = scatter(predictions, results, SIX)
        save(figure, tmp_path / folder, "scatter", predictions, SIMULATED)
        save(bars(summary()), tmp_path / folder, "bars", summary(), "listeners")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        f"{name}.{kind}" for name in ("bars", "scatter") for kind in ("csv", "pdf", "png")
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    pdf = (tmp_path / "a" / "bars.pdf").read_bytes()
    assert b"CreationDate" not in pdf and b"Matplotlib" not in pdf
    assert b"/CIDFontType2" in pdf and b"/Type3" not in pdf
    png = (tmp_path / "a" / "bars.png").read_bytes()
    assert b"Matplotlib" not in png
    assert int.from_bytes(png[16:20], "big") == round(COLUMN_IN * 200)


def test_no_two_things_share_a_colour():
    architectures = [look.colour for look in ARCHITECTURES.values()]
    colours = [*architectures, *FAMILY_COLOURS.values(), *SPLIT_COLOURS.values(), SHARES]
    colours += LOSS_COLOURS.values()
    assert len(set(map(str.upper, colours))) == len(colours)


def test_a_third_architecture_is_drawn_in_its_own_colour_and_by_its_name():
    with third() as number:
        figure = bars(summary(("fbank",), architectures=(1, 2, number)))
        curves = learning_curves(history((2, number)))
        predictions, results = system(SIX, architecture=number)
        title = scatter(predictions, results, SIX).get_suptitle()
        compared = differences().assign(contrast=["MFCC: T9 − A1", "MFCC T9 − Spectrogram T9"])
        caption, colour = forest(compared).get_supxlabel(), ARCHITECTURES[number].colour
    patches = figure.axes[0].patches
    assert [bar.get_width() for bar in patches] == pytest.approx([0.4, 0.5, 1.2])
    assert mpl.colors.to_hex(patches[2].get_facecolor()).upper() == colour
    edges = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in patches]
    assert all(end <= start for (_, end), (start, _) in zip(edges, edges[1:]))
    assert sum(edges[1]) / 2 == pytest.approx(0)
    assert colour in {line.get_color() for line in curves.axes[0].lines}
    assert "Toy" in texts(figure) and "Toy" in texts(curves)
    assert "Architecture 1" not in texts(curves)
    assert title == "untrained, Toy, devel"
    assert "A1: Architecture 1; T9: Toy" in caption and "A2" not in caption


def test_a_forest_draws_differences_and_both_intervals():
    figure = forest(differences())
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == [0.03, -0.2]
    assert [dot.get_markerfacecolor() for dot in dots] == ["white", "black"]
    drawn = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "None"]
    assert drawn[:4] == [[-0.02, 0.09], [-0.01, 0.07], [-0.4, -0.05], [-0.3, -0.1]]
    widths = [line.get_linewidth() for line in axes.lines if line.get_marker() == "None"]
    assert widths[0] > 2 * widths[1]
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys == ["95 % interval over speakers (in brackets)", "95 % interval over clips"]
    said = texts(figure)
    for words in (
        "+0.030 [−0.020, +0.090]",
        "240 clips of 8 speakers",
        "over speakers",
        "one seed",
    ):
        assert words in said
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["MFCC: A2 − A1", "MFCC A1 − Spectrogram A2"]
    labels = [tick.get_text() for tick in forest(differences()[::-1]).axes[0].get_yticklabels()]
    assert labels == ["MFCC: A2 − A1", "MFCC A1 − Spectrogram A2"]  # the largest first


def test_a_forest_says_what_is_compared_and_whether_intervals_are_corrected():
    table = differences().assign(contrast=["MFCC: A2 − A1", "MFCC + Spectrogram: A2 − A1"])
    figure = forest(table, of="one trunk", seeds="all seeds as one", names={"MFCC": "Cepstra"})
    caption = figure.get_supxlabel()
    assert caption.startswith("one trunk; Architecture 2 − Architecture 1\n")
    assert "all seeds as one" in caption and "one seed each" not in caption
    assert "2 intervals, each by itself: none is corrected" in caption
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == ["Cepstra", "Cepstra + Spectrogram"]
    joint = table.assign(note="intervals of all 2 together (Bonferroni)")
    caption = forest(joint).get_supxlabel()
    assert "all 2 together (Bonferroni)" in caption and "by itself" not in caption
    assert "by itself" not in forest(table[:1]).get_supxlabel()
    assert "means over 3 seeds;" not in forest(table.assign(seeds=3)).get_supxlabel()
    assert "means over 3 seeds\n" in forest(table.assign(seeds=3)).get_supxlabel()


def test_a_forest_without_speakers_or_rho():
    table = differences(by_speaker=False)
    table.loc[1, ["difference", "ci_low", "ci_high", "sign"]] = [np.nan, np.nan, np.nan, 0]
    said = texts(forest(table))
    assert "+0.030 [−0.010, +0.070]" in said and "no ρ" in said and "speakers" not in said
    assert "95 % interval over clips (in brackets)" in said
    few = table.assign(sign=0, **dict.fromkeys(["ci_low", "ci_high"], np.nan))
    said = texts(forest(few))
    assert "+0.030" in said and "[" not in said and "interval" not in said
    with pytest.raises(ValueError, match="two systems"):
        forest(table.head(0))


def test_a_matrix_has_a_cell_for_every_two_systems():
    figure = matrix(pairs(), SYSTEMS)
    (axes,) = figure.axes
    cells = {tuple(text.get_position()): text for text in axes.texts}
    said = {(x, round(y)): [] for x, y in cells}
    for (x, y), text in cells.items():
        said[x, round(y)].append(text)
    differences = {place: [each.get_text() for each in found] for place, found in said.items()}
    assert differences[0, 1] == ["+0.020", "[−0.010, +0.050]"]  # over speakers
    assert differences[0, 2] == ["+0.040", "[+0.010, +0.070]"]
    assert differences[1, 2] == ["+0.020", "[−0.010, +0.050]"]
    headers = [text for text in axes.texts if text.get_ha() == "left"]
    assert [text.get_text() for text in headers] == SYSTEMS[:2]
    boxes(figure)  # draws it
    for column, header in enumerate(headers):
        box, first = header.get_window_extent(), axes.patches[2 * column].get_window_extent()
        assert box.y0 >= first.y1 and box.x0 >= first.x0
    bold = {place for place, found in said.items() if found[0].get_fontweight() == "bold"}
    assert bold == {(0, 2)}
    faces = {patch.get_xy(): patch.get_facecolor()[:3] for patch in axes.patches}
    assert {place for place, face in faces.items() if face != (1, 1, 1)} == {(-0.5, 1.5)}
    rows = [tick.get_text() for tick in axes.get_yticklabels()]
    assert rows == ["", *SYSTEMS[1:]]
    for words in ("column − row", "over speakers", "n = 240 clips of 8 speakers", "A2: Arch"):
        assert words in figure.get_supxlabel().replace("\n", " ")
    assert "3 intervals, each by itself" in figure.get_supxlabel()


def test_a_matrix_of_many_long_names_fits_the_page_and_writes_over_nothing():
    joined = "HuBERT-mini-3 L2 + HuBERT-mini L2 + Mel filterbank (A1)"
    systems = [joined, *(f"encoder {number} + Mel filterbank (A1)" for number in range(11))]
    figure = matrix(pairs(systems), systems)
    (axes,) = figure.axes
    assert figure.get_figwidth() == PAGE_IN
    header = next(text for text in axes.texts if text.get_text().startswith("HuBERT"))
    assert header.get_text().split("\n") == [
        "HuBERT-mini-3 L2", "+ HuBERT-mini L2", "+ Mel filterbank (A1)"
    ]  # fmt: skip
    boxes(figure)  # draws it
    drawn = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
    over = [(a, b) for i, (a, x) in enumerate(drawn) for b, y in drawn[:i] if x.overlaps(y)]
    assert not over
    for patch in axes.patches:
        assert not any(patch.get_window_extent().overlaps(text.get_window_extent())
                       for text in axes.texts if text.get_ha() == "left")  # fmt: skip
    whole, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(whole.x0, whole.y0, width - whole.x1, height - whole.y1) >= 0


def test_a_matrix_without_intervals_or_rho_and_of_other_contrasts():
    table = pairs()
    low = [name for name in table if name.startswith("ci_")]
    table = table.assign(sign=0, **dict.fromkeys(low, np.nan))
    table.loc[1, "difference"] = np.nan
    said = texts(matrix(table, SYSTEMS))
    assert "+0.020" in said and "no ρ" in said and "[" not in said and "interval" not in said
    for wrong in (table[::-1], table[:2]):
        with pytest.raises(ValueError, match="one difference for every two"):
            matrix(wrong, SYSTEMS)
    with pytest.raises(ValueError, match="two systems or more"):
        matrix(table.head(0), SYSTEMS[:1])


def test_share_distributions_count_the_zeros():
    table = pd.DataFrame({"Anger": [0, 0, 0, 0.3, np.nan], "Sad": [0.1, 0.2, 0.3, 1.0, 0.7]})
    table["split"] = ["train", "train", "devel", "devel", "devel"]
    figure = share_distributions(table, ["Anger", "Sad"])
    anger, sad = figure.axes
    assert anger.texts[0].get_text() == "3 of 4 are 0 (75 %); mean 0.07"
    heights = [bar.get_height() for bar in sad.patches]
    assert heights == pytest.approx([0, 20, 20, 20, 0, 0, 0, 20, 0, 0, 20, 0])
    black = [bar for bar in anger.patches if bar.get_facecolor()[:3] == (0, 0, 0)]
    assert [bar.get_height() for bar in black] == pytest.approx([75])
    assert black[0].get_x() + black[0].get_width() / 2 == pytest.approx(0)
    assert list(sad.get_xticks()) == [0, 0.5, 1] and "train and devel" in figure.get_supxlabel()
    single = pd.DataFrame({"Joy": [1 / k for k in range(7, 20)]}).assign(split="test")
    (axes,) = share_distributions(single, ["Joy"]).axes
    assert np.flatnonzero([bar.get_height() for bar in axes.patches[:11]]).tolist() == [1]
    masked = table.assign(Anger=np.nan)
    assert share_distributions(masked, ["Anger", "Sad"]).axes[0].texts[0].get_text() == "n = 0"


def test_durations_need_the_audio_check():
    assert "train: 30 clips" in texts(durations(clips(SIX)))
    with pytest.raises(ValueError, match="01_data_preparation"):
        durations(clips(SIX).assign(duration_s=np.nan))


def test_a_padded_batch_draws_each_clip_to_its_own_end():
    features, lengths = batch()
    figure = padded_batch(features, lengths)
    strips = figure.axes[:3]
    assert [axes.images[0].get_extent()[1] for axes in strips] == list(lengths)
    assert np.array_equal(strips[0].images[0].get_array(), features[0, :3].T)
    assert "padded to L = 12 frames, W = 4" in texts(figure)
    assert [axes.texts[0].get_text() for axes in strips] == ["3 frames", "10 frames", "7 frames"]
    features[0, 5] = 1
    with pytest.raises(ValueError, match="clip 0 of length 3.*zeros"):
        padded_batch(features, lengths)
    with pytest.raises(ValueError, match=r"\(N, L, W\)"):
        padded_batch(features[0], lengths)


def test_learning_curves_hold_a_stopped_network_at_its_last_epoch():
    figure = learning_curves(history())
    rho, mse = figure.axes[:2]
    mean = [line for line in mse.lines if line.get_linewidth() > 1][0]
    assert np.allclose(
        mean.get_ydata(), [1, 1 / 2, 1 / 3, (1 / 3 + 1 / 4) / 2, (1 / 3 + 1 / 5) / 2]
    )
    best = [line for line in rho.lines if line.get_marker() == "."][0]
    assert list(best.get_xdata()) == [3, 3]
    assert rho.get_title() == "Mel filterbank"
    assert "n = 2 networks" in figure.get_supxlabel()


def test_learning_curves_draw_what_selects_and_another_loss():
    given = history().assign(devel_mae=lambda rows: 1 - rows["devel_rho"], train_loss=0.5)
    rho, mae, mse, loss = learning_curves(given).axes
    names = [axes.get_ylabel() for axes in (rho, mae, mse, loss)]
    assert names == ["devel ρ", "devel MAE", "training MSE", "training loss"]
    named = learning_curves(given, "soft_rank", one_trunk=True)
    assert named.axes[3].get_ylabel() == "training loss\n(soft rank)"
    assert "thin: one emotion" in named.get_supxlabel()
    assert "mean of n = 2, of one trunk" in named.get_supxlabel()
    for axes in (rho, mae):  # the smallest error is the best
        best = [line for line in axes.lines if line.get_marker() == "."][0]
        assert list(best.get_xdata()) == [3, 3]


def test_an_encoder_that_a_run_made_is_called_by_its_run():
    made = "runs/languages_a/encoders/hubert-mini-0"
    assert readable(made) == "hubert-mini-0 of languages_a"
    assert readable(f"/data/{made}@2 + fbank") == "hubert-mini-0 L2 of languages_a + Mel filterbank"
    assert readable("other/encoders/x") == "other/encoders/x"
    (rho, _) = learning_curves(history().assign(encoder=made)).axes
    assert rho.get_title().replace("\n", " ") == "hubert-mini-0 of languages_a"


def test_a_caption_leaves_ranges_whole():
    text = " ".join(["predictions hardly vary: Happy (.00 to .02)"] * 5)
    lines = caption([text, ""], COLUMN_IN).split("\n")
    assert " ".join(lines) == text and len(lines) > 3
    assert sum(line.count(".00 to .02") for line in lines) == 5


def test_long_names_are_broken_where_they_are_joined():
    assert wrapped("MFCC A2 − Spectrogram A1") == "MFCC A2 − Spectrogram A1"
    assert wrapped("HuBERT-mini-3 L2 + Mel filterbank") == "HuBERT-mini-3 L2\n+ Mel filterbank"
    assert wrapped("a long name + b − c + d", 14) == "a long name\n+ b\n− c + d"
    assert wrapped("HuBERT-mini L2 (A2)", 18) == "HuBERT-mini\nL2 (A2)"
    assert wrapped("HuBERT-mini (A1)", 15) == "HuBERT-mini\n(A1)"
    assert wrapped("wav2vec2.0 (Large) L6 (A2) − MFCC (A1)", 20) == (
        "wav2vec2.0 (Large)\nL6 (A2)\n− MFCC (A1)"
    )
    assert wrapped("wav2vec2-mini", 10) == "wav2vec2-\nmini"
    assert wrapped("wav2vec2.0 (Large), all layers") == "wav2vec2.0 (Large),\nall layers"
