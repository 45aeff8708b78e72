"""Your own table: which columns it has, what is refused, and what is kept as it is."""

import re

import numpy as np
import pandas as pd
import pytest

from emoshare_utils import corpora
from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import COLUMNS, CorpusError

ONE_QUESTION_MARK = """\
path,split,speaker,Joy,Anger,true_s
c000.wav,train,s0,0.27,0.43,1.72 s
c001.mp3,train,s1,0.26,0.47,2.46 s
c004.wav,devel,s4,0.14,0.27,2.48 s
c005.mp3,test,s5,?,0.68,1.49 s
c010.wav,devel,s4,0.23,0.39,1.53 s
c011.mp3,test,s5,0.27,0.5,1.61 s
"""


@pytest.fixture
def clips(tmp_path, write_audio) -> pd.DataFrame:
    """Six clips of three speakers in `tmp_path`, under names that only text keeps."""
    paths = [f"a/{i:03d}.wav" for i in range(6)]
    write_audio(*(tmp_path / path for path in paths))
    return pd.DataFrame(
        {
            "path": paths,
            "split": ["train", "train", "devel", "devel", "test", "test"],
            "speaker": ["01", "01", "02", "02", "03", "03"],
            "Joy": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            "Awe": 0.5,
        }
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_table_reads_csv_and_parquet(tmp_path, clips, ending):
    table = clips.assign(
        language="de", n_raters=[3, 4, 5, 6, 7, None], zone="north", accent="none", native=True
    )
    if ending == "csv":
        table.to_csv(tmp_path / "mine.csv", index=False)
    else:
        table.set_index(pd.Index([0, 0, 0, 1, 1, 1])).to_parquet(tmp_path / "mine.parquet")
    corpus, dropped = corpora.load("table", tmp_path, labels=f"mine.{ending}")
    assert dropped.empty
    assert corpus.emotions == ("Joy", "Awe")
    assert list(corpus.clips.columns) == [*COLUMNS, "Joy", "Awe", "zone", "accent", "native"]
    assert corpus.clips["clip_id"].tolist() == [f"a/{i:03d}" for i in range(6)]
    for column in ("path", "split", "speaker", "Joy", "Awe"):
        assert corpus.clips[column].tolist() == clips[column].tolist()
    assert corpus.clips["n_raters"].dtype == "Int64"
    assert corpus.clips["n_raters"].tolist()[:5] == [3, 4, 5, 6, 7]
    assert set(corpus.clips["language"]) == {"de"}


def test_table_keeps_its_clip_ids_as_text(tmp_path, clips):
    clips.assign(clip_id=[f"{i:03d}" for i in range(6)]).to_csv(tmp_path / "clips.csv", index=False)
    corpus, _ = corpora.load("table", tmp_path)
    assert corpus.clips["clip_id"].tolist() == [f"{i:03d}" for i in range(6)]


def test_table_draws_splits_over_speakers_where_none_are_given(tmp_path, clips):
    clips.drop(columns="split").to_csv(tmp_path / "clips.csv", index=False)
    corpus, _ = corpora.load("table", tmp_path, split_seed=1)
    splits = corpus.clips.groupby("speaker")["split"]
    assert (splits.nunique() == 1).all()
    assert set(corpus.clips["split"]) == {"train", "devel", "test"}
    others = [corpora.load("table", tmp_path, split_seed=seed)[0] for seed in (2, 3, 4)]
    assert any((other.clips["split"] != corpus.clips["split"]).any() for other in others)


def test_table_needs_a_split_or_every_clips_speaker(tmp_path, clips):
    for columns in (["split", "speaker"], ["split"]):
        clips.loc[3, "speaker"] = None
        clips.drop(columns=columns).to_csv(tmp_path / "clips.csv", index=False)
        with pytest.raises(CorpusError, match=r"clips\.csv has neither a split .*nor a speaker"):
            corpora.load("table", tmp_path)


def test_table_takes_the_share_columns_it_is_told(tmp_path, clips):
    clips.assign(age=40).to_csv(tmp_path / "clips.csv", index=False)
    alone, _ = corpora.load("table", str(tmp_path), shares="Awe")
    assert alone.emotions == ("Awe",)
    corpus, _ = corpora.load("table", tmp_path, shares=["Awe"])
    assert corpus.emotions == ("Awe",)
    assert list(corpus.clips.columns) == [*COLUMNS, "Awe", "Joy", "age"]
    with pytest.raises(
        CorpusError, match=r"clips\.csv has no column Fear: expected path, Awe, Fear"
    ):
        corpora.load("table", tmp_path, shares=["Awe", "Fear"])
    with pytest.raises(CorpusError, match=r"outside \[0, 1\] in age"):
        corpora.load("table", tmp_path)


def test_table_without_a_share_or_a_path_is_refused(tmp_path, clips):
    clips[["path", "split"]].to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(CorpusError, match="no share column: name them with shares"):
        corpora.load("table", tmp_path)
    clips.drop(columns="path").to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(CorpusError, match="has no column path"):
        corpora.load("table", tmp_path)
    clips.replace("a/003.wav", None).to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(CorpusError, match="path' is blank in 1 rows, first in line 5"):
        corpora.load("table", tmp_path)


def test_table_must_be_there_and_of_a_known_kind(tmp_path):
    with pytest.raises(CorpusError, match=r"clips\.csv is not there: .*named by labels"):
        corpora.load("table", tmp_path)
    with pytest.raises(CorpusError, match=r"clips\.xlsx: expected a table that ends in \.csv or"):
        corpora.load("table", tmp_path, labels="clips.xlsx")
    with pytest.raises(CorpusError, match="leaves the corpus folder"):
        corpora.load("table", tmp_path, labels="../clips.csv")


def test_table_paths_may_be_absolute_or_start_with_a_dot(tmp_path, clips):
    (tmp_path / "alias").symlink_to(tmp_path)
    clips.loc[1, "path"] = "./a/001.wav"
    clips.loc[2, "path"] = str(tmp_path / "a" / "002.wav")
    clips.loc[3, "path"] = str(tmp_path / "alias" / "a" / "003.wav")
    clips.to_csv(tmp_path / "clips.csv", index=False)
    corpus, _ = corpora.load("table", tmp_path)
    assert corpus.clips["path"].tolist() == [f"a/{i:03d}.wav" for i in range(6)]
    assert corpus.clips["clip_id"].tolist() == [f"a/{i:03d}" for i in range(6)]


@pytest.mark.parametrize("path", ["/etc/hosts.wav", "../a/000.wav"])
def test_table_paths_outside_are_refused(tmp_path, clips, path):
    clips.loc[0, "path"] = path
    clips.to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(CorpusError, match=f"'{path}' leaves the corpus folder"):
        corpora.load("table", tmp_path, allow_missing=True)


def test_audio_of_every_ending_is_looked_for(tmp_path, clips):
    clips.to_csv(tmp_path / "clips.csv", index=False)
    for name in ("b.wav", "c.FLAC", "d.ogg", "e.mp3", "readme.txt"):
        (tmp_path / name).touch()
    with pytest.raises(CorpusError, match="audio without label, 4 found: b, c, d, e"):
        corpora.load("table", tmp_path)


# Which columns are shares


@pytest.fixture
def load(tmp_path, clips):
    """Load the six clips' table after a change of cells, with these options."""

    def run(cells: dict | None = None, ending: str = "csv", **options):
        table = clips.astype({"Joy": object, "Awe": object})
        for (row, column), value in (cells or {}).items():
            table.loc[row, column] = value
        if ending == "csv":
            table.to_csv(tmp_path / "clips.csv", index=False)
        else:
            table.astype(str).to_parquet(tmp_path / "clips.parquet")
        return corpora.load("table", tmp_path, labels=f"clips.{ending}", **options)[0]

    return run


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("value", ["?", "n.a.", "-", "0.3O", "45%", "0,5", "", "hello"])
def test_no_cell_makes_an_emotion_vanish(load, ending, value):
    place = {"csv": "line 5", "parquet": "row 4"}[ending]
    named = f"'Awe' of {place} is {value!r}: "
    for options in ({}, {"shares": ["Joy", "Awe"]}, {"allow_missing": True}):
        with pytest.raises(CorpusError, match=rf"clips\.{ending}: shares .*{re.escape(named)}"):
            load({(3, "Awe"): value}, ending, **options)


@pytest.mark.parametrize("value", ["?", "n.a.", "-", "NA", "", "NaN"])
def test_a_share_that_is_not_given_is_null_in_test(load, value):
    corpus = load({(4, "Awe"): value})
    assert corpus.emotions == ("Joy", "Awe")
    np.testing.assert_array_equal(corpus.shares("test"), [[0.8, np.nan], [1, 0.5]])


def test_a_share_that_is_not_given_is_refused_where_the_splits_are_drawn(tmp_path, clips):
    for row in range(6):
        table = clips.drop(columns="split").astype({"Awe": object})
        table.loc[row, "Awe"] = "?"
        table.to_csv(tmp_path / "clips.csv", index=False)
        with pytest.raises(CorpusError, match=f"missing in train or devel in Awe.*line {row + 2}"):
            corpora.load("table", tmp_path)


def test_the_table_with_one_question_mark_keeps_its_emotion(tmp_path, write_audio):
    (tmp_path / "clips.csv").write_text(ONE_QUESTION_MARK)
    paths = pd.read_csv(tmp_path / "clips.csv")["path"]
    for path in paths:
        (tmp_path / path).write_bytes(b"never decoded here")
    corpus, _ = corpora.load("table", tmp_path)
    assert corpus.emotions == ("Joy", "Anger") and corpus.further_columns == ["true_s"]
    assert np.isnan(corpus.shares("test")).tolist() == [[True, False], [False, False]]


def test_columns_without_a_number_are_kept_beside_the_shares(tmp_path, clips):
    text = {"word": ["a", "NA", "none", "", "e", "f"], "length": "1.72 s", "empty": ""}
    clips.assign(**text).to_csv(tmp_path / "clips.csv", index=False)
    corpus, _ = corpora.load("table", tmp_path)
    assert corpus.emotions == ("Joy", "Awe")
    assert corpus.further_columns == ["word", "length", "empty"]
    assert corpus.clips["word"].isna().tolist() == [False] * 3 + [True] + [False] * 2
    assert corpus.clips["word"].dropna().tolist() == ["a", "NA", "none", "e", "f"]


def test_a_number_that_is_no_share_says_where_and_what_to_do(tmp_path, clips):
    clips.assign(age=[34, 40, 28, 31, 50, 22]).to_csv(tmp_path / "clips.csv", index=False)
    message = (
        r"clips\.csv: shares outside \[0, 1\] in age, 6 clips: line 2, .* and 1 more\. "
        r"'age' of line 2 is '34': .*name the share columns with shares"
    )
    with pytest.raises(CorpusError, match=message):
        corpora.load("table", tmp_path)
    corpus, _ = corpora.load("table", tmp_path, shares=["Joy", "Awe"])
    assert corpus.clips["age"].tolist() == [34, 40, 28, 31, 50, 22]


def test_a_column_without_a_name_and_what_is_measured_is_left_out(tmp_path, clips):
    measured = clips.assign(duration_s=99, audio_checksum="0f")
    measured.to_csv(tmp_path / "clips.csv")  # with the index, under no name
    corpus, _ = corpora.load("table", tmp_path)
    assert corpus.emotions == ("Joy", "Awe") and corpus.further_columns == []
    assert corpus.clips["duration_s"].isna().all()


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (["Joy", "Joy"], "the emotion 'Joy' is there twice"),
        (["Joy", "split"], "the emotion 'split' is what a column of our own tables is called"),
        ([""], "the emotion '' is blank"),
        ("Joy, Awe", "has no column Joy, Awe: expected path, Joy, Awe, found path"),
        (["word"], r"shares that are no numbers in word, 6 clips: line 2, .* of line 2 is 'hi'"),
    ],
)
def test_shares_that_cannot_be_are_refused(tmp_path, clips, shares, message):
    clips.assign(word="hi").to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(CorpusError, match=rf"clips\.csv:? {message}"):
        corpora.load("table", tmp_path, shares=shares)


