"""Damage at rest: whatever happens to a file that a run keeps, it is named and made again."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from emoshare_utils.corpora import simulated
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.features.store import FeatureStore, StoreError, open_store
from emoshare_utils.files import DamagedError, read_json, write_csv, write_json
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.models.weights import read_tensors, write_tensors
from emoshare_utils.results.predictions import read_predictions
from emoshare_utils.storage import read_parquet, write_parquet
from emoshare_utils.training import checkpoints
from emoshare_utils.training.baseline import collect_baselines, fit_baseline
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import collect, train_system

FLIPS = 300  # of each kind of file that is read alone
SIZES = Sizes(cnn=(8,), lstm=8, ffnn_1=(8,), ffnn_2=(8,))
TRAINING = Training(batch_size=16, epochs=2, patience=9, start_at_mean=True)
TABLE = pd.DataFrame(
    {
        "clip_id": ["a", "NA", None],
        "share": [0.25, np.nan, 1.0],
        "n_raters": pd.array([9, None, 8], dtype="Int64"),
        "speaker": pd.array(["x", None, "007"], dtype="string"),
    }
)


def flipped(file: Path, number: int) -> None:
    """Flip one random bit."""
    content = bytearray(file.read_bytes())
    bit = np.random.default_rng([number, len(content)]).integers(8 * len(content))
    content[bit // 8] ^= 1 << (bit % 8)
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "lost": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    **{f"bit {i}": lambda file, i=i: flipped(file, i) for i in range(4)},
}


def files_below(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            yield str(file.relative_to(folder))


def flips(file: Path, read: Callable[[Path], object], same: Callable[[object], bool]) -> None:
    """Each flipped bit is named, or changes nothing."""
    whole, named = file.read_bytes(), 0
    for number in range(FLIPS):
        flipped(file, number)
        try:
            assert same(read(file)), f"flip {number} was believed"
        except DamagedError as error:
            assert str(file) in str(error)
            named += 1
        file.write_bytes(whole)
    assert named > 0.8 * FLIPS and same(read(file))


def test_a_record_a_table_and_weights_tell_of_every_flipped_bit(tmp_path):
    record = {"about": {"seed": 0, "sizes": [1, 2.5, None]}, "name": "fbank"}
    write_json(tmp_path / "a.json", record)
    flips(tmp_path / "a.json", read_json, lambda read: read.items() >= record.items())
    write_parquet(tmp_path / "a.parquet", TABLE)
    flips(tmp_path / "a.parquet", read_parquet, lambda read: _equal(read, TABLE))
    weights = {"conv.weight": torch.randn(3, 4, 5), "scale": torch.tensor(2)}
    write_tensors(tmp_path / "a.safetensors", weights)
    flips(tmp_path / "a.safetensors", read_tensors, lambda read: _same(read, weights))


def _equal(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return one.equals(other) and one.dtypes.equals(other.dtypes)


def _same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_other_programs_read_what_is_kept(tmp_path):
    write_parquet(tmp_path / "a.parquet", TABLE)
    assert _equal(pd.read_parquet(tmp_path / "a.parquet"), TABLE)
    write_json(tmp_path / "a.json", {"seed": 0})
    assert json.loads((tmp_path / "a.json").read_text())["seed"] == 0


def test_files_of_an_earlier_version_have_no_checksum_and_are_read(tmp_path):
    TABLE.to_parquet(tmp_path / "a.parquet", index=False)
    assert _equal(read_parquet(tmp_path / "a.parquet"), TABLE)
    (tmp_path / "a.json").write_text('{"seed": 0}')
    assert read_json(tmp_path / "a.json") == {"seed": 0}


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"null", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_record_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedError, match="a.json is damaged .*run the notebook that made it"):
        read_json(tmp_path / "a.json")


def test_a_spreadsheet_runs_no_cell_of_a_csv(tmp_path):
    cells = ["=1+1", "+1", "@SUM(A1)", "-2+3", "\t=1", "plain", "a=b", None]
    table = pd.DataFrame({"=name": cells, "rho": np.linspace(-1, 1, 8)})
    write_csv(tmp_path / "a.csv", table)
    read = pd.read_csv(tmp_path / "a.csv")
    assert list(read.columns) == ["'=name", "rho"]
    assert read["'=name"].tolist()[:7] == [
        "'=1+1",
        "'+1",
        "'@SUM(A1)",
        "'-2+3",
        "'\t=1",
        *cells[5:7],
    ]
    np.testing.assert_allclose(read["rho"], table["rho"])  # a negative number stays a number


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    return heard(tmp_path_factory.mktemp("features"), train=20, devel=10, test=4)


def test_a_system_that_is_damaged_is_trained_again(made, tmp_path, capsys):
    corpus, store = made

    def run():
        return train_system(corpus, store, 1, 0, tmp_path, SIZES, TRAINING, "cpu")

    whole = run()
    names = list(files_below(whole.folder))
    assert len(names) == 5  # system.json, predictions, history, two networks
    content = {name: (whole.folder / name).read_bytes() for name in names}
    capsys.readouterr()
    for name in names:
        for kind, damage in DAMAGE.items():
            damage(whole.folder / name)
            with_damage = (whole.folder / name).exists()
            left = collect(tmp_path, corpus, SIZES, TRAINING) if kind != "lost" else None
            again = run()
            said = capsys.readouterr().out
            assert again.predictions.equals(whole.predictions), (name, kind)
            assert again.history.equals(whole.history), (name, kind)
            named = name in said or "other settings" in said
            assert named or (name, kind) == ("system.json", "lost"), (name, kind)
            assert {n: (whole.folder / n).read_bytes() for n in names} == content, (name, kind)
            if left is not None and with_damage and len(left):  # it was read before it was mended
                assert left.equals(whole.predictions)


def test_a_checkpoint_that_is_damaged_begins_again(made, tmp_path, monkeypatch, capsys):
    corpus, store = made

    def run(models: Path):
        return train_system(corpus, store, 1, 0, models, SIZES, TRAINING, "cpu")

    whole = run(tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "take_best", _stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped")
    monkeypatch.undo()
    (folder,) = tmp_path.glob("stopped/*/*/checkpoint")
    content = {name: (folder / name).read_bytes() for name in files_below(folder)}
    for name in content:
        for kind in ("lost", "half", "bit 0"):
            folder.mkdir(exist_ok=True)
            for other, as_it_was in content.items():
                (folder / other).write_bytes(as_it_was)
            (folder.parent / "system.json").unlink(missing_ok=True)
            DAMAGE[kind](folder / name)
            assert run(tmp_path / "stopped").predictions.equals(whole.predictions), (name, kind)
            said = capsys.readouterr().out
            assert "resumes after" not in said, (name, kind)
            assert name in said or (name, kind) == ("state.json", "lost")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_baseline_that_is_damaged_is_fitted_again(made, tmp_path, capsys):
    whole = fit_baseline(*made, tmp_path, workers=1)
    for name in files_below(whole.folder):
        for kind in ("lost", "half", "bit 0"):
            DAMAGE[kind](whole.folder / name)
            collect_baselines(tmp_path, made[0])  # names what it leaves out
            again = fit_baseline(*made, tmp_path, workers=1)
            assert again.predictions.equals(whole.predictions) and again.grid.equals(whole.grid)
            assert name in capsys.readouterr().out or (name, kind) == ("baseline.json", "lost")


def test_a_store_that_is_damaged_is_made_again(corpus, tmp_path, capsys):
    encoder = load_encoder("fbank")
    features = tmp_path / "features"
    store = extract(corpus, encoder, features)
    frames = {clip: store.frames(clip) for clip in corpus.clips["clip_id"]}
    for name in list(files_below(features)):
        whole = (features / name).read_bytes()
        for kind, damage in DAMAGE.items():
            (features / name).write_bytes(whole)
            damage(features / name)
            try:
                before = open_store(features, "fbank")
                before.require(corpus.clips)
                for clip, expected in frames.items():
                    assert np.array_equal(before.frames(clip), expected), (name, kind)
            except (StoreError, FileNotFoundError) as error:
                assert "02_embedding_extraction" in str(error), (name, kind)
            again = extract(corpus, encoder, features)
            assert open_store(features, "fbank").folder == again.folder
            for clip, expected in frames.items():
                assert np.array_equal(again.frames(clip), expected), (name, kind)


def test_a_clip_table_that_is_damaged_is_named(corpus, tmp_path):
    corpus.save(tmp_path)
    for name in ("clips.parquet", "corpus.json"):
        whole = (tmp_path / name).read_bytes()
        for kind in ("half", "zeros", "bit 1"):
            DAMAGE[kind](tmp_path / name)
            with pytest.raises(DamagedError, match=name):
                Corpus.load(tmp_path)
            (tmp_path / name).write_bytes(whole)


def test_a_table_of_predictions_that_is_damaged_is_named(tmp_path):
    file = tmp_path / "predictions.parquet"
    write_parquet(file, pd.DataFrame({"encoder": ["fbank"], "architecture": [1]}))
    flipped(file, 0)
    with pytest.raises(DamagedError, match="predictions.parquet is damaged"):
        read_predictions(file, "fbank")


def test_a_simulated_clip_that_is_damaged_is_spoken_again(tmp_path):
    options = {"n_clips": 6, "speakers": 6}
    simulated.read(tmp_path, **options)
    content = {name: (tmp_path / name).read_bytes() for name in files_below(tmp_path)}
    for name in ("manifest.json", sorted(content)[-1]):
        for kind in ("lost", "half", "bit 0"):
            DAMAGE[kind](tmp_path / name)
            simulated.read(tmp_path, **options)
            assert {n: (tmp_path / n).read_bytes() for n in content} == content
