"""A corpus of one's own: the commands of docs/corpora.md, and what `check` finds in a bad one."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoshare_utils.__main__ import main
from emoshare_utils.checking.check import check
from emoshare_utils.checking.new import new
from emoshare_utils.checking.report import WIDTH
from emoshare_utils.paths import Run
from emoshare_utils.runner.notebooks import WorkbookError, read_notebooks
from emoshare_utils.runner.profiles import read_profile

PROJECT = Path(__file__).parents[2]
DOCS = (PROJECT / "docs" / "corpora.md").read_text("utf-8")
SMALL = [
    *("encoder=fbank", "architecture=1", "training.epochs=2", "resamples=20"),
    *("sizes={cnn: [8], pool: 8, lstm: 8, ffnn_1: [8], ffnn_2: [8]}",),
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A project of its own, which is also the current folder."""
    for name in ("notebooks", "profiles"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    monkeypatch.setenv("EMOSHARE_EXTENSIONS", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def votes(home) -> pd.DataFrame:
    """Forty clips of ten speakers in recordings/, and five raters of each in votes.csv."""
    rng, rows = np.random.default_rng(0), []
    for i in range(40):
        path = home / "recordings" / f"s{i % 10}" / f"{i:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        high = rng.random()
        time_s = np.arange(int(16_000 * rng.uniform(0.5, 1.0))) / 16_000
        tone = 0.2 * np.sin(2 * np.pi * (100 + 200 * high) * time_s)
        soundfile.write(path, tone + rng.normal(0, 0.01, len(time_s)), 16_000)
        for rater in range(5):
            chosen = "Joy" if rng.random() < high else "Anger"
            chosen += ";Surprise" if rng.random() < 0.3 else ""
            rows.append((f"s{i % 10}/{i:02d}.wav", f"s{i % 10}", f"r{rater}", chosen))
    table = pd.DataFrame(rows, columns=["path", "speaker", "rater", "emotion"])
    table.to_csv(home / "votes.csv", index=False)
    return table


def documented() -> list[str]:
    """The three commands of docs/corpora.md."""
    section = DOCS.split("## Your own corpus in three commands")[1].split("\n## ")[0]
    return re.search(r"```sh\n(.*?)```", section, re.S).group(1).strip().splitlines()


def test_three_commands_lead_from_votes_to_figures(home, votes, capsys, without_kernels):
    write, look, figures = documented()
    assert write.startswith(".venv/bin/python -m emoshare_utils new ")
    assert main(shlex.split(write)[3:]) == 0
    assert main([*shlex.split(look)[3:], "--set", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "40: " in said and "per clip 5 at least, 5 (median), 5 at most" in said
    assert all(len(line) <= WIDTH for line in said.splitlines() if str(home) not in line)
    for emotion in ("Anger", "Joy", "Surprise"):
        assert re.search(rf"^    {emotion} +0\.\d\d +\d+% +\d\.\d\d +-$", said, re.M)
    assert "ceiling: rho of the expected share, not known: 40 clips: too few (50)" in said
    assert "Nothing stops this run." in said
    command, name = figures.split(" PROFILE=")
    assert command == "make figures"
    assert main(["run", name, "--set", *SMALL]) == 0
    this = Run(name)
    assert (this.figures / "table1.csv").is_file() and (this.figures / "fig2.png").is_file()
    clips = pd.read_parquet(this.folder / "clips.parquet").set_index("path")
    joy = votes["emotion"].str.contains("Joy").groupby(votes["path"]).mean()
    pd.testing.assert_series_equal(clips["Joy"], joy[clips.index], check_names=False)
    assert clips["n_raters"].eq(5).all()
    capsys.readouterr()
    assert check(name, {"encoder": "fbank", "architecture": 1, **settings()})
    said = capsys.readouterr().out
    assert re.search(r"^  fbank .* finished$", said, re.M)
    assert re.search(r"^  Mel filterbank \(A1\) +finished$", said, re.M)


def settings() -> dict:
    """What SMALL says, as `check` takes it."""
    sizes = {"cnn": [8], "pool": 8, "lstm": 8, "ffnn_1": [8], "ffnn_2": [8]}
    return {"training.epochs": 2, "sizes": sizes}


def found(capsys, name: str = "mine", **given) -> tuple[bool, str]:
    fine = check(name, {"encoder": "fbank", "svr": [], "architecture": [], **given})
    return fine, " ".join(capsys.readouterr().out.split())


def test_what_is_wrong_is_said_with_its_remedy(home, votes, capsys):
    new("mine", "votes.csv", "recordings")
    recordings = home / "recordings"
    shutil.copy(recordings / "s0" / "00.wav", recordings / "s0" / "10.wav")  # of one speaker
    soundfile.write(recordings / "s2" / "02.wav", np.zeros(8000), 16_000)  # silent
    loud = np.clip(np.random.default_rng(0).normal(0, 2, 8000), -1, 1)
    soundfile.write(recordings / "s3" / "03.wav", loud, 44_100)
    fine, said = found(capsys)
    assert fine, said
    assert "the same audio under two names: s0/00 = s0/10 -> keep one" in said
    assert "cannot be used, as s2/02: silent (1)" in said
    assert "clipped (over 0.1 % of samples at full scale): 1 clips, as s3/03" in said
    assert "another rate than 16,000 Hz, which most have: 1 clips, as s3/03" in said
    assert "shorter than 0.5 s: 1 clips, as s3/03" in said

    for i in range(11, 20):  # of all other speakers, and so of all splits
        shutil.copy(recordings / "s0" / "00.wav", recordings / f"s{i % 10}" / f"{i}.wav")
    assert "the same audio in two splits: s0/00 = s0/10" in found(capsys)[1]

    (recordings / "s4" / "04.wav").unlink()
    split = np.repeat(["train", "train", "train", "devel", "devel"], 5 * 2)  # of ten clips
    split = np.tile(split, 4)
    split[-25:] = "train"  # the last five, of speakers who are in devel
    votes = votes.assign(split=split)
    votes.to_csv(home / "votes.csv", index=False)
    fine, said = found(capsys)
    assert not fine
    assert said.count("label without audio, 1 found: s4/04") == 1
    assert "speaker in two splits: " in said and "set allow_missing: true" in said
    fine, said = found(capsys, allow_missing=True)
    assert not fine and "clips would be left out, more than max_rejected = 0.05 allows" in said


def test_a_rho_over_a_handful_of_clips_says_nothing(home, votes, capsys):
    votes.head(12 * 5).to_csv(home / "votes.csv", index=False)
    new("mine", "votes.csv", "recordings")
    said = found(capsys)[1]
    assert "few speakers in devel (" in said and "a rho over them says nothing" in said
    assert "either way" not in said


def test_without_a_corpus_the_rest_is_checked_all_the_same(home, votes, capsys):
    new("mine", "votes.csv", "recordings")
    shutil.rmtree(home / "recordings")
    assert main(["check", "mine"]) == 1
    said = capsys.readouterr().out
    assert "recordings' is not a folder" in " ".join(said.split())
    assert "Python 3" in said and "These stop the run" in said


@pytest.mark.parametrize("encoder", ["hubert-large", "org/no-such-model"])
def test_an_encoder_that_is_not_here(home, votes, capsys, monkeypatch, encoder):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing answers there
    new("mine", "votes.csv", "recordings")
    fine, said = found(capsys, encoder=encoder)
    assert not fine
    assert f"encoder {encoder!r} is not on this machine, and http://127.0.0.1:9 cannot be" in said
    assert "name that folder as the encoder" in said


def test_frames_made_elsewhere_are_looked_for_here_and_for_every_clip(home, votes, capsys):
    new("mine", "votes.csv", "recordings")
    fine, said = found(capsys, encoder="frames:own")
    assert not fine and f"{home / 'own'} is no folder" in said and "http" not in said
    for path in votes["path"].unique():
        file = home / "own" / f"{path.removesuffix('.wav')}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.zeros((3, 4)))
    fine, said = found(capsys, encoder="frames:own")
    assert fine, said
    (home / "own" / "s7" / "17.npy").unlink()
    fine, said = found(capsys, encoder="frames:own")
    assert not fine and "1 of 40 clips have no frames there: s7/17" in said


def test_a_device_that_is_not_here(home, votes, capsys):
    new("mine", "votes.csv", "recordings")
    fine, said = found(capsys, device="cuda:9")
    assert not fine and "device = 'cuda:9'" in said and "write device: auto" in said


def test_metadata_that_no_network_can_read(home, votes, capsys):
    new("mine", "votes.csv", "recordings")
    fine, said = found(capsys, training={"metadata": ["mood"]})
    assert not fine and "metadata = 'mood'" in said and "leave it out" in said


def test_a_loss_that_asks_how_many_listened_is_timed(home, votes, capsys):
    new("mine", "votes.csv", "recordings")
    said = found(capsys, training={"loss": "beta_binomial"}, architecture=[1])[1]
    assert "Mel filterbank (A1)" in said


def test_a_profile_is_written_once_and_reads_back(home, votes):
    file = new("mine", str(home / "votes.csv"), str(home / "recordings"), ["Joy", "Anger"])
    given = read_profile("mine", {}, read_notebooks())
    assert given.parameters["root"] == "recordings"
    assert given.parameters["options"] == {
        "labels": str(home / "votes.csv"),
        "shares": ["Joy", "Anger"],
    }
    assert [notebook.name[:2] for notebook in given.notebooks] == ["00", "01", "02", "03", "04"]
    assert given.parameters["recording"] == "recordings/s0/00.wav"
    before = file.read_bytes()
    with pytest.raises(WorkbookError, match=r"profiles/mine\.yaml is there: choose another name"):
        new("mine", "votes.csv", "recordings")
    assert file.read_bytes() == before


def test_paths_may_start_from_the_folder_of_the_labels(home, votes):
    votes.assign(path="recordings/" + votes["path"]).to_csv(home / "votes.csv", index=False)
    new("mine", "votes.csv", "recordings")
    given = read_profile("mine", {}, read_notebooks()).parameters
    assert given["root"] == "." and given["options"] == {"labels": "votes.csv"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["../mine", "votes.csv", "recordings"], "run = '../mine' cannot name a folder"),
        (["mine", "none.csv", "recordings"], "none.csv is not there"),
        (["mine", "votes.csv", "none"], "none is not a folder: give the one of the audio"),
    ],
)
def test_a_profile_that_cannot_be_written(home, votes, arguments, message):
    before = sorted((home / "profiles").iterdir())
    with pytest.raises(WorkbookError, match=message):
        new(*arguments)
    assert sorted((home / "profiles").iterdir()) == before
