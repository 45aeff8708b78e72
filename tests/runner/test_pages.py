"""A finished run as Markdown pages and as one HTML file; and the pages of this repository."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_notebooks import FOLDERS, edit, write

from emoshare_utils import __main__
from emoshare_utils.paths import Run
from emoshare_utils.runner import pages
from emoshare_utils.runner.executed import table_of, with_formulas
from emoshare_utils.runner.publishing import publish
from emoshare_utils.runner.report import report
from emoshare_utils.runner.workbook import run

PROJECT = Path(__file__).parents[2]
PROSE = r"""# 1. Data

A price of 5 $ or `$code$`, then $\bar{y}\,_i$ and

$$\frac{1}{n} \sum_i y_i$$

and $\unknown{x}$."""
TABLE = """<style>#T_row0_col1 { font-weight: bold; } td { font-weight: normal; }</style>
<table><caption>A caption, <b>bold</b>.</caption><thead>
<tr><th>emotion</th><th></th><th>rho</th></tr><tr><th>a</th><th>b</th><th></th></tr></thead><tbody>
<tr><th rowspan="2">x|y</th><th>1</th><td id="T_row0_col1">0.5</td></tr>
<tr><th>2</th><td id="T_row1_col1">-1e-05</td></tr></tbody></table>"""
OUTPUTS = """
import io
from pathlib import Path
import numpy as np
from IPython.display import HTML, Audio, Image, Markdown, display
from PIL import Image as Picture
print(f'fbank: 1 of 2 clips in {1} s (1.0 s each, {1} s left)')
print(f'fbank: 2 of 2 clips in {2} s (1.0 s each)')
print('wrote', this.figures / 'x.csv', 'for', root, 'in', Path.home() / 'here')
display(Markdown("**A card**"), HTML(TABLE), Audio(np.sin(np.arange(100)), rate=16000))
"""
PICTURES = """
noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype('uint8')
file = io.BytesIO()
Picture.fromarray(noise).save(file, 'PNG')
{}
display(Image(file.getvalue()))
"""
SAVED = "(this.figures / ('fig' '2.png')).write_bytes(file.getvalue()); 'fig2'"


@pytest.fixture
def drawn(project, tmp_path):
    """A run that has printed, shown and drawn one of each."""
    (corpus := tmp_path / "a corpus").mkdir()
    (project / "profiles" / "demo.yaml").write_text(f"run: demo\nroot: {corpus}\n")
    show = f"{OUTPUTS.replace('TABLE', repr(TABLE))}"
    saved = PICTURES.format(SAVED.replace("'fig2'", '"fig2"'))
    tables = f"(this.figures / 'table1.html').write_text({f'<body>{TABLE}</body>'!r})"
    fig3 = "encoder,architecture,seed,split,n,mean_rho,ci_low,ci_high,ci_speakers_low,"
    fig3 += "ci_speakers_high,note\\nfbank,1,0,devel,9,.5,.4,.6,,,\\nmfcc,1,0,devel,9,.4,.3,.5,,,"
    fig2 = "encoder,architecture,seed,split,share\\nmfcc,1,0,devel,.5"
    csvs = f"(this.figures / 'fig3.csv').write_text('{fig3}')\n"
    csvs += f"(this.figures / 'fig2.csv').write_text('{fig2}')"
    two = PICTURES.format('"fig2"') + "display(Image(file.getvalue()))"  # and one name
    data = [PROSE, FOLDERS + show, saved, two, tables, csvs]
    write("01_data", *data, parameters="run = 'x'\nroot = None")
    write("02_more", "# 2. More", "1 + 1")
    run("demo")
    return project


def test_pages_show_what_a_run_left(drawn, capsys):
    this = Run("demo")
    (this.pages).mkdir(parents=True)
    (this.pages / "09_gone.md").write_text("old")
    assert __main__.main(["publish", "demo"]) == 0
    assert "2 pages with their pictures, 0.1 MB, in docs/notebooks/demo/" in capsys.readouterr().out
    files = {path.name: path for path in this.pages.iterdir()}
    assert sorted(files) == ["01_data.md", "01_data_1.png", "01_data_2.png", "02_more.md"]
    page = files["01_data.md"].read_text()

    # prose with formulas as GitHub reads them, code, and what it put out
    assert "A price of 5 $ or `$code$`, then $`\\bar{y}\\,_i`$ and" in page
    assert "\n\n```math\n\\frac{1}{n} \\sum_i y_i\n```\n\n" in page
    assert "| a | b | rho |\n|:---|---:|---:|\n| x\\|y | 1 | **0.5** |" in page
    assert "|  | 2 | -1e-05 |\n\nA caption, <b>bold</b>." in page
    assert "\n\n**A card**\n\n" in page
    assert "```text\n2\n```" in files["02_more.md"].read_text()

    # a published picture is linked, another is beside the page, small
    assert page.count("![") == 3
    assert "![fig2](../../../figures/published/demo/fig2.png)" in page
    assert "![a figure](01_data_1.png)\n\n![a figure](01_data_2.png)" in page
    assert (
        files["01_data_1.png"].stat().st_size <= 60_000 < (this.figures / "fig2.png").stat().st_size
    )
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (this.pages / link).is_file(), link

    # nothing of this machine or this hour, and no sound
    assert "wrote figures/demo/x.csv for …/a corpus in ~/here" in page
    assert 'root = "…/a corpus"' in page
    assert not re.search(f"{drawn}|{Path.home()}/| in [12] s|base64", page)

    index = (this.pages.parent / "README.md").read_text()
    assert (
        "is MFCC (A1): mean ρ 0.400 (95 % interval over clips 0.300 to 0.500), n = 9 clips."
        in index
    )
    assert "- [1. Data](demo/01_data.md)\n- [2. More](demo/02_more.md)\n" in index
    assert "### Table 1\n\n| a | b |" in index and "demo/fig2.png)" in index
    before = {path: path.read_bytes() for path in this.pages.rglob("*")}
    publish("demo")
    assert before == {path: path.read_bytes() for path in this.pages.rglob("*")}


def test_a_picture_of_every_run_is_linked_where_all_runs_have_it(project):
    saved = "PAPER.figures.mkdir(); (PAPER.figures / 'means.png').write_bytes(file.getvalue())"
    cell = "import io\nimport numpy as np\nfrom IPython.display import Image, display\n"
    cell += "from PIL import Image as Picture\nfrom emoshare_utils.paths import PAPER\n"
    cell += PICTURES.format(f'{saved}; "means"')
    (project / "profiles" / "demo.yaml").write_text("run: demo\nroot: null\n")
    table1 = FOLDERS + "(this.figures / 'table1.csv').write_text('1')"
    write("01_data", PROSE, table1, cell, parameters="run = 'x'\nroot = None")
    run("demo")
    publish("demo")
    page = (Run("demo").pages / "01_data.md").read_text()
    (link,) = re.findall(r"!\[means\]\(([^)]+)\)", page)
    assert link == "../../../figures/published/paper/means.png"
    assert (Run("demo").pages / link).is_file()


def test_pictures_whose_name_has_a_part_are_linked_in_the_alphabet_s_order(project):
    this = Run("demo")
    this.published.mkdir(parents=True)
    for name in ("clip_worst", "clip_best", "clip_other", "clip", "fig2"):
        (this.published / f"{name}.png").touch()
    links = pages._published(
        'save(x, "fig2"); save(x, f"clip_{which}"); f"{which}"; "gone"',
        this,
        {"fig2", "clip_other"},
    )
    assert [link.partition("]")[0] for link in links] == ["![fig2", "![clip_best", "![clip_worst"]
    assert all((this.pages / link.partition("(")[2][:-1]).resolve().is_file() for link in links)


def test_pages_older_than_their_notebook_say_what_renews_them(drawn):
    publish("demo")
    this = Run("demo")
    assert pages.stale() == []
    edit("01_data", "# 1. Data", "# 1. The data", "markdown")
    remedy = "renew it by `python -m emoshare_utils publish demo`"
    assert pages.stale() == [f"docs/notebooks/demo/01_data.md is older than its notebook: {remedy}"]
    publish("demo")  # prose alone needs no run
    assert pages.stale() == [] and "# 1. The data" in (this.pages / "01_data.md").read_text()

    (this.published / "table1.html").unlink()
    (drawn / "notebooks" / "02_more.ipynb").unlink()
    (this.pages / "03_mine.md").write_text("mine")
    gone, mine, index = pages.stale()
    assert gone == f"docs/notebooks/demo/02_more.md: notebooks/02_more.ipynb is gone: {remedy}"
    assert mine == "docs/notebooks/demo/03_mine.md does not say what made it: remove it"
    assert index.startswith("docs/notebooks/README.md is older than the published figures")


def test_the_pages_of_this_repository_are_those_of_its_notebooks(monkeypatch):
    monkeypatch.setenv("EMOSHARE_HOME", str(PROJECT))
    assert pages.stale() == []
    for page in (PROJECT / "docs" / "notebooks").rglob("*"):
        if page.suffix == ".png":
            assert page.stat().st_size <= pages.LARGEST_PICTURE, page
        elif page.suffix == ".md":
            text = page.read_text("utf-8")
            assert not re.search(r"/home/|/root/|/Users/|base64", text), page
            for link in re.findall(r"\]\(([^)#:]+)\)", text):
                assert (page.parent / link).exists(), f"{page}: {link}"


def test_a_report_is_one_file_that_needs_no_network(drawn, capsys):
    assert __main__.main(["report", "demo"]) == 0
    assert "report/demo.html  1." in capsys.readouterr().out
    page = Run("demo").report.read_text()
    assert not re.search(r"https?:|<link|@import|<script", page)
    sources = re.findall(r'src="([^"]+)"', page)
    kinds = [source.partition(";base64,")[0] for source in sources]
    pictures, formulas = ["data:image/png"] * 4, ["data:image/svg+xml"] * 2
    assert sorted(kinds) == ["data:audio/wav", *pictures, *formulas]
    for kind, source in zip(kinds, sources):
        assert base64.b64decode(source.partition(";base64,")[2], validate=True), kind

    # what matters first, then each notebook
    first, *notebooks = re.findall(r"<section.*?</section>", page, re.DOTALL)
    assert "is MFCC (A1): mean ρ 0.400" in first
    assert (
        "<h2>Table 1</h2>" in first and "<h2>Fig. 2: predicted" in first and "Fig. 3" not in first
    )
    assert [re.search(r'id="(\w+)"', each)[1] for each in notebooks] == ["01_data", "02_more"]
    text = notebooks[0]
    assert "A price of 5 $ or <code>$code$</code>" in text
    assert "<code>\\unknown{x}</code>" in text  # matplotlib does not know it
    assert "<strong>A card</strong>" in text and text.count("<details>") == 6
    assert "2 clips in 2 s" in text and "1 s left" not in text
    assert "wrote figures/demo/x.csv for …/a corpus in ~/here" in text
    assert str(drawn) not in page
    assert "prefers-color-scheme: dark" in page


def test_a_run_that_is_not_finished_gives_no_report(three, capsys):
    def refused():
        assert __main__.main(["report", "demo"]) == 2
        assert not Run("demo").report.parent.exists()
        return capsys.readouterr().err

    begin = "error: run 'demo' "
    command = "`python -m emoshare_utils run demo`\n"
    assert refused() == f"{begin}has drawn nothing yet: make it with {command}"
    run("demo", only=["01"])
    said = "is not finished: 02_training is not up to date (has not run to its end yet). "
    assert refused() == f"{begin}{said}Finish it with {command}"
    run("demo")
    report("demo")
    assert Run("demo").report.is_file()


def test_formulas_are_told_from_code_and_prices():
    mark = {"inline": "<{}>".format, "block": "[{}]".format}
    assert with_formulas("$a$ `$b$` $$c\nd$$ $5 and 6 $", **mark) == "<a> `$b$` [c\nd] $5 and 6 $"
    assert with_formulas("```\n$a$\n```\n5 $ or $7", **mark) == "```\n$a$\n```\n5 $ or $7"


def test_a_table_is_read_with_its_spans():
    head, body, caption = table_of(TABLE)
    assert head == [["emotion", "", "rho"], ["a", "b", ""]]
    assert body == [["x|y", "1", "<b>0.5</b>"], ["", "2", "-1e-05"]]
    assert caption == "A caption, <b>bold</b>."


def test_a_picture_becomes_small_and_stays_what_it_is():
    ramp = np.tile(np.linspace(0, 255, 900).astype("uint8")[:, None, None], (1, 700, 3))
    noise = np.random.default_rng(0).integers(0, 40, ramp.shape).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(ramp // 2 + noise).save(file, "PNG")
    small = pages.small_png(file.getvalue())
    picture = Image.open(io.BytesIO(small))
    assert len(small) <= pages.LARGEST_PICTURE < len(file.getvalue())
    assert picture.width / picture.height == pytest.approx(700 / 900, rel=0.02)
    grey = np.asarray(picture.convert("L")).astype(float).mean(axis=1)
    assert grey[-1] - grey[0] == pytest.approx(127, abs=8)
