"""The clip table: what is refused, what is dropped and recorded, and how speakers are split."""

import re
import unicodedata

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.corpora.clip_table import (
    COLUMNS,
    RESERVED,
    Corpus,
    CorpusError,
    resolve_inside,
)
from emoshare_utils.corpora.reading import speaker_splits
from emoshare_utils.corpora.validation import limit_rejected, validate
from emoshare_utils.results import tables
from emoshare_utils.training.predictions import PREDICTION_COLUMNS


@pytest.fixture
def check(tmp_path):
    """Validate a table of shares Anger and Joy, with all its audio there unless said otherwise."""

    def run(clips, audio=None, allow_missing=False):
        audio = set(clips["path"]) if audio is None else audio
        corpus = Corpus("table", tmp_path, ("Anger", "Joy"), clips)
        return validate(corpus, audio, tmp_path / "labels.csv", allow_missing)

    return run


# On disk


def test_a_saved_corpus_loads_as_it_was(tmp_path, table):
    corpus = Corpus("crema_d", tmp_path, ("Anger", "Joy"), table(5, age=30), "simulated listeners")
    corpus.save(tmp_path / "run")
    loaded = Corpus.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.clips, corpus.clips)
    assert (loaded.name, loaded.root, loaded.emotions) == ("crema_d", tmp_path, ("Anger", "Joy"))
    assert loaded.simulated


@pytest.mark.parametrize("absent", ["clips.parquet", "corpus.json"])
def test_a_corpus_that_was_never_prepared_names_the_notebook_to_run(tmp_path, table, absent):
    Corpus("table", tmp_path, ("Anger", "Joy"), table(3)).save(tmp_path / "mine")
    (tmp_path / "mine" / absent).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{absent}.*01_data_preparation.*'mine'"):
        Corpus.load(tmp_path / "mine")


def test_a_split_and_its_shares(tmp_path, table):
    corpus = Corpus("table", tmp_path, ("Anger", "Joy"), table(7))
    assert list(corpus.split("devel")["clip_id"]) == ["clip1", "clip4"]
    np.testing.assert_allclose(corpus.shares("devel"), [[1 / 6, 5 / 6], [4 / 6, 2 / 6]])


# Paths


@pytest.mark.parametrize("path", ["../x.wav", "wav/../../x.wav", "/etc/x.wav", "wav/out.wav"])
def test_a_path_that_leaves_the_corpus_folder_is_refused(tmp_path, table, check, path):
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "out.wav").symlink_to(tmp_path.parent / "elsewhere.wav")
    clips = table(3)
    clips.loc[2, "path"] = path
    for allow_missing in (False, True):
        with pytest.raises(CorpusError, match=rf"'{path}' leaves the corpus folder"):
            check(clips, allow_missing=allow_missing)


def test_a_path_through_a_linked_folder_is_refused(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "wav").symlink_to(tmp_path)
    with pytest.raises(CorpusError, match="leaves the corpus folder"):
        resolve_inside(tmp_path / "corpus", "wav/x.wav")


@pytest.mark.parametrize("path", ["loop/x.wav", "loop", "a\0.wav"])
def test_a_path_that_leads_nowhere_is_refused(tmp_path, table, check, path):
    (tmp_path / "loop").symlink_to("loop")
    clips = table(6)
    clips.loc[2, "path"] = path
    message = rf"labels\.csv: the path {re.escape(repr(path))} leads nowhere"
    with pytest.raises(CorpusError, match=message):
        check(clips, allow_missing=True)


@pytest.mark.parametrize("path", [".", "wav", "wav/..", "x" * 5000])
def test_a_path_that_is_no_audio_file_is_a_label_without_audio(tmp_path, table, check, path):
    clips = table(9)
    audio = set(clips["path"][1:])
    clips.loc[0, "path"] = path
    with pytest.raises(CorpusError, match="label without audio, 1 found: clip0"):
        check(clips, audio)
    corpus, dropped = check(clips, audio, allow_missing=True)
    assert len(corpus.clips) == 8 and dropped["path"].tolist() == [path]