@pytest.mark.parametrize("name", ["mean", "note", "expected_Joy", "a\nb", "x" * 61, "filename"])
def test_a_column_that_no_emotion_may_be_called_is_refused(tmp_path, clips, name):
    clips.rename(columns={"Awe": name}).to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(CorpusError, match=r"clips\.csv: the emotion .*: rename the column"):
        corpora.load("table", tmp_path)
    corpus, _ = corpora.load("table", tmp_path, shares=["Joy"])  # it may be a further column
    assert corpus.further_columns == [name]


# Names are the text they are


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["NA", "None", "null", "nan", "007", "1e5", "True"])
def test_a_name_that_looks_like_something_else_stays_itself(tmp_path, clips, name, ending):
    (tmp_path / "a" / "000.wav").rename(tmp_path / "a" / f"{name}.wav")
    clips["clip_id"] = [name, *"bcdef"]
    clips.loc[0, "path"] = f"a/{name}.wav"
    clips.loc[clips["split"] == "train", "speaker"] = name
    clips.loc[clips["split"] == "test", "speaker"] = None
    clips["language"] = name
    if ending == "csv":
        clips.to_csv(tmp_path / "clips.csv", index=False)
    else:
        clips.to_parquet(tmp_path / "clips.parquet")
    corpus, _ = corpora.load("table", tmp_path, labels=f"clips.{ending}")
    assert corpus.clips["clip_id"].tolist() == [name, *"bcdef"]
    assert corpus.clips["speaker"].tolist() == [name, name, "02", "02", pd.NA, pd.NA]
    assert set(corpus.clips["language"]) == {name}
    corpus.save(tmp_path / "run")
    pd.testing.assert_frame_equal(type(corpus).load(tmp_path / "run").clips, corpus.clips)


