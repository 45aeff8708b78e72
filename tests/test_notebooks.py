"""The notebooks: style, parameters, and the whole workbook at smoke size."""

import ast
import shutil
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from cells import code, run_here
from matplotlib.image import imread
from papermill import execute_notebook

from emoshare_utils import load_system
from emoshare_utils.__main__ import main
from emoshare_utils.corpora import CORPORA
from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.pretrained import MINIS, PAPER_ENCODERS
from emoshare_utils.models.regressor import Sizes, build
from emoshare_utils.paths import PAPER, Run
from emoshare_utils.predicting.intervals import Intervals
from emoshare_utils.predicting.trained import write_system
from emoshare_utils.runner.notebooks import read_notebooks
from emoshare_utils.runner.profiles import read_profile
from emoshare_utils.runner.workbook import run
from emoshare_utils.training.settings import Training

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PROFILES = sorted(path.stem for path in (PROJECT / "profiles").glob("*.yaml"))
SIZES = {"cnn": [8], "pool": 4, "lstm": 8, "ffnn_1": [8], "ffnn_2": [8]}
OF_EVERY_RUN = ("paper_means", "paper_differences", "dead_starts", "pretraining_shipped")
TRAINING = {"epochs": 2, "patience": 2, "batch_size": 16, "learning_rate": 0.01}
SMALL = {
    "encoder": ["fbank"],
    "svr": ["fbank"],
    "sizes": SIZES,
    "training": {**TRAINING, "standardise": True, "start_at_mean": True},
    "resamples": 50,
    "draws": 5,
    "variant_encoder": "fbank",
    "variant_emotions": 2,
    "variant_seed": [0, 1],
    "variant_training": {**TRAINING, "epochs": 1},
    "differences": ["output"],
    "dead_seeds": 2,
}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """A project of its own: copies of the notebooks and profiles."""
    root = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "profiles"):
        shutil.copytree(PROJECT / name, root / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOSHARE_HOME", str(root))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield root


@pytest.fixture(scope="module")
def smoke(home, quick_kernels):
    """The whole workbook has run with profiles/smoke.yaml."""
    assert main(["run", "smoke"]) == 0
    return Run("smoke")


def path_of(number):
    (path,) = (path for path in NOTEBOOKS if path.stem.startswith(number))
    return path


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def said(notebook):
    """The text that the cells of an executed notebook put out."""
    texts = []
    for output in outputs(notebook):
        data = output.get("data", {})
        texts.append(output.get("text") or data.get("text/markdown") or data.get("text/plain", ""))
    return "\n".join(texts)


def executed(this, number):
    (path,) = this.notebooks.glob(f"{number}_*.ipynb")
    return nbformat.read(path, 4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_style(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    first, *_ = notebook.cells
    assert first.cell_type == "markdown" and first.source.startswith(f"# {int(path.stem[:2])}. ")
    for part in ("Question", "Inputs", "Outputs", "Running time"):
        assert f"\n**{part}.** " in first.source

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == cells[:1]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    long = [cell.source for cell in cells if len(cell.source.splitlines()) > 25]
    assert not long
    assert len(cells[0].source.splitlines()) <= 12
    assert not any("Markdown(f" in "".join(cell.source.split()) for cell in cells)

    trees = [ast.parse(source) for source in code(path)]
    importing = [
        number
        for number, tree in enumerate(trees)
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
    ]
    assert importing == [1]
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert not any(isinstance(node, defining) for tree in trees for node in ast.walk(tree))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_and_table_is_told_who_listened(path):
    calls = [node for cell in code(path) for node in ast.walk(ast.parse(cell))]
    for call in (node for node in calls if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        if name in ("save", "figures.save"):
            assert len(call.args) == 5, ast.unparse(call)
        if name == "rendering.write":
            assert "listeners" in ast.unparse(call), ast.unparse(call)


def test_a_notebook_alone_is_the_demo():
    notebooks = read_notebooks()
    demo = read_profile("demo", {}, notebooks).parameters
    for notebook in notebooks[1:]:  # the quickstart is a run of its own
        shared = {name: demo[name] for name in notebook.parameters if name in demo}
        assert shared == {name: notebook.parameters[name] for name in shared}, notebook.name
        assert "run" in shared or notebook.name == "05_paper_table", notebook.name
    assert set(demo["encoder"]) > {"fbank", "untrained", *MINIS}


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_name_what_the_notebooks_declare(profile):
    values = read_profile(profile, {}, read_notebooks()).parameters
    assert values["run"] == profile
    assert values["corpus"] in CORPORA
    assert bool(values["root"]) == (values["corpus"] != "simulated")
    if profile == "compare23":
        assert set(values["encoder"]) == {*PAPER_ENCODERS, "fbank"}
    assert not (profile == "demo" and set(values["encoder"]) & set(PAPER_ENCODERS))
    assert {"demo", "smoke", "crema_d", "compare23"} <= set(PROFILES)


def test_smoke_leaves_the_tables_and_figures(smoke):
    for name, endings in {
        "table1": ("csv", "html", "tex"),
        "table2": ("csv", "html", "tex"),
        "fig2": ("pdf", "png", "csv"),
        "fig3": ("pdf", "png", "csv"),
        "worth": ("pdf", "png", "csv"),
        "claims": ("csv", "html", "tex"),
        "differences_attention": ("pdf", "png", "csv"),
        "objectives": ("pdf", "png", "csv"),
        "layers": ("pdf", "png", "csv"),
        "probes": ("pdf", "png", "csv"),
        "table_objectives": ("csv", "html", "tex"),
    }.items():
        for ending in endings:
            assert (smoke.figures / f"{name}.{ending}").stat().st_size > 100, name
    assert {path.name for path in PAPER.figures.iterdir()} == {
        *(f"{name}.{ending}" for name in OF_EVERY_RUN for ending in ("pdf", "png", "csv")),
        "paper_table2.csv",
    }
    for picture in (*smoke.figures.glob("*.png"), *PAPER.figures.glob("*.png")):
        assert picture.parent == PAPER.figures or picture.stem not in OF_EVERY_RUN
        assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert imread(picture).std() > 0.05, f"{picture.name} is blank"
    for table in ("table1", "table2"):
        for ending in ("html", "tex"):
            assert "simulated listeners" in (smoke.figures / f"{table}.{ending}").read_text()


def test_smoke_scores_every_encoder_architecture_and_emotion(smoke):
    results = pd.read_parquet(smoke.results)
    encoders = ["fbank", "untrained", *MINIS]
    systems = [*product(encoders, [1, 2]), ("fbank", 0)]  # 0: the challenge's baseline
    expected = product(systems, PAPER_EMOTIONS, ["devel", "test"])
    rows = results[["encoder", "architecture", "emotion", "split"]]
    found = sorted(rows.itertuples(index=False, name=None))
    assert found == sorted((*system, *other) for system, *other in expected)
    assert results["rho"].notna().all() and results["rho"].between(-1, 1).all()
    assert (results["ci_low"] <= results["ci_high"]).all()
    assert (results["ci_speakers_low"] <= results["ci_speakers_high"]).all()
    expected = pd.read_parquet(smoke.folder / "expected_rho.parquet")
    assert set(expected["kind"]) == {"exact", "estimated"}
    clips = pd.read_parquet(smoke.folder / "clips.parquet")
    assert len(clips) == 100 and clips["speaker"].nunique() == 25
    assert (results["n"] == 20).all()
    assert smoke.rejected.read_text().strip() == "clip_id,path,reason"


def test_smoke_ranks_no_network_since_two_epochs_teach_little(smoke):
    summary = pd.read_csv(smoke.figures / "fig3.csv")
    networks = summary[summary["architecture"] > 0]
    assert networks["note"].str.contains("not ranked").all()
    assert not (smoke.figures / "differences_features.png").exists()  # of the ranked ones
    assert set(pd.read_csv(smoke.figures / "fig2.csv")["architecture"]) == {0}


def test_smoke_leaves_executed_notebooks_to_read(smoke):
    pictures = {
        "01": 2,
        "02": 1,
        "03": 1,
        "04": 4,
        "05": 2,
        "06": 2,
        "07": 1,  # of the encoders that ship: two checkpoints are no curve
        "08": 3,
        "15": 3,
        "16": 1,
    }
    for number, expected in pictures.items():
        notebook = executed(smoke, number)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells)
        kinds = [kind for output in outputs(notebook) for kind in output.get("data", {})]
        assert kinds.count("image/png") == expected, number
        streams = {output.name for output in outputs(notebook) if "name" in output}
        assert streams <= {"stdout"}, f"{number} warns: {said(notebook)}"
    assert "<audio" in str(outputs(executed(smoke, "01")))
    shown = str(outputs(executed(smoke, "04")))
    assert shown.count("Shares are those of simulated listeners.") == 6
    assert "bold" in (smoke.figures / "table1.html").read_text()
    assert "20 clips: too few (50)" in shown and "the data cannot speak to it" in shown


def test_a_second_run_is_up_to_date_and_quick(smoke, capsys):
    start = time.monotonic()
    steps = run("smoke")
    assert time.monotonic() - start < 5
    assert [step.ran for step in steps] == [False] * len(read_notebooks()[1:])
    assert "table1  csv html tex" in capsys.readouterr().out


def test_plain_papermill_from_another_folder(smoke, home, tmp_path):
    alone = Run("alone")
    shutil.copytree(smoke.folder, alone.folder)
    alone.predictions.unlink()
    shutil.rmtree(alone.models)
    command = [sys.executable, "-m", "papermill", str(home / "notebooks" / "03_training.ipynb")]
    given = ["run", "alone", "encoder", "fbank", "architecture", "2"]
    pairs = [word for pair in zip(given[::2], given[1::2]) for word in ("-p", *pair)]
    done = subprocess.run(
        [*command, "out.ipynb", *pairs], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    predictions = pd.read_parquet(alone.predictions)
    assert set(predictions["encoder"]) == {"fbank"} and set(predictions["architecture"]) == {0, 2}
    assert (alone.figures / "learning_curves.png").is_file()
    assert "720 predictions of 2 systems" in said(nbformat.read(tmp_path / "out.ipynb", 4))
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]


@pytest.mark.parametrize(
    "number, run, encoder, message",
    [
        ("02", "empty", "fbank", "run notebooks/01_data_preparation.ipynb with run = 'empty'"),
        ("03", "empty", "fbank", "run notebooks/01_data_preparation.ipynb with run = 'empty'"),
        ("04", "empty", "fbank", "run notebooks/01_data_preparation.ipynb with run = 'empty'"),
        ("03", "clips", "fbank", r"run notebooks/02_embedding_extraction.ipynb with .*'fbank'"),
        ("04", "clips", "fbank", "run notebooks/03_training.ipynb with run = 'clips'"),
        ("06", "empty", "fbank", "run notebooks/01_data_preparation.ipynb with run = 'empty'"),
        ("06", "clips", "fbank", r"run notebooks/02_embedding_extraction.ipynb with .*'fbank'"),
        ("03", "smoke", ["fbank", "mfcc"], r"02_embedding_extraction.ipynb with .*'mfcc'"),
        ("04", "smoke", "mfcc", r"run notebooks/03_training.ipynb with encoder = \['mfcc'\]"),
        ("04", "smoke", "untrained", r"03_training.ipynb with svr = \['untrained'\]"),
        ("08", "empty", "fbank", "run notebooks/01_data_preparation.ipynb with run = 'empty'"),
        ("08", "clips", "fbank", "run notebooks/03_training.ipynb with run = 'clips'"),
    ],
)
def test_a_notebook_before_the_one_it_needs(smoke, number, run, encoder, message):
    if run == "clips":
        Run(run).folder.mkdir(parents=True, exist_ok=True)
        for name in ("clips.parquet", "corpus.json"):
            shutil.copy(smoke.folder / name, Run(run).folder / name)
    svr = encoder if "svr" in message else "fbank"
    given = {"run": run, "encoder": encoder, "svr": svr, "variant_encoder": encoder}
    with pytest.raises(FileNotFoundError, match=message):
        run_here(path_of(number), given)


def test_a_run_without_the_small_encoders_says_so(smoke, capsys):
    shown = smoke.figures / "probes.csv"
    before = shown.read_bytes()
    absent = {"hubert": ["org/model"], "wav2vec2": ["wav2vec2-mini"], "control": ""}
    run_here(path_of("08"), {"run": "smoke", "probed": ["loudness", "mood"], **absent})
    said = capsys.readouterr().out
    assert "org/model is not trained with every architecture in this run" in said
    assert "mood is no column of the clip table: it is left out" in said
    assert set(pd.read_csv(shown)["encoder"]) == {"wav2vec2-mini", "fbank"}
    shown.write_bytes(before)


def test_the_released_code_trains_and_wants_a_fixed_length(smoke):
    alone = Run("released")
    for name in ("clips.parquet", "corpus.json", "features", "corpus"):
        source, copy = smoke.folder / name, alone.folder / name
        alone.folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    given = {**SMALL, "run": "released", "variant": "released", "architecture": 2}
    with pytest.raises(ValueError, match="a fixed length.*set padding = 'paper' or a number"):
        run_here(path_of("03"), given)
    run_here(path_of("03"), given | {"padding": "paper"})
    assert set(pd.read_parquet(alone.predictions)["architecture"]) == {0, 2}  # 0: the SVR


def test_variants_leave_the_main_systems_alone(smoke):
    table = pd.read_csv(smoke.figures / "variants.csv")
    changed = table[table["variant"] != "paper"]
    defined = changed["constant"] == 0
    assert (changed["difference"].notna() == defined).all() and (changed["seeds"] == 2).all()
    assert (changed.loc[defined, "n_speakers"] > 1).all()
    assert sorted(path.name for path in (smoke.folder / "variants").iterdir()) == sorted(
        {"paper", "output", "weight_norm", "but_output", "released"}
    )
    assert "start dead" in said(executed(smoke, "06"))


def test_quickstart_with_the_system_that_ships(home, tmp_path, quick_kernels):
    source, executed = home / "notebooks" / "00_quickstart.ipynb", tmp_path / "out.ipynb"
    execute_notebook(str(source), str(executed), cwd=tmp_path, progress_bar=False)
    notebook = nbformat.read(tmp_path / "out.ipynb", 4)
    shown, this = outputs(notebook), Run("quickstart")
    kinds = [kind for output in shown for kind in output.get("data", {})]
    assert kinds.count("image/png") == 4 and "<audio" in str(shown)
    assert {output.name for output in shown if "name" in output} == {"stdout"}
    assert "What it must not be used for" in said(notebook)
    for name in ("recording", "padding", "attention", "pipeline"):
        picture = this.figures / f"{name}.png"
        assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert imread(picture).std() > 0.05, f"{name} is blank"
    assert (this.figures / "pipeline.png").stat().st_size < 150_000
    shares = pd.read_csv(this.figures / "pipeline.csv")
    assert list(shares["emotion"]) == list(load_system().emotions)
    assert shares[["share", "low", "high"]].stack().between(0, 1).all()
    # README's picture is this one, drawn with the system that ships now
    published = pd.read_csv(PROJECT / "figures" / "published" / "quickstart" / "pipeline.csv")
    pd.testing.assert_frame_equal(published, shares, rtol=0, atol=0.01)


@pytest.mark.parametrize("architecture", [1, 2])
def test_quickstart_with_a_recording_and_a_system_of_ones_own(home, tmp_path, architecture, capsys):
    sizes, encoder = Sizes.of(SIZES), load_encoder("fbank", "cpu")
    networks = {name: build(architecture, encoder.width, sizes) for name in ("a", "b")}
    interval = Intervals({}, {}, speakers=0, clips=0)
    facts = architecture, sizes, Training(), 8000, interval, "# untrained, of nothing"
    write_system(tmp_path / "system", networks, encoder.settings, *facts)
    write_clip(tmp_path / "mine.wav", 0.9, 200, 0)  # longer than "any clip of training": 0.5 s
    mine = {"system": str(tmp_path / "system"), "recording": str(tmp_path / "mine.wav")}
    run_here(path_of("00"), {"run": "own", "emotion": "b", **mine})
    printed = capsys.readouterr().out
    assert "mine.wav: 14,400 samples" in printed and "this clip: L = 51 frames" in printed
    assert ("This system has no attention" in printed) == (architecture == 1)
    weights = pd.read_csv(Run("own").figures / "attention.csv")
    assert set(weights) == {"state", "b"} | ({"a"} if architecture == 2 else set())
    with pytest.raises(AssertionError, match="untrained, of nothing knows a, b"):
        run_here(path_of("00"), {"run": "own", "emotion": "c", **mine})


def write_clip(path, seconds, pitch, seed):
    """A tone in noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(int(16_000 * seconds)) / 16_000
    noise = np.random.default_rng(seed).normal(0, 0.05, len(time_s))
    soundfile.write(path, 0.2 * np.sin(2 * np.pi * pitch * time_s) + noise, 16_000)


def test_the_challenge_from_labels_to_submission(home, tmp_path, without_kernels, capsys):
    rng = np.random.default_rng(0)
    splits = {"train": 24, "devel": 20, "test": 10}
    (tmp_path / "data" / "lab").mkdir(parents=True)
    for start, (split, n) in enumerate(splits.items()):
        names = [f"{1000 * start + clip:05d}.wav" for clip in range(n)]
        labels = pd.DataFrame({"filename": names})
        for emotion in PAPER_EMOTIONS:
            labels[emotion] = "?" if split == "test" else rng.integers(0, 11, n) / 10
        labels.to_csv(tmp_path / "data" / "lab" / f"{split}.csv", index=False)
        for number, name in enumerate(names):
            write_clip(tmp_path / "data" / "wav" / name, rng.uniform(0.3, 0.9), 200, number)

    steps = run("compare23", {**SMALL, "root": str(tmp_path)})
    assert [step.ran for step in steps] == [True] * 5  # the paper's notebooks
    this = Run("compare23")
    submission = pd.read_csv(this.folder / "submission.csv")
    assert list(submission.columns) == ["filename", *PAPER_EMOTIONS]
    assert list(submission["filename"]) == names
    assert submission[list(PAPER_EMOTIONS)].notna().all(axis=None)
    assert pd.read_csv(tmp_path / "data" / "lab" / "test.csv")["Anger"].eq("?").all()

    devel = pd.read_parquet(this.results)
    assert set(devel["split"]) == {"devel"} and (devel["n"] == 20).all()
    assert set(devel["architecture"]) == {0, 1, 2}
    flat = devel["note"].str.contains("predictions hardly vary", na=False)
    ranked = flat.groupby(devel["architecture"]).mean() < 0.5
    better = devel.groupby("architecture")["rho"].mean()[ranked].idxmax()
    predictions = pd.read_parquet(this.predictions)
    of_best = predictions[(predictions["split"] == "test") & predictions["architecture"].eq(better)]
    of_best = of_best.pivot(index="clip_id", columns="emotion", values="prediction")
    np.testing.assert_allclose(of_best[list(PAPER_EMOTIONS)], submission[list(PAPER_EMOTIONS)])
    assert of_best["Anger"].nunique() > 1

    table2 = pd.read_csv(this.figures / "table2.csv")
    assert (table2["baseline"] == "paper").all() and (table2["baseline_mean_rho"] == 0.5).all()
    assert (pd.read_csv(this.figures / "table1.csv")["source"] == "paper").any()
    shown = capsys.readouterr().out
    assert "imulated" not in shown
    expected = pd.read_parquet(this.folder / "expected_rho.parquet")
    assert expected.empty  # the number of raters is not given
    assert devel["ci_speakers_low"].isna().all() and devel["ci_low"].notna().all()
    assert "simulated" not in (this.figures / "table1.html").read_text()
    shares = pd.read_parquet(this.folder / "clips.parquet")[list(PAPER_EMOTIONS)].dropna()
    exceed = (shares > 0.5).to_numpy().mean()
    assert f"{exceed:.3f}" in shown


def test_six_emotions_in_crema_d_s_layout(home, tmp_path):
    folder = tmp_path / "processedResults"
    folder.mkdir()
    rows = []
    for number, (actor, kind) in enumerate(product(range(1001, 1013), ("ANG", "SAD"))):
        name = f"{actor}_IEO_{kind}_XX"
        write_clip(tmp_path / "AudioWAV" / f"{name}.wav", 0.5, 150 + 10 * number, number)
        votes = np.random.default_rng(number).multinomial(10, [1 / 6] * 6)
        seen = np.random.default_rng([number, 1]).multinomial(10, [1 / 6] * 6)
        for channel in (1, 2, 3):  # voice, face, both
            rows.append((f"{channel}{number:05d}", *(votes if channel == 1 else seen), name, 10))
    (tmp_path / "AudioWAV" / "1012_IEO_SAD_XX.wav").write_bytes(b"")
    columns = ["", *"ADFHNS", "fileName", "numResponses"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "tabulatedVotes.csv", index=False)
    actors = pd.DataFrame({"ActorID": range(1001, 1013), "Age": 40, "Sex": "Female"})
    actors = actors.assign(Race="Asian", Ethnicity="Not Hispanic")
    actors.to_csv(tmp_path / "VideoDemographics.csv", index=False)

    notebooks, given = read_notebooks(), {**SMALL, "root": str(tmp_path)}
    parameters = read_profile("crema_d", given, notebooks).parameters
    for number in ("01", "02", "03", "04", "06"):
        run_here(path_of(number), parameters)
    this = Run("crema_d")
    clips = pd.read_parquet(this.folder / "clips.parquet")
    assert len(clips) == 23 and clips.groupby("speaker")["split"].nunique().max() == 1
    assert "empty file" in this.rejected.read_text()
    results = pd.read_parquet(this.results)
    assert results["emotion"].nunique() == 6
    assert set(results["split"]) == {"devel", "test"}
    assert set(pd.read_parquet(this.folder / "expected_rho.parquet")["kind"]) == {"estimated"}
    votes = pd.read_parquet(this.folder / "votes.parquet")
    panels = {"voice", "face panel", "audio-visual panel", "intended emotion"}
    assert set(votes["panel"]) == panels and (votes["panel"].value_counts() == 23).all()
    worth = pd.read_csv(this.figures / "worth.csv")
    assert panels - {"voice"} < set(worth["who"]) and worth["listeners"].max() == 6
    assert not (this.folder / "submission.csv").exists()
    variants = pd.read_csv(this.figures / "variants.csv")
    assert {"paper", "output", "released"} < set(variants["variant"])
    assert (variants["networks"] == 4).all() and {results["n"].max()} == {*variants["n"].dropna()}
    table1 = pd.read_csv(this.figures / "table1.csv")
    assert {"Disgust", "Neutral"} <= set(table1.columns) and (table1["source"] == "ours").all()