def test_paths_inside_are_kept_also_where_the_corpus_folder_is_a_link(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus" / "alias.wav").symlink_to("x.wav")
    inside = tmp_path / "corpus" / "x.wav"
    assert resolve_inside(tmp_path / "link", "x.wav") == inside
    assert resolve_inside(tmp_path / "corpus", "alias.wav") == inside


# Columns


def test_columns_that_a_corpus_does_not_know_are_null_and_come_in_order(table, check):
    clips = table(6)
    clips.insert(0, "age", 30)
    corpus, _ = check(clips.drop(columns=["speaker", "language", "n_raters", "duration_s"]))
    assert list(corpus.clips.columns) == [*COLUMNS, "age", "Anger", "Joy"]
    assert corpus.clips[["speaker", "language", "n_raters", "duration_s"]].isna().all(axis=None)
    types = corpus.clips.dtypes.astype(str)
    assert types[["speaker", "n_raters", "duration_s"]].tolist() == ["string", "Int64", "float64"]
    pd.testing.assert_frame_equal(corpus.clips[["clip_id", "Joy"]], clips[["clip_id", "Joy"]])


@pytest.mark.parametrize("column", ["clip_id", "path", "split", "Joy"])
def test_columns_that_every_corpus_has_are_needed(table, check, column):
    clips = table(6)
    with pytest.raises(CorpusError, match=rf"labels\.csv has no column {column}: expected clip_id"):
        check(clips.drop(columns=column), audio=set(clips["path"]))


@pytest.mark.parametrize("column", ["clip_id", "path"])
@pytest.mark.parametrize("value", ["", None])
def test_a_clip_without_a_name_is_refused(table, check, column, value):
    clips = table(6)
    clips.loc[3, column] = value
    with pytest.raises(CorpusError, match=rf"labels\.csv: '{column}' is blank.*first in row 4"):
        check(clips, audio=set(), allow_missing=True)


def test_a_column_that_is_there_twice_is_refused(table, check):
    clips = table(6)
    clips = pd.concat([clips, clips[["Joy"]]], axis=1)
    with pytest.raises(CorpusError, match=r"labels\.csv: more than one column is called Joy"):
        check(clips)


@pytest.mark.parametrize("value", [4.5, 0, -1, "many", np.inf])
def test_raters_that_are_no_whole_number_are_refused(table, check, value):
    clips = table(6).astype({"n_raters": object})
    clips.loc[2, "n_raters"] = value
    message = rf"n_raters of clip2 is '{value}': expected a whole number from 1 to"
    with pytest.raises(CorpusError, match=message):
        check(clips)


def test_raters_and_shares_that_are_text_become_numbers(table, check):
    clips = table(6).astype({"n_raters": object})
    clips.loc[2, "n_raters"] = None
    expected = clips.astype({"n_raters": "Int64"})
    corpus, _ = check(clips.assign(Joy=clips["Joy"].astype(str), n_raters=["5", 5.0, None] * 2))
    assert corpus.clips["n_raters"].tolist() == [5, 5, pd.NA] * 2
    assert corpus.clips["n_raters"].dtype == "Int64"
    pd.testing.assert_series_equal(corpus.clips["Joy"], expected["Joy"])


# What emotions may be called


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((name, "is what a column of our own tables is called") for name in sorted(RESERVED)),
        ("expected_Joy", "is what a column of our own tables is called"),
        ("", "is blank"),
        (" \t", "is blank"),
        ("Joy\nAnger", "holds a line break or another control character"),
        ("Joy\u2028", "holds a line break or another control character"),
        ("\x1b[31mJoy", "holds a line break or another control character"),
        ("x" * 61, "has 61 characters, more than 60"),
        ("x" * 100_000, "has 100000 characters, more than 60"),
        ("anger", "is there twice (capital letters do not count: emotions name folders)"),
        ("ANGER", "is there twice (capital letters do not count: emotions name folders)"),
    ],
)
def test_a_name_that_no_emotion_may_have_is_refused(tmp_path, table, name, fault):
    clips = table(6)[[*COLUMNS, "Anger"]]
    corpus = Corpus("mine", tmp_path, ("Anger", name), clips.assign(**{name: 0.5}))
    with pytest.raises(CorpusError) as refused:
        validate(corpus, set(clips["path"]), tmp_path / "labels.csv")
    message = str(refused.value)
    assert message.startswith(f"{tmp_path}/labels.csv: the emotion ")
    assert message.endswith(f" {fault}: rename the column") and message.isprintable()
    assert len(message) < 300 + len(str(tmp_path))


def test_accents_coded_in_two_ways_are_one_name(tmp_path, table):
    names = ["Überraschung", unicodedata.normalize("NFD", "Überraschung")]
    clips = table(6).assign(**dict.fromkeys(names, 0.5))
    with pytest.raises(CorpusError, match="'Überraschung' is there twice"):
        validate(Corpus("mine", tmp_path, tuple(names), clips), set(clips["path"]), tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *("$x_{$", "<script>", "=1+1", "+1", "@a", "-", "Überraschung", "人", "a/b", "..", "😀"),
        *("Mean", "expected", "meaning", "joy, quiet", "Joy ", "7", "x" * 60, 'a"b', "a`b|c\\d"),
    ],
)
def test_odd_names_that_can_be_printed_are_kept(tmp_path, table, name):
    clips = table(6).assign(**{name: 0.5})
    corpus = Corpus("mine", tmp_path, ("Anger", name), clips)
    checked, _ = validate(corpus, set(clips["path"]), tmp_path / "labels.csv")
    checked.save(tmp_path / "run")
    assert Corpus.load(tmp_path / "run").emotions == ("Anger", name)
    assert checked.further_columns == ["Joy"]


