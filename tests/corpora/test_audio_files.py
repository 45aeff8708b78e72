"""Which files of a corpus are its audio, and what becomes of those that cannot be used."""

import os
import socket

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoshare_utils import corpora
from emoshare_utils.corpora import audio
from emoshare_utils.corpora.audio import AudioError, read_audio
from emoshare_utils.corpora.audio_files import audio_files

NAMES = ["a.wav", "b.FLAC", "c.Ogg", "d.mp3", "e.aiff", "f.opus", "g.oga", "h.au", "i.w64", "j.caf"]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_files_that_end_as_audio_does_in_any_folder(tmp_path):
    nested = [f"deep/er/{name}" for name in NAMES]
    touch(tmp_path, *NAMES, *nested, "clips.csv", "notes.txt", "film.mp4", "wav")
    assert audio_files(tmp_path) == {*NAMES, *nested}
    assert audio_files(tmp_path, "deep") == set(nested)
    assert audio_files(tmp_path, "nowhere") == set()


def test_hidden_files_and_what_is_no_regular_file_are_skipped(tmp_path):
    touch(tmp_path, "a.wav", "._a.wav", ".DS_Store", "__MACOSX/a.wav", "x/__MACOSX/a.wav")
    touch(tmp_path, ".ipynb_checkpoints/a.wav", ".hidden/a.wav", "folder.wav/inside.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to("a.wav")
    (tmp_path / "broken.wav").symlink_to("not there.wav")
    (tmp_path / "circle.wav").symlink_to("circle.wav")
    (tmp_path / "to pipe.wav").symlink_to("pipe.wav")
    (tmp_path / "round").symlink_to(".")
    assert audio_files(tmp_path) == {"a.wav", "link.wav", "folder.wav/inside.wav"}


def test_what_has_a_label_counts_if_it_is_there(tmp_path):
    touch(tmp_path, "a.m4a", "b", "._c.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    labelled = {"a.m4a", "b", "._c.wav", "pipe.wav", "folder.wav"}
    absent = {"d.wav", "b/c.wav", "nul\0.wav"}
    assert audio_files(tmp_path, ".", labelled | absent) == labelled


def test_a_pipe_is_not_opened_nor_a_folder_or_a_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    os.mkfifo("pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to("pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.wav")
        for name in ("pipe.wav", "folder.wav", "link.wav", "socket.wav", "/dev/zero"):
            with pytest.raises(AudioError, match="no regular file but a folder, pipe"):
                read_audio(tmp_path / name)
    (tmp_path / "circle.wav").symlink_to("circle.wav")
    with pytest.raises(OSError, match="symbolic links"):
        read_audio(tmp_path / "circle.wav")


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    with (tmp_path / "a.wav").open("wb") as file:
        file.truncate(audio.MOST_BYTES + 1)  # takes no room on disk
    with pytest.raises(AudioError, match="2,147,483,649 bytes, more than 2,147,483,648"):
        read_audio(tmp_path / "a.wav")


def test_the_content_says_what_a_file_is(tmp_path, sound):
    for name, form in (("a.flac", "WAV"), ("b.wav", "OGG"), ("c.m4a", "FLAC"), ("d", "AIFF")):
        soundfile.write((tmp_path / name).open("wb"), sound(0, 8000), 16_000, format=form)
        assert len(read_audio(tmp_path / name)) == 8000


@pytest.mark.parametrize("ending", [".m4a", ".aac", ".WMA", ".amr", ".webm"])
def test_an_ending_that_cannot_be_read_is_named(tmp_path, ending):
    heads = {".m4a": b"\0\0\0\x20ftypM4A ", ".aac": b"\xff\xf1\x50\x80", ".amr": b"#!AMR\n"}
    (tmp_path / f"a{ending}").write_bytes(heads.get(ending, b"\x1a\x45\xdf\xa3") + b"\1\2\3" * 500)
    expected = rf"files that end in {ending} cannot be read here; convert to WAV or FLAC, e.g. "
    with pytest.raises(AudioError, match=rf"{expected}ffmpeg -i in{ending} out.wav"):
        read_audio(tmp_path / f"a{ending}")


def test_a_corpus_of_any_format_is_read_and_the_rest_set_aside(tmp_path, sound):
    forms = {"wav": "WAV", "aiff": "AIFF", "opus": "OGG", "oga": "OGG", "au": "AU", "w64": "W64"}
    forms |= {"CAF": "CAF", "flac": "FLAC", "mp3": "MP3"}
    for ending, form in forms.items():
        for name in ("a", "b"):
            with (tmp_path / f"{name}.{ending}").open("wb") as file:
                subtype = "OPUS" if ending == "opus" else None
                soundfile.write(file, sound(0, 16_000), 16_000, format=form, subtype=subtype)
    (tmp_path / "x.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
    os.mkfifo(tmp_path / "y.wav")
    touch(tmp_path, "._a.wav", "__MACOSX/a.wav", ".ipynb_checkpoints/a.wav")
    paths = [f"{name}.{ending}" for ending in forms for name in ("a", "b")] + ["x.m4a", "y.wav"]
    splits = np.where([path.startswith("b") for path in paths], "devel", "train")
    clips = pd.DataFrame({"clip_id": paths, "path": paths, "split": splits, "Joy": 0.5})
    clips.to_csv(tmp_path / "clips.csv", index=False)
    corpus, dropped = corpora.load("table", tmp_path)
    assert not len(dropped)
    checked, rejected = audio.check(corpus)
    assert checked.clips["path"].tolist() == paths[:-2]
    assert (checked.clips["duration_s"] == 1).all()
    assert rejected["path"].tolist() == ["x.m4a", "y.wav"]
    assert "files that end in .m4a cannot be read here" in rejected["reason"].iloc[0]
    assert "no regular file" in rejected["reason"].iloc[1]
