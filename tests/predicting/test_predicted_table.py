"""Folders of recordings: a row each, whatever is in them, and nothing is done twice."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoshare_utils.__main__ import main
from emoshare_utils.corpora.audio import read_audio
from emoshare_utils.files import FolderError
from emoshare_utils.predicting import commands, table
from emoshare_utils.predicting.listing import recordings
from emoshare_utils.predicting.table import columns, predict_files
from emoshare_utils.predicting.trained import TrainedSystem, load_system


@pytest.fixture(scope="module")
def system(exported):
    return load_system(exported)


@pytest.fixture
def odd(tmp_path, sound):
    """A folder of twelve recordings, and of what people leave beside them."""
    folder = tmp_path / "odd"
    (folder / "deep" / "er").mkdir(parents=True)
    for i in range(10):
        soundfile.write(folder / f"clip{i:02d}.wav", sound(i, 3000 + 100 * i), 16_000)
    soundfile.write(folder / "deep" / "er" / "long.flac", sound(50, 40_000), 16_000)
    soundfile.write(folder / "deep" / "=1+1.wav", sound(51, 4000), 8000)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no audio")
    soundfile.write(folder / "short.wav", sound(0, 100), 16_000)
    (folder / "notes.txt").touch()
    (folder / ".hidden.wav").touch()
    return folder


@pytest.fixture
def predicted(monkeypatch):
    """How many clips were predicted, call by call."""
    calls, shares = [], TrainedSystem.shares

    def counted(self, clips):
        calls.append(len(clips))
        return shares(self, clips)

    monkeypatch.setattr(TrainedSystem, "shares", counted)
    return calls


def test_a_bad_file_is_set_aside_with_its_reason_and_the_rest_goes_on(odd, system, capsys):
    files = recordings([odd, odd / "clip00.wav", odd / "nothing.wav"])
    assert "1 other files are left out (.txt 1)" in capsys.readouterr().out
    found = predict_files(files, system)
    assert list(found) == columns(system.emotions)
    names = [os.path.relpath(path, odd) for path in found["path"]]
    assert names == [*sorted(names[:-1]), "nothing.wav"] and len(set(names)) == 16
    found.index = names
    problems = found["problem"][found["problem"] != ""]
    assert set(problems.index) == {"empty.wav", "text.wav", "short.wav", "nothing.wav"}
    assert problems["empty.wav"] == "empty file" and "100 samples" in problems["short.wav"]
    assert problems["nothing.wav"] == "No such file or directory"
    assert found.loc[problems.index, ["Anger", "Anger_low", "windows"]].isna().all(axis=None)
    good = found.drop(problems.index)
    assert good["windows"].to_dict() == dict.fromkeys(good.index, 1) | {"deep/er/long.flac": 8}
    for name, row in good.iterrows():
        alone = system.predict(read_audio(odd / name)).set_index("emotion").round(4)
        for emotion in system.emotions:
            ends = [row[emotion], row[f"{emotion}_low"], row[f"{emotion}_high"]]
            np.testing.assert_allclose(ends, alone.loc[emotion], atol=1.1e-4)


def test_the_same_command_goes_on_where_it_was_killed(
    odd, system, tmp_path, monkeypatch, predicted
):
    csv, files = tmp_path / "out.csv", recordings([odd])
    expected = predict_files(files, system)
    predicted.clear()
    monkeypatch.setattr(table, "PART_FILES", 4)
    write = table.write_parquet

    def write_two_and_stop(path, part):
        if path.stem == "000002":
            raise KeyboardInterrupt
        write(path, part)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(table, "write_parquet", write_two_and_stop)
        predict_files(files, system, csv)
    assert not csv.exists() and len(list((tmp_path / "out.csv.parts").glob("*.parquet"))) == 2
    done = sum(predicted[:2])
    predicted.clear()
    found = predict_files(files, system, csv)
    assert sum(predicted) == 12 - done > 0
    pd.testing.assert_frame_equal(found, expected)
    assert not (tmp_path / "out.csv.parts").exists()
    content = csv.read_bytes()

    predicted.clear()
    predict_files(files, system, csv)
    assert sum(predicted) == 0 and csv.read_bytes() == content
    read = pd.read_csv(csv)
    assert list(read) == columns(system.emotions) and len(read) == 15
    assert read["windows"].dropna().eq(read["windows"].dropna().astype(int)).all()
    assert b"1.0," not in content  # whole numbers stay whole beside rows without one


def test_what_has_changed_is_predicted_again(odd, system, run, tmp_path, sound, predicted):
    csv = tmp_path / "out.csv"
    first = predict_files(recordings([odd]), system, csv)
    soundfile.write(odd / "clip03.wav", sound(99, 7000), 16_000)
    soundfile.write(odd / "short.wav", sound(98, 7000), 16_000)
    shutil.copy(odd / "clip04.wav", odd / "moved.wav")  # the same bytes, predicted already
    predicted.clear()
    again = predict_files(recordings([odd]), system, csv)
    assert sum(predicted) == 2 and len(again) == len(first) + 1
    by_path = again.set_index("path")
    copied, original = by_path.loc[str(odd / "moved.wav")], by_path.loc[str(odd / "clip04.wav")]
    assert copied["Anger"] == original["Anger"]
    other = load_system(system.folder)
    object.__setattr__(other, "checksum", "another")
    predicted.clear()
    predict_files(recordings([odd]), other, csv)
    assert sum(predicted) == 14


def test_a_damaged_part_is_made_again(odd, system, tmp_path, capsys):
    parts = tmp_path / "out.csv.parts"
    parts.mkdir()
    (parts / "000000.parquet").write_bytes(b"damaged")
    found = predict_files(recordings([odd]), system, tmp_path / "out.csv")
    assert (
        "000000.parquet is damaged: its recordings are predicted again" in capsys.readouterr().out
    )
    assert len(found) == 15


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "", "\0\xff"])
def test_another_table_is_not_written_over(odd, system, tmp_path, content):
    csv = tmp_path / "mine.csv"
    csv.write_text(content, "latin-1")
    with pytest.raises(FolderError, match=r"mine.csv holds another table"):
        predict_files(recordings([odd]), system, csv)
    assert csv.read_text("latin-1") == content


def test_names_that_are_no_utf8_get_a_row(system, tmp_path, sound):
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9.wav")
    soundfile.write(tmp_path / "plain.wav", sound(0), 16_000)
    os.rename(tmp_path / "plain.wav", name)  # noqa: PTH104
    found = predict_files(recordings([tmp_path]), system, tmp_path / "out.csv")
    assert found["path"].tolist() == [f"{tmp_path}/caf\ufffd.wav"] and not found["problem"].any()


def test_memory_holds_a_few_dozen_recordings_at_a_time(odd, system, monkeypatch, predicted):
    monkeypatch.setattr(table, "PART_BYTES", 20_000)
    predict_files(recordings([odd]), system)
    assert max(predicted) <= 4 and sum(predicted) == 12


def test_the_command_line(odd, exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands, "MOST_PICTURES", 2)
    monkeypatch.chdir(tmp_path)
    to = ["--system", str(exported)]
    assert main(["predict", str(odd), *to, "--csv", "out.csv", "--picture"]) == 0
    said = capsys.readouterr().out
    assert f"set aside: {odd}/text.wav: not readable as audio" in said
    assert "longer than any clip of training (0.6 s), so read in windows" in said
    assert "whose shares are averaged: 1 of " in said
    pictures = sorted((tmp_path / "out_pictures").iterdir())
    assert len(pictures) == 2 and all(file.read_bytes()[:4] == b"\x89PNG" for file in pictures)
    assert main(["predict", str(odd / "clip00.wav"), *to]) == 0
    assert "emotion" in (said := capsys.readouterr().out) and "high" in said
    assert main(["predict", str(odd / "text.wav"), "nothing.wav", *to]) == 1
    assert main(["predict", str(odd), "--system", str(odd)]) == 2
    assert "holds no trained system: it has no system.json" in capsys.readouterr().err


def test_export_on_the_command_line(run, tmp_path, capsys):
    to = tmp_path / "exported"
    about = ["--encoder", "mfcc", "--architecture", "1", "--seed", "0", "--to", str(to)]
    assert main(["export", str(run), *about]) == 0
    assert "# MFCC (A1), table" in capsys.readouterr().out
    assert load_system(to).emotions == ("Anger", "a/b")
    assert main(["export", str(run), *about]) == 2
    assert "name a new folder" in capsys.readouterr().err