def test_every_column_that_an_emotion_stands_beside_is_reserved():
    results = pd.DataFrame({"encoder": "fbank", "architecture": [0, 1], "emotion": "Joy"})
    results = results.assign(seed=0, split="devel", n=5, rho=0.5, note="")
    one = tables.table1(results, ["Joy"])
    averaged = tables.table2(results, ["Joy"])
    beside = {*COLUMNS, *PREDICTION_COLUMNS, *one.columns, *averaged.columns} - {"Joy"}
    assert beside <= RESERVED


# Shares and splits: refused whatever allow_missing says


@pytest.mark.parametrize("value", [-0.01, 1.01, np.inf])
def test_a_share_outside_0_to_1_is_refused(table, check, value):
    clips = table(9)
    clips.loc[clips.index[2:], "Joy"] = value
    message = r"labels\.csv: shares outside \[0, 1\] in Joy, 7 clips: clip2, .*clip6 and 2 more\."
    for allow_missing in (False, True):
        with pytest.raises(CorpusError, match=message):
            check(clips, allow_missing=allow_missing)


def test_a_faulty_share_is_named_also_where_a_clip_is_there_twice(table, check):
    clips = table(6).assign(clip_id="twin")
    clips.loc[3, "Joy"] = 7
    with pytest.raises(CorpusError, match=r"outside \[0, 1\] in Joy, 1 clips: twin\."):
        check(clips, allow_missing=True)


@pytest.mark.parametrize("row", [0, 1])
def test_a_share_missing_in_train_or_devel_is_refused(table, check, row):
    clips = table(6)
    clips.loc[row, "Anger"] = np.nan
    for allow_missing in (False, True):
        with pytest.raises(
            CorpusError, match=rf"missing in train or devel in Anger.*: clip{row}\."
        ):
            check(clips, allow_missing=allow_missing)


def test_shares_of_a_masked_test_split_may_be_null(table, check):
    clips = table(6)
    clips.loc[clips["split"] == "test", ["Anger", "Joy"]] = np.nan
    corpus, dropped = check(clips)
    assert len(corpus.clips) == 6
    assert dropped.empty


@pytest.mark.parametrize("split", ["dev", None])
def test_an_unknown_split_is_refused(table, check, split):
    clips = table(4)
    clips.loc[3, "split"] = split
    with pytest.raises(CorpusError, match="the split of clip3 is .*: expected train, devel, test"):
        check(clips)


@pytest.mark.parametrize("split", ["train", "devel"])
def test_one_clip_of_train_or_devel_is_too_few(table, check, split):
    clips = table(9)
    rows = clips.index[clips["split"] == split]
    check(clips.drop(rows[:1]))
    with pytest.raises(CorpusError, match=f": 1 clip is in {split}: train and devel need 2 or"):
        check(clips.drop(rows[:2]))
    with pytest.raises(CorpusError, match=f"faulty clips dropped: 1 clip is in {split}"):
        check(clips, audio=set(clips["path"].drop(rows[:2])), allow_missing=True)


@pytest.mark.parametrize("split", ["train", "devel"])
def test_train_and_devel_are_needed(table, check, split):
    clips = table(6)
    with pytest.raises(CorpusError, match=f"no clip is in {split}"):
        check(clips[clips["split"] != split])
    with pytest.raises(CorpusError, match=f"faulty clips dropped: no clip is in {split}"):
        check(clips, audio=set(clips["path"][clips["split"] != split]), allow_missing=True)


# Faults that allow_missing drops and records


def duplicated(clips):
    clips.loc[10:16, "clip_id"] = "clip0"
    return clips, set(clips["path"]), ["clip0"] * 7


def duplicated_path(clips):
    clips.loc[10:16, "path"] = clips["path"][0]
    return clips, set(clips["path"]), [f"clip{i}" for i in range(10, 17)]


def torn_speaker(clips):
    clips.loc[clips["split"] == "train", "speaker"] = "speaker0"
    clips.loc[clips.index[1:21:3], "speaker"] = "speaker0"
    return clips, set(clips["path"]), [f"clip{i}" for i in range(1, 21, 3)]


def no_audio(clips):
    return clips, set(clips["path"][7:]), [f"clip{i}" for i in range(7)]


