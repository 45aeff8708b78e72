"""Each corpus in its own layout on disk, and what its adapter makes of it."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoshare_utils import corpora
from emoshare_utils.corpora import audio, compare23
from emoshare_utils.corpora.clip_table import COLUMNS, Corpus, CorpusError
from emoshare_utils.corpora.options import check_options

SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "crema-d"
CHALLENGE = [
    "Anger",
    "Boredom",
    "Calmness",
    "Concentration",
    "Determination",
    "Excitement",
    "Interest",
    "Sadness",
    "Tiredness",
]


def test_an_unknown_corpus_or_folder_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="corpus = 'crema': did you mean 'crema_d'"):
        corpora.load("crema", tmp_path)
    with pytest.raises(CorpusError, match="'msp'.*simulated, compare23, crema_d, table"):
        corpora.load("msp", tmp_path)
    with pytest.raises(CorpusError, match=r"nowhere' is not a folder: give the one that.*AudioWAV"):
        corpora.load("crema_d", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("simulated", "n_clip", "it takes n_clips, speakers, seed, n_.*: did you mean 'n_clips'"),
        ("table", "speakers", "'speakers'; it takes labels, shares, split_seed"),
        ("compare23", "seed", "corpus 'compare23' has no option 'seed'; it takes none"),
    ],
)
def test_an_unknown_option_is_refused_with_those_there_are(tmp_path, name, option, message):
    with pytest.raises(CorpusError, match=message):
        corpora.load(name, tmp_path, **{option: 24})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "option", "value", "expected"),
    [
        ("simulated", "n_clips", "many", "a whole number"),
        ("simulated", "seed", None, "a whole number"),
        ("simulated", "speakers", 6.5, "a whole number"),
        ("simulated", "n_listeners", True, "a whole number"),
        ("table", "labels", ["clips.csv"], "text"),
        ("table", "shares", {"Joy": 1}, "a list, each entry text"),
        ("table", "shares", [1], "a list, each entry text"),
    ],
)
def test_an_option_of_the_wrong_kind_is_refused(tmp_path, name, option, value, expected):
    message = re.escape(f"corpus {name!r}: {option} = {value!r}: expected {expected}")
    with pytest.raises(CorpusError, match=f"^{message}$"):
        corpora.load(name, tmp_path, **{option: value})
    assert not list(tmp_path.iterdir())


def test_where_an_adapter_says_no_kind_its_default_does_or_nothing():
    default = [1.0]

    def read(root, weights=default, scale=1, mode=None, model: Corpus | None = None, **others): ...

    given = {"weights": 0.5, "scale": 0.5, "mode": 3, "model": "any", "others": (1,)}
    assert check_options("mine", read, given) == given | {"weights": [0.5]}
    assert check_options("mine", read, {"weights": ("a", "b")}) == {"weights": ["a", "b"]}
    assert check_options("mine", read, {"scale": np.int64(2)}) == {"scale": 2}
    with pytest.raises(CorpusError, match="scale = 'wide': expected a number"):
        check_options("mine", read, {"scale": "wide"})


# A corpus that the package does not have


class Notes:
    """A corpus in a file of its own layout, with two shares and nothing known of the speakers."""

    LAYOUT = "notes.txt and the recordings it names"
    AUDIO = "recordings"

    def read(self, root: Path, suffix: str = ".wav") -> tuple[Corpus, Path]:
        rows = [line.split() for line in (root / "notes.txt").read_text().splitlines()]
        clips = pd.DataFrame(rows, columns=["mood", "clip_id", "split", "Joy", "Awe"])
        clips["path"] = "recordings/" + clips["clip_id"] + suffix
        clips = clips.astype({"Joy": float, "Awe": float})
        return Corpus("notes", root, ("Joy", "Awe"), clips), root / "notes.txt"


@pytest.fixture
def notes(tmp_path, write_audio, monkeypatch) -> Path:
    monkeypatch.setattr(corpora.CORPORA, "entries", dict(corpora.CORPORA.entries))
    corpora.CORPORA.register("notes", Notes())
    (tmp_path / "notes.txt").write_text(
        "calm a train 0 .5\ncalm b devel .1 1\nwild c test .5 .5\n"
        "calm d train 1 .5\ncalm e devel .2 0\n"
    )
    write_audio(*(tmp_path / "recordings" / f"{clip}.wav" for clip in "abcde"))
    return tmp_path


def test_a_corpus_registered_from_outside_is_read_and_completed(notes):
    corpus, dropped = corpora.load("notes", notes)
    assert dropped.empty
    assert list(corpus.clips.columns) == [*COLUMNS, "mood", "Joy", "Awe"]
    assert corpus.clips[["speaker", "language", "n_raters", "duration_s"]].isna().all(axis=None)
    np.testing.assert_array_equal(corpus.shares("devel"), [[0.1, 1], [0.2, 0]])
    checked, rejected = audio.check(corpus)
    assert rejected.empty and (checked.clips["duration_s"] == 0.05).all()


def test_a_corpus_registered_from_outside_is_checked_as_any_other(notes):
    with pytest.raises(CorpusError, match="'notes' has no option 'sufix'; .*did you mean 'suffix'"):
        corpora.load("notes", notes, sufix=".flac")
    with pytest.raises(CorpusError, match="label without audio, 5 found: a, b, c, d, e"):
        corpora.load("notes", notes, suffix=".flac")
    with pytest.raises(CorpusError, match=r"the one that holds notes\.txt and the recordings"):
        corpora.load("notes", notes / "elsewhere")
    file = notes / "notes.txt"
    file.write_text(file.read_text().replace("a train 0 .5", "a train 0 1.5"))
    with pytest.raises(
        CorpusError, match=r"notes\.txt: shares outside \[0, 1\] in Awe, 1 clips: a"
    ):
        corpora.load("notes", notes)


def test_a_corpus_may_come_from_a_file_named_in_the_environment(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import pandas as pd\n"
        "from emoshare_utils.corpora import CORPORA\n"
        "from emoshare_utils.corpora.clip_table import Corpus\n"
        "class Mine:\n"
        "    LAYOUT, AUDIO, MAKES_ITSELF = 'nothing', 'wav', True\n"
        "    def read(root, **options):\n"
        "        (root / 'wav').mkdir(parents=True)\n"
        "        for clip in 'abcd': (root / 'wav' / f'{clip}.wav').touch()\n"
        "        clips = pd.DataFrame({'clip_id': list('abcd')})\n"
        "        clips['path'] = 'wav/' + clips['clip_id'] + '.wav'\n"
        "        clips['split'] = ['train', 'train', 'devel', 'devel']\n"
        "        clips['Joy'] = [0.0, options['joy']] * 2\n"
        "        return Corpus('mine', root, ('Joy',), clips), root\n"
        "CORPORA.register('mine', Mine)\n"
    )
    script = (
        "from pathlib import Path; from emoshare_utils import corpora\n"
        f"corpus, _ = corpora.load('mine', Path({str(tmp_path / 'made')!r}), joy=0.25)\n"
        "print(corpus.clips['Joy'].tolist())\n"
    )
    environment = os.environ | {"EMOSHARE_EXTENSIONS": str(tmp_path / "mine.py")}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "[0.0, 0.25, 0.0, 0.25]\n"


# The challenge's layout: data/wav/*.wav and data/lab/{train,devel,test}.csv


@pytest.fixture
def challenge(tmp_path, write_audio) -> Path:
    """Four clips of train, three of devel and test; the test shares are masked by "?"."""
    lab = tmp_path / "data" / "lab"
    lab.mkdir(parents=True)
    for split, n in (("train", 4), ("devel", 3), ("test", 3)):
        names = [f"{split}_{i:05d}.wav" for i in range(n)]
        write_audio(*(tmp_path / "data" / "wav" / name for name in names))
        shares = pd.DataFrame({e: np.arange(n) / 10 + k / 100 for k, e in enumerate(CHALLENGE)})
        shares = shares.round(2).astype(str) if split != "test" else shares.map(lambda _: "?")
        shares.insert(0, "filename", names)
        shares.to_csv(lab / f"{split}.csv", index=False)
    return tmp_path / "data"


def test_compare23_reads_the_challenge(challenge):
    corpus, dropped = corpora.load("compare23", challenge)
    assert dropped.empty
    assert list(corpus.emotions) == CHALLENGE
    assert list(corpus.clips.columns) == [*COLUMNS, *CHALLENGE]
    assert corpus.clips["split"].tolist() == ["train"] * 4 + ["devel"] * 3 + ["test"] * 3
    clip = corpus.clips.iloc[5]
    assert (clip["clip_id"], clip["path"]) == ("devel_00001", "wav/devel_00001.wav")
    np.testing.assert_allclose(clip[CHALLENGE].astype(float), np.arange(10, 19) / 100)
    assert corpus.clips[["speaker", "language", "n_raters", "duration_s"]].isna().all(axis=None)
    assert not corpus.simulated
    assert corpus.path(clip["path"]).is_file()


def test_compare23_takes_the_folder_above(challenge):
    above, _ = corpora.load("compare23", challenge.parent)
    corpus, _ = corpora.load("compare23", challenge)
    assert above.root == corpus.root == challenge
    pd.testing.assert_frame_equal(above.clips, corpus.clips)


@pytest.mark.parametrize("mask", ["?", "", None])
def test_compare23_has_null_shares_where_test_is_masked(challenge, mask):
    file = challenge / "lab" / "test.csv"
    test = pd.read_csv(file, dtype=str)[["filename"]]
    if mask is not None:
        test = test.assign(**dict.fromkeys(CHALLENGE, mask))
    test.to_csv(file, index=False)
    corpus, _ = corpora.load("compare23", challenge)
    assert len(corpus.split("test")) == 3
    assert np.isnan(corpus.shares("test")).all()
    assert np.isfinite(corpus.shares("train")).all()
    assert corpus.shares("test").dtype == float


def test_compare23_prefers_unmasked_test_labels(challenge):
    test = pd.read_csv(challenge / "lab" / "test.csv")
    unmasked = challenge / "lab" / "test.unmasked.csv"
    test.assign(**dict.fromkeys(CHALLENGE, 0.25)).to_csv(unmasked, index=False)
    corpus, _ = corpora.load("compare23", challenge)
    assert (corpus.shares("test") == 0.25).all()
    test.drop(columns="Interest").to_csv(unmasked, index=False)
    with pytest.raises(CorpusError, match=r"test\.unmasked\.csv has no column Interest"):
        corpora.load("compare23", challenge)


@pytest.mark.parametrize("split", ["train", "devel"])
def test_compare23_refuses_labels_that_lack_a_column_or_a_share(challenge, split):
    file = challenge / "lab" / f"{split}.csv"
    labels = pd.read_csv(file)
    labels.drop(columns=["Boredom"]).to_csv(file, index=False)
    with pytest.raises(
        CorpusError, match=rf"{split}\.csv has no column Boredom: expected filename"
    ):
        corpora.load("compare23", challenge)
    labels.drop(columns=["filename"]).to_csv(file, index=False)
    with pytest.raises(CorpusError, match=rf"{split}\.csv has no column filename"):
        corpora.load("compare23", challenge)
    labels.replace(0.1, None).to_csv(file, index=False)
    with pytest.raises(CorpusError, match=rf"{split}\.csv: shares missing in train.*: line 3\."):
        corpora.load("compare23", challenge)
    file.unlink()
    with pytest.raises(CorpusError, match=rf"{split}\.csv is not there: .* lab/train\.csv"):
        corpora.load("compare23", challenge)


@pytest.mark.parametrize("value", ["?", "", "NA", "45%", "0,5", "1.5", "0.3O"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_compare23_names_the_cell_that_is_no_share(challenge, split, value):
    file = challenge / "lab" / f"{split}.csv"
    labels = pd.read_csv(file, dtype=str)
    labels.loc[1, "Interest"] = value
    labels.to_csv(file, index=False)
    if split == "test" and value in ("?", "", "NA"):
        assert np.isnan(corpora.load("compare23", challenge)[0].shares("test")[1, 6])
        return
    named = re.escape(f"'Interest' of line 3 is {value!r}: ")
    with pytest.raises(CorpusError, match=rf"/lab/{split}\.csv: shares .* in Interest.*{named}"):
        corpora.load("compare23", challenge, allow_missing=True)


def test_compare23_masks_all_columns_of_test_or_none(challenge):
    file = challenge / "lab" / "test.csv"
    pd.read_csv(file).rename(columns={"Anger": "anger"}).to_csv(file, index=False)
    with pytest.raises(CorpusError, match=r"test\.csv has no column Anger: expected filename"):
        corpora.load("compare23", challenge)


def test_compare23_compares_labels_and_audio(challenge, write_audio):
    (challenge / "wav" / "train_00002.wav").unlink()
    write_audio(challenge / "wav" / "train_00009.wav")
    with pytest.raises(CorpusError, match="label without audio, 1 found: train_00002"):
        corpora.load("compare23", challenge)
    corpus, dropped = corpora.load("compare23", challenge, allow_missing=True)
    assert len(corpus.clips) == 9
    assert dropped.values.tolist() == [
        ["train_00002", "wav/train_00002.wav", "label without audio"],
        ["train_00009", "wav/train_00009.wav", "audio without label"],
    ]


def test_submission_is_in_the_challenges_layout(challenge):
    corpus, _ = corpora.load("compare23", challenge)
    rows = [
        {"clip_id": f"test_{i:05d}", "emotion": emotion, "prediction": i / 10 + k / 100}
        for k, emotion in reversed(list(enumerate(CHALLENGE)))
        for i in (2, 0, 1)
    ]
    submission = compare23.submission(pd.DataFrame(rows), corpus)
    assert list(submission.columns) == ["filename", *CHALLENGE]
    assert submission["filename"].tolist() == [f"test_{i:05d}.wav" for i in range(3)]
    expected = np.arange(3)[:, None] / 10 + np.arange(9) / 100
    np.testing.assert_allclose(submission[CHALLENGE], expected)
    turned = dataclasses.replace(corpus, emotions=tuple(CHALLENGE[::-1]))
    submission = compare23.submission(pd.DataFrame(rows), turned)
    assert list(submission.columns) == ["filename", *CHALLENGE[::-1]]


# CREMA-D's layout


@pytest.fixture(params=["wav", "flac"])
def crema(request, tmp_path, write_audio) -> Path:
    """Six actors of three clips, each clip rated on the voice, the face, and both."""
    rows, audio = [], tmp_path / "AudioWAV"
    for actor in range(1038, 1044):
        for sentence in ("IEO_ANG_HI", "ITH_SAD_XX", "DFA_NEU_XX"):
            name, number = f"{actor}_{sentence}", len(rows) // 3 + 1
            heard = "1040_ITH_SAD_X" if name == "1040_ITH_SAD_XX" else name
            write_audio(audio / f"{heard}.{request.param}")
            for modality, votes in (
                (1, (5, 0, 1, 0, 2, 0)),
                (2, (0, 9, 0, 0, 0, 0)),
                (3, (9,) * 6),
            ):
                row = [f"{modality}{number:05d}", *votes, name, sum(votes), "extra"]
                rows.append(dict(zip(["", *"ADFHNS", "fileName", "numResponses", "emoVote"], row)))
    (tmp_path / "processedResults").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "processedResults" / "tabulatedVotes.csv", index=False)
    people = [[actor, 20 + actor % 7, "Female", "Asian", "Hispanic"] for actor in range(1001, 1092)]
    columns = ["ActorID", "Age", "Sex", "Race", "Ethnicity"]
    pd.DataFrame(people, columns=columns).to_csv(tmp_path / "VideoDemographics.csv", index=False)
    return tmp_path


def test_crema_d_takes_the_voice_only_votes(crema):
    corpus, dropped = corpora.load("crema_d", crema)
    assert dropped.empty
    assert corpus.emotions == ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")
    assert len(corpus.clips) == 18
    shares = corpus.clips[list(corpus.emotions)]
    np.testing.assert_allclose(shares, np.tile([5 / 8, 0, 1 / 8, 0, 2 / 8, 0], (18, 1)))
    assert (corpus.clips["n_raters"] == 8).all()
    assert set(corpus.clips["speaker"]) == {str(actor) for actor in range(1038, 1044)}
    assert (corpus.clips["language"] == "en").all()


def test_crema_d_has_votes_of_three_panels_and_what_was_intended(crema):
    corpus, _ = corpora.load("crema_d", crema)
    corpus = corpus.with_clips(corpus.clips.iloc[1:])  # the others have no clip any more
    table = corpora.panel_votes("crema_d", corpus)
    assert list(table.columns) == ["clip_id", "panel", "n_raters", *corpus.emotions]
    answers = table.set_index("panel").drop(columns="clip_id")
    for panel, expected in {
        "voice": [8, 5, 0, 1, 0, 2, 0],
        "face panel": [9, 0, 9, 0, 0, 0, 0],
        "audio-visual panel": [54, 9, 9, 9, 9, 9, 9],
    }.items():
        assert answers.loc[panel].to_numpy().tolist() == [expected] * 17
    assert set(table.groupby("panel")["clip_id"].agg(set).map(frozenset)) == {
        frozenset(corpus.clips["clip_id"])
    }
    meant = table[table["panel"] == "intended emotion"].set_index("clip_id")
    assert meant.loc["1040_ITH_SAD_XX"].tolist() == ["intended emotion", 1, 0, 0, 0, 0, 0, 1]
    assert meant.loc["1040_DFA_NEU_XX"].tolist() == ["intended emotion", 1, 0, 0, 0, 0, 1, 0]


def test_votes_of_a_panel_that_are_wrong_or_there_twice_are_refused(crema):
    corpus, _ = corpora.load("crema_d", crema)
    file = crema / "processedResults" / "tabulatedVotes.csv"
    rows = file.read_text().splitlines()
    file.write_text("\n".join([*rows, rows[2]]))
    with pytest.raises(CorpusError, match="face panel on '1038_IEO_ANG_HI' are there twice"):
        corpora.panel_votes("crema_d", corpus)
    file.write_text("\n".join([*rows[:2], rows[2].replace("9", "8", 1), *rows[3:]]))
    with pytest.raises(CorpusError, match="add up to numResponses in 1 rows, first in line 3"):
        corpora.panel_votes("crema_d", corpus)


def test_crema_d_finds_every_file_the_misnamed_one_too(crema):
    corpus, _ = corpora.load("crema_d", crema)
    assert all(corpus.path(path).is_file() for path in corpus.clips["path"])
    clip = corpus.clips.set_index("clip_id").loc["1040_ITH_SAD_XX"]
    assert clip["path"].startswith("AudioWAV/1040_ITH_SAD_X.")
    released = crema / clip["path"]
    released.rename(released.with_stem("1040_ITH_SAD_XX"))
    corpus, _ = corpora.load("crema_d", crema)
    clip = corpus.clips.set_index("clip_id").loc["1040_ITH_SAD_XX"]
    assert clip["path"].startswith("AudioWAV/1040_ITH_SAD_XX.")


def test_crema_d_says_how_much_of_it_is_there(crema):
    corpus, _ = corpora.load("crema_d", crema)
    assert corpus.listeners.startswith("CREMA-D's listeners, 6 of its 91 actors")
    paths = [corpus.path(path) for path in corpus.clips["path"]]
    audio, _ = soundfile.read(paths[0])
    for rate, said in ((16_000, ""), (11_025, ", audio at 11,025 Hz")):
        for path in paths:
            soundfile.write(path, audio, rate, format="WAV")
        corpus, _ = corpora.load("crema_d", crema)
        assert corpus.listeners == f"CREMA-D's listeners, 6 of its 91 actors{said}"


def test_crema_d_keeps_the_demographics(crema):
    corpus, _ = corpora.load("crema_d", crema)
    assert list(corpus.clips.columns) == [
        *COLUMNS,
        *corpus.emotions,
        *("age", "sex", "race", "ethnicity", "sentence", "intended"),
    ]
    assert (corpus.clips["age"] == 20 + corpus.clips["speaker"].astype(int) % 7).all()
    assert (corpus.clips["ethnicity"] == "Hispanic").all()


def test_crema_d_draws_splits_over_actors(crema):
    corpus, _ = corpora.load("crema_d", crema, split_seed=3)
    assert corpus.clips.groupby("speaker")["split"].nunique().max() == 1
    assert corpus.clips["split"].value_counts().to_dict() == {"train": 12, "devel": 3, "test": 3}
    again, _ = corpora.load("crema_d", crema, split_seed=3)
    pd.testing.assert_frame_equal(again.clips, corpus.clips)
    others = [corpora.load("crema_d", crema, split_seed=seed)[0] for seed in (4, 5, 6)]
    assert any((other.clips["split"] != corpus.clips["split"]).any() for other in others)


def test_crema_d_takes_given_splits(crema):
    given = {1038: "test", 1039: "train", 1040: "devel", 1041: "devel", 1042: "test", 1043: "test"}
    file = crema / "splits.csv"
    pd.DataFrame(given.items(), columns=["ActorID", "split"]).to_csv(file, index=False)
    corpus, _ = corpora.load("crema_d", crema)
    assert corpus.clips["split"].tolist() == [
        given[int(actor)] for actor in corpus.clips["speaker"]
    ]
    file.write_text("ActorID,split\n1038,train\n1039,devel\n")
    with pytest.raises(CorpusError, match=r"splits\.csv: actor 1040 has no split"):
        corpora.load("crema_d", crema)
    file.write_text("ActorID,split\n1038,train\n1039,devel\n1038,train\n1039,train\n")
    with pytest.raises(CorpusError, match=r"splits\.csv: actor 1039 is in two splits"):
        corpora.load("crema_d", crema)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (
            (0, "A"),
            "6",
            "the votes A, D, F, H, N, S do not add up to numResponses in 1 rows, first",
        ),
        ((0, "A"), "-5", "A of line 2 is '-5': expected a whole number from 0 to"),
        ((3, "N"), "2.5", "N of line 5 is '2.5': expected a whole number from 0 to"),
        ((0, "numResponses"), "0", "numResponses of line 2 is '0': expected a whole number from 1"),
        ((0, "numResponses"), "", "do not add up to numResponses in 1 rows, first in line 2"),
        ((1, "fileName"), "", "'fileName' is blank in 1 rows, first in line 3"),
        ((4, ""), "400001", "400001 in the first column, line 6, is no row's number"),
        ((4, ""), "", "in the first column, line 6, is no row's number"),
    ],
)
def test_crema_d_names_the_votes_that_are_none(crema, place, value, message):
    file = crema / "processedResults" / "tabulatedVotes.csv"
    votes = pd.read_csv(file, dtype=str).rename(columns={"Unnamed: 0": ""})
    votes.loc[place] = value
    votes.to_csv(file, index=False)
    with pytest.raises(CorpusError, match=rf"tabulatedVotes\.csv: .*{message}"):
        corpora.load("crema_d", crema)


def test_crema_d_needs_the_numbers_of_the_rows(crema):
    file = crema / "processedResults" / "tabulatedVotes.csv"
    pd.read_csv(file).iloc[:, 1:].to_csv(file, index=False)
    with pytest.raises(CorpusError, match="5, 0, 9, 5, 0 and 49 more in the first column, line 2"):
        corpora.load("crema_d", crema)


def test_crema_d_refuses_a_split_or_an_age_that_is_none_and_an_actor_twice(crema):
    (crema / "splits.csv").write_text("ActorID,split\n1038,train\n1039,dev\n")
    with pytest.raises(
        CorpusError, match=r"splits\.csv: the split in line 3 is 'dev': expected tr"
    ):
        corpora.load("crema_d", crema)
    (crema / "splits.csv").unlink()
    file = crema / "VideoDemographics.csv"
    people = file.read_text()
    file.write_text(people.replace("1001,20", "1001,twenty"))
    with pytest.raises(CorpusError, match=r"Demographics\.csv: Age of line 2 is 'twenty'"):
        corpora.load("crema_d", crema)
    file.write_text(people.replace("1001,", "1002,"))
    with pytest.raises(CorpusError, match=r"Demographics\.csv: the actor of line 3 is there twice"):
        corpora.load("crema_d", crema)


@pytest.mark.parametrize(
    ("file", "column"),
    [("processedResults/tabulatedVotes.csv", "numResponses"), ("VideoDemographics.csv", "Age")],
)
def test_crema_d_names_the_file_that_lacks_something(crema, file, column):
    pd.read_csv(crema / file).drop(columns=column).to_csv(crema / file, index=False)
    with pytest.raises(CorpusError, match=f"{file} has no column {column}"):
        corpora.load("crema_d", crema)
    (crema / file).unlink()
    with pytest.raises(CorpusError, match=f"{file} is not there: .*AudioWAV"):
        corpora.load("crema_d", crema)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the CREMA-D sample is not at {SAMPLE}")
def test_crema_d_reads_the_real_sample():
    corpus, dropped = corpora.load("crema_d", SAMPLE, allow_missing=True)
    assert len(corpus.clips) == 4904
    assert (dropped["reason"] == "label without audio").all()
    shares = corpus.clips[list(corpus.emotions)]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert corpus.clips["n_raters"].between(4, 12).all()
    actors = corpus.clips.groupby("speaker")["split"]
    assert (actors.nunique() == 1).all()
    assert actors.first().value_counts().to_dict() == {"train": 45, "devel": 15}
    assert corpus.clips[["age", "sex", "race", "ethnicity"]].notna().all(axis=None)