@pytest.mark.parametrize("name", ["dev", "val", "validation", "Valid", "DEVEL", "development"])
@pytest.mark.parametrize("of_votes", [False, True])
def test_what_other_tables_call_devel_is_devel_and_said(tmp_path, clips, name, of_votes, capsys):
    table = clips.replace({"split": {"devel": name, "train": "Train"}})
    if of_votes:
        table = table.drop(columns=["Joy", "Awe"]).assign(rater="a", emotion=[*"xyzxyz"])
    table.to_csv(tmp_path / "clips.csv", index=False)
    corpus, _ = corpora.load("table", tmp_path)
    assert corpus.clips["split"].tolist() == clips["split"].tolist()
    assert (
        capsys.readouterr().out
        == f"clips.csv: read the split 'Train' as train, {name!r} as devel\n"
    )


def test_a_split_without_speakers_is_told_what_that_means(tmp_path, clips, capsys):
    clips.to_csv(tmp_path / "clips.csv", index=False)
    corpora.load("table", tmp_path)
    assert capsys.readouterr().out == ""
    said = "a voice may be in two splits, which makes rho too high. Fill in a column speaker\n"
    clips.drop(columns="speaker").to_csv(tmp_path / "clips.csv", index=False)
    corpora.load("table", tmp_path)
    expected = f"clips.csv gives a split, but 6 of 6 clips no speaker: {said}"
    assert capsys.readouterr().out == expected
    clips.loc[3, "speaker"] = None
    clips.to_csv(tmp_path / "clips.csv", index=False)
    corpora.load("table", tmp_path)
    assert "but 1 of 6 clips no speaker" in capsys.readouterr().out


