"""Tables as HTML and LaTeX: bold, footnotes, escaping, and the three files."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.results.rendering import FONT, scores, style, write
from emoshare_utils.results.shared_clips import BOUNDS

NASTY = "a_b & <script> $x_{$ 5 %"


def table(*rows: tuple, columns: tuple = ("encoder", "architecture", "A", "mean")) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def latex(tmp_path):
    def write_and_read(frame: pd.DataFrame, caption: str = "c", **options) -> str:
        write(frame, tmp_path, "t", caption, **options)
        return (tmp_path / "t.tex").read_text(encoding="utf-8")

    return write_and_read


def test_bold_is_decided_before_rounding_among_our_rows_with_ties(shown, row_of):
    frame = table(
        ("fbank", 1, 0.41236, 0.3),
        ("fbank", 2, 0.41238, 0.3),
        ("hubert-base", 1, 0.1, 0.2),
        ("hubert-base", 2, 0.9, 0.9),
    ).assign(source=["ours", "ours", "ours", "paper"])
    text = shown(frame)
    assert "| **0.300** | 0.412 |" in row_of(text, "Mel filterbank", "Architecture 1")
    assert "| **0.300** | **0.412** |" in row_of(text, "Mel filterbank", "Architecture 2")
    assert "**" not in row_of(text, "HuBERT (Base)", "Architecture 1 |")
    assert "| 0.900 | 0.900 |" in row_of(text, "Architecture 2 (paper)")
    assert "**" not in shown(frame, best=())


def test_the_largest_negative_number_wins_and_the_smallest_error(shown, row_of):
    frame = table(("fbank", -0.2, 0.1), ("mfcc", -0.1, 0.3), columns=("encoder", "A", "mean_mae"))
    text = shown(frame)
    assert "| Features | A | mean MAE |" in text
    assert "| -0.200 | **0.100** |" in row_of(text, "Mel") and "**-0.100**" in row_of(text, "MFCC")


def test_missing_means_do_not_win_and_notes_are_marked(shown, row_of, latex):
    columns = ("encoder", "A", "B", "mean", "note")
    frame = table(
        ("fbank", np.nan, 0.9, np.nan, "no A"),
        ("mfcc", 0.1, 0.2, 0.15, ""),
        ("org/x", 0.1, 0.1, 0.1, "of <few>"),
        ("org/y", np.nan, 0.1, np.nan, "no A"),
        columns=columns,
    )
    text = shown(frame)
    assert "| –<sup>a</sup> | –<sup>a</sup> | **0.900** |" in row_of(text, "Mel")
    assert "| MFCC | **0.150** | **0.100** | 0.200 |" in text
    assert "| org/x<sup>b</sup> |" in text and "<sup>a</sup>" in row_of(text, "org/y")
    assert "<sup>a</sup> no A.<br>\n<sup>b</sup> of &lt;few&gt;." in text
    text = latex(frame)
    assert r"--\textsuperscript{a} & --\textsuperscript{a} & \bfseries 0.900 \\" in text
    assert text.index(r"\end{tabular}") < text.index(
        r"\textsuperscript{b} of \textless{}few\textgreater{}."
    )


def test_more_notes_than_letters_have_marks_of_their_own(shown):
    rows = [(f"org/{number}", 0.1, f"note {number}") for number in range(60)]
    text = shown(table(*rows, columns=("encoder", "A", "note")))
    assert "<sup>z</sup> note 25." in text and "<sup>aa</sup> note 26." in text
    assert "<sup>hhh</sup> note 59." in text


def test_three_files_and_the_csv_is_unrounded(tmp_path):
    frame = table(("fbank", 1, 0.123456789, 0.2), ("org/an_encoder", 2, 1 / 3, 0.1))
    frame["note"] = ""
    options = {"listeners": "simulated listeners", "notes": ["A note."]}
    styler = write(frame, tmp_path / "new", "table1", "100 % of A_B", **options)
    names = ["table1.csv", "table1.html", "table1.tex"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    back = pd.read_csv(tmp_path / "new" / "table1.csv")
    assert np.array_equal(back[["A", "mean"]], frame[["A", "mean"]])
    assert list(back.columns) == list(frame.columns)
    for name in names[1:]:
        text = (tmp_path / "new" / name).read_text(encoding="utf-8")
        assert "Shares are those of simulated listeners." in text and "A note." in text
    assert styler.to_html() == style(frame, "100 % of A_B", **options).to_html()
    before = (tmp_path / "new" / "table1.html").read_bytes()
    write(frame, tmp_path / "new", "table1", "100 % of A_B", **options)
    assert (tmp_path / "new" / "table1.html").read_bytes() == before
    assert "simulated" not in style(frame, "c").to_html()


def test_two_tables_on_one_page_do_not_share_a_style():
    one, other = (style(table(("fbank", 1, x, x)), "c").to_html() for x in (0.1, 0.2))
    assert one.split('table id="')[1][:10] != other.split('table id="')[1][:10]


def test_any_text_is_harmless_in_html_and_latex(latex):
    frame = table((NASTY, 1, 0.1, 0.2), columns=("encoder", "architecture", NASTY, "mean"))
    frame["note"] = frame["claim"] = NASTY
    html = style(frame, NASTY, notes=[NASTY]).to_html()
    assert "<script>" not in html and html.count("a_b &amp; &lt;script&gt; $x_{$ 5 %") == 6
    assert 'class="tex2jax_ignore mathjax_ignore"' in html  # so that $ starts no formula
    text = latex(frame, NASTY, notes=[NASTY])
    escaped = r"a\_b \& \textless{}script\textgreater{} \$x\_\{\$ 5 \%"
    assert text.count(escaped) == 6
    assert text.count("a_b") == 0


def test_the_latex_is_one_plain_table(latex):
    text = latex(table(("org/an_encoder&co", 1, 0.2, 0.3)), "Table 3: 5 % of ρ, # {x}")
    assert "org/an\\_encoder\\&co & Architecture 1 & \\bfseries 0.300 & \\bfseries 0.200" in text
    assert "\\caption{5 \\% of $\\rho$, \\# \\{x\\}}" in text
    assert "\\label{tab:t}" in text
    assert "\\begin{tabular}{llrr}\n\\toprule\n" in text
    for begin in ("table*", "tabular", "adjustbox"):
        assert text.count(f"\\begin{{{begin}}}") == text.count(f"\\end{{{begin}}}") == 1


def test_any_other_table_can_be_written(shown):
    frame = pd.DataFrame(
        {"split": ["train", "devel"], "clips": [720, 240], "hours": [0.81, np.nan]}, index=[7, 7]
    )
    text = shown(frame, "Clips.", best=(), notes=["One note."])
    assert "| split | clips | hours |\n| train | 720 | 0.810 |\n| devel | 240 | – |" in text
    assert text.endswith("One note.")


def test_scores_show_an_interval_as_one_column_and_a_note_below():
    frame = pd.DataFrame(
        [("fbank", 1, 240, 0.4, 0.3, 0.5, 0.2, 0.6, ""), ("mfcc", 0, 8, 0.1, *[np.nan] * 4, "few")],
        columns=["encoder", "architecture", "n", "mean_rho", *BOUNDS, "note"],
    )
    html = scores(frame, "Scores.").to_html()
    for text in (">mean ρ<", ">95 % (clips)<", ">0.300 to 0.500<", ">0.200 to 0.600<", ">–<"):
        assert text in html
    assert "ci_" not in html and "<sup>a</sup> few." in html and "bold" not in html
    assert "ρ" in scores(frame.head(0), "Scores.").to_html()  # no test split, for one


def test_nine_emotions_fit_beside_the_list_of_files():
    html = style(table(("fbank", 1, 0.4, 0.3)), "c").to_html()
    assert f"font-size: {FONT}" in html and "padding: 0.4em 0.25em" in html
