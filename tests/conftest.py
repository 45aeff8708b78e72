"""What several tests share: sounds, sound files, and a checked corpus of them."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# No test reaches a model hub or the models that a user has cached; set before transformers loads.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = str(Path(tempfile.gettempdir()) / "emoshare-tests-have-no-models")

if "PYTEST_XDIST_WORKER" in os.environ:  # a test file per core: one thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import kernels
import numpy as np
import pandas as pd
import pytest
import soundfile
from cells import run_here

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import COLUMNS, Corpus
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.runner import several, workbook

LONG = (  # the longest first
    "test_notebooks.py",
    "test_workbook.py",
    "test_extensions.py",
    "test_cluster.py",
    "test_pretrain.py",
    "test_multilingual.py",
    "test_check.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that all cores end together."""
    order = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


@pytest.fixture(scope="module")
def quick_workers():
    """Dask's local workers fork from one process, which has imported what all of them need.

    They have the environment of the first time.
    """
    dask = pytest.importorskip("dask")
    utils = pytest.importorskip("distributed.utils")
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        utils.get_mp_context().set_forkserver_preload(kernels.IMPORTED)
        yield


@pytest.fixture(scope="module")
def quick_kernels():
    """Notebooks' kernels fork from one process, which has imported what all of them need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jupyter_client.provisioning.local_provisioner.launch_kernel", kernels.Kernel)
        yield


@pytest.fixture
def without_kernels(monkeypatch):
    """`run` runs the notebooks' cells in this process."""

    def execute(notebook, given, this, extensions, kernels):
        run_here(notebook.path, given)

    monkeypatch.setattr(several, "how_many", lambda parameters: 1)
    monkeypatch.setattr(workbook, "execute", execute)


def sound(seed: int, n_samples: int = 4000) -> np.ndarray:
    """Noise that rises and falls, (n,) float32 in about [-0.5, 0.5]."""
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, n_samples)
    return (noise * np.sin(np.linspace(0, 9, n_samples)) ** 2).astype(np.float32)


@pytest.fixture(name="sound")
def sound_() -> Callable[..., np.ndarray]:
    return sound


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    """A clip table of `n` clips named clip0, clip1, ..., each by its own speaker."""

    def make(n: int, **columns) -> pd.DataFrame:
        table = pd.DataFrame({"clip_id": [f"clip{i}" for i in range(n)]})
        table["path"] = "wav/" + table["clip_id"] + ".wav"
        table["split"] = [("train", "devel", "test")[i % 3] for i in range(n)]
        table["speaker"] = [f"speaker{i}" for i in range(n)]
        table["language"], table["n_raters"], table["duration_s"] = "en", 5, float("nan")
        shares = {"Anger": np.linspace(0, 1, n), "Joy": np.linspace(1, 0, n)}
        return table[list(COLUMNS)].astype({"n_raters": "Int64"}).assign(**shares | columns)

    return make


@pytest.fixture
def corpus(tmp_path, table) -> Corpus:
    """Twelve short clips on disk, of different lengths, checked."""
    clips = table(12)
    (tmp_path / "corpus" / "wav").mkdir(parents=True)
    for i, path in enumerate(clips["path"]):
        soundfile.write(tmp_path / "corpus" / path, sound(i, 2000 + 500 * i), 16_000)
    checked, rejected = audio.check(Corpus("table", tmp_path / "corpus", ("Anger", "Joy"), clips))
    assert rejected.empty
    return checked


@pytest.fixture(scope="session")
def heard() -> Callable[..., tuple[Corpus, FeatureStore]]:
    """A corpus of two emotions, and frames that say how angry a clip sounds; test is masked."""

    def make(folder: Path, **splits: int) -> tuple[Corpus, FeatureStore]:
        rng, n = np.random.default_rng(0), sum(splits.values())
        share = rng.random((n, 2)).round(2)
        clips = pd.DataFrame({"clip_id": [f"clip{i}" for i in range(n)], "audio_checksum": "0"})
        clips["split"] = np.repeat(list(splits), list(splits.values()))
        clips["Anger"], clips["Boredom"] = share.T
        clips.loc[clips["split"] == "test", ["Anger", "Boredom"]] = np.nan
        frames = [rng.normal(0, 0.3, (rng.integers(4, 30), 5)) + pair[0] for pair in share]
        store = FeatureStore.create(folder, "fbank", 5, {"encoder": "fbank"})
        store.write_shard("shard-00000", clips, frames)
        return Corpus("made", Path("/nowhere"), ("Anger", "Boredom"), clips), store

    return make