def test_audio_outside_root_is_allowed_by_an_option_alone(tmp_path, clips, write_audio):
    root = tmp_path / "corpus"
    root.mkdir()
    elsewhere = tmp_path / "elsewhere"
    write_audio(elsewhere / "b.wav", root / "c.wav")
    (root / "link.wav").symlink_to(elsewhere / "b.wav")
    table = clips.assign(path=clips["path"].map(lambda path: str(tmp_path / path)))
    table.loc[0, "path"], table.loc[1, "path"] = "../a/000.wav", "link.wav"
    table.loc[2, "path"] = "c.wav"
    table.to_csv(root / "clips.csv", index=False)
    with pytest.raises(CorpusError) as refused:
        corpora.load("table", root, allow_missing=True)
    assert "leaves the corpus folder" in str(refused.value)
    assert str(refused.value).endswith("there, set options: {outside_root: true}")
    corpus, dropped = corpora.load("table", root, outside_root=True)
    assert dropped.empty and corpus.outside_root
    inside = str(tmp_path / "a").lstrip("/")
    assert corpus.clips["clip_id"].tolist() == [
        *("a/000", "link", "c"), *(f"{inside}/00{i}" for i in (3, 4, 5))
    ]  # fmt: skip
    checked, rejected = audio.check(corpus)
    assert rejected.empty
    checked.save(tmp_path / "run")
    kept = type(corpus).load(tmp_path / "run")
    assert kept.outside_root and kept.path("link.wav") == elsewhere / "b.wav"
    table.assign(path="../a/000.wav").to_csv(root / "clips.csv", index=False)
    with pytest.raises(CorpusError, match="6 rows of 1 clips|duplicate clip"):
        corpora.load("table", root, outside_root=True)