def no_label(clips):
    more = {f"wav/more{i}.flac" for i in range(7)}
    return clips, set(clips["path"]) | more, [f"more{i}" for i in range(7)]


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("duplicate clip", duplicated),
        ("duplicate clip", duplicated_path),
        ("speaker in two splits", torn_speaker),
        ("label without audio", no_audio),
        ("audio without label", no_label),
    ],
)
def test_a_fault_is_refused_or_dropped_and_recorded(table, check, reason, spoil):
    clips, audio, faulty = spoil(table(30))
    five = ", ".join(faulty[:5])
    message = rf"labels\.csv: {reason}, 7 found: {five} and 2 more\. .*allow_missing"
    with pytest.raises(CorpusError, match=message):
        check(clips.copy(), audio)

    corpus, dropped = check(clips.copy(), audio, allow_missing=True)
    assert list(dropped.columns) == ["clip_id", "path", "reason"]
    assert list(dropped["clip_id"]) == faulty
    assert set(dropped["reason"]) == {reason}
    dropped_rows = 0 if spoil is no_label else 7
    assert len(corpus.clips) == 30 - dropped_rows
    assert list(corpus.clips.index) == list(range(30 - dropped_rows))
    again, dropped = check(corpus.clips, audio - set(dropped["path"]) | set(corpus.clips["path"]))
    assert dropped.empty
    pd.testing.assert_frame_equal(again.clips, corpus.clips)


def test_a_dropped_clip_is_recorded_once(table, check):
    clips = table(12)
    clips.loc[1:3, "clip_id"] = "clip0"  # their audio has no label any more
    clips.loc[[4, 6, 9], "speaker"] = "torn"
    clips.loc[4, "split"] = "devel"
    corpus, dropped = check(clips, allow_missing=True)
    assert dropped["path"].is_unique
    assert list(dropped["reason"]) == 3 * ["duplicate clip"] + ["speaker in two splits"]
    assert len(corpus.clips) == 8


def test_a_speaker_keeps_the_split_whose_audio_is_there(table, check):
    clips = table(15)
    clips.loc[[0, 3, 6, 1, 4], "speaker"] = "torn"  # three in train, two in devel
    corpus, dropped = check(clips, audio=set(clips["path"].drop([0, 3, 6])), allow_missing=True)
    assert len(corpus.clips) == 12
    assert set(dropped["reason"]) == {"label without audio"}


def test_clips_of_unknown_speakers_are_not_one_speaker(table, check):
    corpus, dropped = check(table(6, speaker=pd.Series([pd.NA] * 6, dtype="string")))
    assert len(corpus.clips) == 6
    assert dropped.empty


# How many may be set aside


def test_more_rejected_clips_than_allowed_stop_the_run(tmp_path):
    reasons = ["silent"] * 4 + ["empty file"] * 2
    rejected = pd.DataFrame({"clip_id": range(6), "path": "x", "reason": reasons})
    message = r"6 of 100 clips.*max_rejected = 0\.05.*rejected\.csv.*silent \(4\); empty file \(2\)"
    with pytest.raises(CorpusError, match=message):
        limit_rejected(rejected, 100, 0.05, tmp_path / "rejected.csv")
    limit_rejected(rejected[:5], 100, 0.05, tmp_path / "rejected.csv")
    limit_rejected(rejected, 100, 0.06, tmp_path / "rejected.csv")


def test_a_corpus_without_clips_stops_the_run(tmp_path):
    with pytest.raises(CorpusError, match="0 of 0"):
        limit_rejected(pd.DataFrame({"reason": []}), 0, 1.0, tmp_path)


# Splits made for speakers


def speakers(n, clips_each=3):
    return pd.Series([f"s{i:02d}" for i in range(n)] * clips_each)


def test_made_splits_keep_speakers_apart_and_are_60_20_20():
    names = speakers(20)
    splits = speaker_splits(names, seed=1)
    assert (splits.groupby(names).nunique() == 1).all()
    assert splits.groupby(names).first().value_counts().to_dict() == {
        "train": 12,
        "devel": 4,
        "test": 4,
    }


def test_made_splits_follow_the_seed_and_not_the_order_of_clips():
    names = speakers(20)
    splits = speaker_splits(names, seed=1)
    pd.testing.assert_series_equal(splits, speaker_splits(names, seed=1))
    pd.testing.assert_series_equal(splits[::-1], speaker_splits(names[::-1], seed=1))
    assert (splits != speaker_splits(names, seed=2)).any()


@pytest.mark.parametrize("n", [3, 4, 5])
def test_few_speakers_still_fill_every_split(n):
    assert set(speaker_splits(speakers(n), seed=0)) == {"train", "devel", "test"}


def test_two_speakers_cannot_fill_three_splits():
    with pytest.raises(CorpusError, match=r"a\.csv: 2 speakers cannot be kept apart in 3 splits"):
        speaker_splits(speakers(2), seed=0, source="a.csv")


def test_a_seed_below_0_is_refused():
    with pytest.raises(CorpusError, match="split_seed = -1: expected 0 or more"):
        speaker_splits(speakers(5), seed=-1)
