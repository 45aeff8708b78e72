"""Labels that name files in another way: the message says what differs."""

import unicodedata

import pytest

from emoshare_utils import corpora
from emoshare_utils.corpora.clip_table import CorpusError
from emoshare_utils.corpora.mismatch import explain

NFC, NFD = (unicodedata.normalize(form, "wav/zürich.wav") for form in ("NFC", "NFD"))
AUDIO = {"wav/a.wav", "wav/b.wav", "wav/d.WAV", NFD}


@pytest.mark.parametrize(
    ("path", "file", "remedy"),
    [
        ("wav\\a.wav", "wav/a.wav", "write / in place of \\"),
        ("WAV/B.wav", "wav/b.wav", "mind capital letters"),
        ("wav/d.wav", "wav/d.WAV", "mind capital letters"),
        ("wav/a", "wav/a.wav", "write the ending, .wav"),
        ("wav/a.mp3", "wav/a.wav", "write the ending, .wav"),
        ("a.wav", "wav/a.wav", "write the folder as it is in the corpus folder, which is root"),
        (NFC, NFD, "an accent is coded in two ways (Unicode NFC and NFD): use the file's"),
        (
            "C:\\data\\wav\\a.wav",
            "wav/a.wav",
            "write / in place of \\, and write the folder as it is in the corpus folder, which is "
            "root",
        ),
    ],
)
def test_what_differs_is_said(path, file, remedy):
    said = explain([path, "other.wav"], AUDIO)
    assert said == (f"1 of them are there under another name, as {path!r} for {file!r}: {remedy}")


def test_nothing_is_said_where_nothing_resembles_or_two_files_do():
    assert explain(["x.wav", ".", ""], AUDIO) == ""
    assert explain(["a.wav"], {"one/a.wav", "two/a.wav"}) == ""


def test_the_error_says_it_instead_of_offering_to_drop_every_clip(tmp_path, write_audio):
    write_audio(*(tmp_path / f"wav/{i}.wav" for i in range(6)))
    rows = [f"wav\\{i}.wav,s{i % 3},0.5" for i in range(6)]
    (tmp_path / "clips.csv").write_text("path,speaker,Joy\n" + "\n".join(rows) + "\n")
    with pytest.raises(CorpusError) as refused:
        corpora.load("table", tmp_path)
    assert "6 of them are there under another name" in str(refused.value)
    assert "allow_missing" not in str(refused.value)
    for path in (tmp_path / "wav").iterdir():
        path.rename(path.with_stem(f"clip{path.stem}"))
    with pytest.raises(CorpusError) as refused:
        corpora.load("table", tmp_path)
    assert str(refused.value).endswith(
        "No label has its file: root is the folder that the paths start from, and has 6 audio "
        "files, as wav/clip0.wav"
    )
    (tmp_path / "clips.csv").write_text("0.wav,s0,0.5\n1.wav,s1,0.5\n")
    with pytest.raises(CorpusError, match="its first line, 0.wav, s0, 0.5, looks like a clip's"):
        corpora.load("table", tmp_path)