def test_a_corpus_inside_its_folder_is_saved_as_before(tmp_path, clips):
    clips.to_csv(tmp_path / "clips.csv", index=False)
    corpus, _ = corpora.load("table", tmp_path)
    corpus.save(tmp_path / "run")
    assert "outside_root" not in (tmp_path / "run" / "corpus.json").read_text()


@pytest.mark.parametrize("split", ["", "held out", "NA"])
def test_a_split_that_is_none_is_named(load, split):
    message = f"the split of a/003 is '{split}': expected train, devel, test"
    with pytest.raises(CorpusError, match=rf"clips\.csv: {message}"):
        load({(3, "split"): split})


def test_a_clip_id_that_is_blank_is_refused(load):
    with pytest.raises(CorpusError, match=r"clips\.csv: 'clip_id' is blank in 5 rows.*line 3"):
        load({(0, "clip_id"): "a"}, allow_missing=True)


@pytest.mark.parametrize("column", ["Speaker", "SPLIT", "N_raters", "Clip_ID"])
def test_a_column_of_ours_in_other_letters_is_refused(tmp_path, clips, column):
    own = clips.rename(columns={column.lower(): column})
    own[column] = own.get(column, 5)
    own.to_csv(tmp_path / "clips.csv", index=False)
    message = rf"clips\.csv: rename the column '{column}' to '{column.lower()}'"
    with pytest.raises(CorpusError, match=message):
        corpora.load("table", tmp_path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("value", ["4.5", "many", "0", "-1", "1e30"])
def test_raters_that_are_none_are_refused(load, ending, value):
    place = {"csv": "line 3", "parquet": "row 2"}[ending]
    cells = {(row, "n_raters"): "5" for row in range(6)} | {(1, "n_raters"): value}
    with pytest.raises(
        CorpusError, match=rf"clips\.{ending}: n_raters of {place} is '{value}': expected a whole"
    ):
        load(cells, ending)


def test_raters_may_be_unknown(load):
    corpus = load({(0, "n_raters"): "5.0", (1, "n_raters"): "?"})
    assert corpus.clips["n_raters"].tolist() == [5, *[pd.NA] * 5]


# Paths


@pytest.mark.parametrize("path", [".", "a", "./", "a/..", "clips.csv"])
def test_a_path_of_something_else_is_set_aside_with_the_reason(load, path):
    with pytest.raises(CorpusError, match=r"clips\.csv: audio without label, 1 found: 000"):
        load({(0, "path"): path})
    checked, rejected = audio.check(load({(0, "path"): path}, allow_missing=True))
    assert len(checked.clips) == 5 and len(rejected) == 1 and rejected["reason"].all()


@pytest.mark.parametrize("path", ["/", "a/000.wav/x", "a\\000.wav", "~"])
def test_a_path_that_leads_to_nothing_is_refused(load, path):
    with pytest.raises(CorpusError):
        load({(0, "path"): path})
    with pytest.raises(CorpusError, match=r"clips\.csv.*: (1|no) clip is in train|leaves"):
        load({(0, "path"): path}, allow_missing=True)


def test_a_path_through_links_in_a_circle_is_refused(tmp_path, load):
    (tmp_path / "loop").symlink_to("loop")
    for path in ("loop/x.wav", str(tmp_path / "loop" / "x.wav")):
        with pytest.raises(CorpusError, match=r"clips\.csv: the path .* leads nowhere \(Symlink"):
            load({(0, "path"): path}, allow_missing=True)


def test_a_path_with_a_nul_is_refused(load):
    with pytest.raises(
        CorpusError, match=r"parquet: the path 'a\\x00\.wav' leads nowhere \(embedd"
    ):
        load({(0, "path"): "a\0.wav"}, "parquet", allow_missing=True)


@pytest.mark.parametrize("labels", ["a\0.csv", "loop.csv", "loop/x.csv", "a", "", ".", "x" * 300])
def test_labels_that_name_no_file_are_refused(tmp_path, labels):
    (tmp_path / "a").mkdir()
    for name in ("loop", "loop.csv"):
        (tmp_path / name).symlink_to(name)
    with pytest.raises(CorpusError, match="leads nowhere|is not there|ends in .csv or .parquet"):
        corpora.load("table", tmp_path, labels=labels)


@pytest.mark.parametrize(
    "cell", ["1/3", "5 of 9", "50 percent", "50 ％", "０.５x", "'0.5", "<0.5", "=1/2", "½", "0·5"]
)
def test_a_share_column_in_which_no_cell_is_a_number_is_named(tmp_path, write_audio, cell):
    for name in "abcdef":
        write_audio(tmp_path / f"{name}.wav")
    rows = [f"{name}.wav,{split},0.5,{cell}" for name, split in zip("abcd", ("train", "devel") * 2)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,split,Joy,Anger", *rows]), "utf-8")
    if cell == "０.５x":  # no number at all: a further column
        corpus, _ = corpora.load("table", tmp_path, allow_missing=True)
        assert corpus.emotions == ("Joy",) and "Anger" in corpus.further_columns
        return
    with pytest.raises(CorpusError, match="'Anger' of line 2 is"):
        corpora.load("table", tmp_path, allow_missing=True)


def test_one_file_under_two_names_is_a_duplicate(tmp_path, write_audio):
    for name in "abcd":
        write_audio(tmp_path / f"{name}.wav")
    (tmp_path / "z.wav").symlink_to("a.wav")
    (tmp_path / "x").mkdir()
    rows = [f"{name}.wav,{split},0.5" for name, split in zip("abcd", ("train", "devel") * 2)]
    for other in ("x/../a.wav", "z.wav", "./a.wav"):
        table = ["path,split,Joy", *rows, f"{other},devel,0.25"]
        (tmp_path / "clips.csv").write_text("\n".join(table))
        with pytest.raises(CorpusError, match="duplicate clip|audio without label"):
            corpora.load("table", tmp_path)
    (tmp_path / "z.wav").unlink()
    rows[0] = "x/../a.wav,train,0.5"
    (tmp_path / "clips.csv").write_text("\n".join(["path,split,Joy", *rows]))
    corpus, dropped = corpora.load("table", tmp_path)
    assert dropped.empty and "a.wav" in set(corpus.clips["path"])


def test_a_root_that_is_no_path_is_named():
    for root in ("x" * 5000, "a\0b"):
        with pytest.raises(CorpusError, match="is not a folder"):
            corpora.load("table", root)
