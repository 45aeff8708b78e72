"""The drill: a toy of everything that can be added runs through the workbook, from outside it."""

import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from emoshare_utils.__main__ import main
from emoshare_utils.paths import Run

PROJECT = Path(__file__).parents[1]
PROFILE = """
base: smoke
run: toys
extensions: [toy_extension.py]
notebooks: ["01", "02", "03", "04", "08"]
corpus: filenames
root: recordings
options: {language: de}
encoder: [peaks, fbank]
svr: [peaks]
architecture: [1, 9]
training: {loss: absolute, select: pearson}
hubert: [peaks]
wav2vec2: [fbank]
control: ""
reference: ""
probed: [loudness]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, with recordings whose loudness is one of the shares."""
    for name in ("notebooks", "profiles"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    shutil.copy(PROJECT / "tests" / "toy_extension.py", tmp_path)
    (tmp_path / "profiles" / "toys.yaml").write_text(PROFILE)
    (tmp_path / "recordings").mkdir()
    rng = np.random.default_rng(0)
    for number in range(80):  # 20 of devel, the fewest for an interval
        split = ("train", "train", "devel", "test")[number % 4]
        joy, fear = rng.integers(0, 101, 2)
        samples = rng.normal(0, 0.01 + 0.2 * joy / 100, rng.integers(4000, 9000)).clip(-1, 1)
        name = f"{split}_{split}{number // 4 % 3}_{joy}_{fear}_{number}.wav"
        soundfile.write(tmp_path / "recordings" / name, samples, 16_000)
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_a_toy_of_each_runs_through_the_workbook_without_editing_it(project, quick_kernels):
    assert main(["run", "toys"]) == 0
    this = Run("toys")

    clips = pd.read_parquet(this.folder / "clips.parquet")
    assert set(clips["language"]) == {"de"} and len(clips) == 80
    index = pd.concat(map(pd.read_parquet, (this.features).glob("peaks-*/shard-*.parquet")))
    lengths = index.set_index("clip_id")["length"]
    n_samples = (clips.set_index("clip_id")["duration_s"] * 16_000).round().astype(int)
    assert len(lengths) == 80 and (lengths == n_samples[lengths.index] // 80).all()

    predictions = pd.read_parquet(this.predictions)
    assert set(predictions["architecture"]) == {0, 1, 9}
    history = pd.read_parquet(this.models / "peaks" / "architecture_9-seed_0" / "history.parquet")
    assert {"train_mse", "train_loss", "devel_rho", "devel_pearson"} <= set(history.columns)

    results = pd.read_parquet(this.results)
    of_one = predictions.query(
        "encoder == 'peaks' and architecture == 9 and emotion == 'Joy' and split == 'devel'"
    )
    row = results.query(
        "encoder == 'peaks' and architecture == 9 and emotion == 'Joy' and split == 'devel'"
    ).iloc[0]
    expected = np.corrcoef(of_one["share"], of_one["prediction"])[0, 1]
    assert row["pearson"] == pytest.approx(expected)
    assert row["pearson_ci_low"] <= row["pearson"] <= row["pearson_ci_high"]

    table1 = pd.read_csv(this.figures / "table1.csv")
    assert set(table1["architecture"]) == {0, 1, 9}
    assert "Architecture 9" in (this.figures / "table1.html").read_text()
    gains = pd.read_csv(this.figures / "differences_attention.csv")["contrast"]
    assert "peaks: A9 − A1" in set(gains)
    gap = pd.read_csv(this.figures / "objectives.csv")["contrast"]
    assert gap[0] == "peaks − Mel filterbank, mean of A1 and A9"
    executed = nbformat.read(this.notebooks / "04_results.ipynb", 4)
    assert ">mean r<" in str(executed)
