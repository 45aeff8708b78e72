"""Damaged label files of every kind: a valid corpus, or one error that names the file."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emoshare_utils import corpora
from emoshare_utils.corpora.clip_table import COLUMNS, PAPER_EMOTIONS, SPLITS, Corpus, CorpusError

MUTATIONS = 25  # of each label file
LONGEST_MESSAGE = 600  # characters

CELLS = [
    *("", " ", "?", "-", "NA", "n.a.", "None", "null", "nan", "inf", "-inf", "1e400", "1e-400"),
    *("0.3O", "45%", "0,5", "-0.1", "1.01", "4.5", "0", "-1", "007", "1e30", "9" * 400, "0x10"),
    *("1_0", "٠.٥", "½", "TRUE", ".", "..", "/", "/etc/passwd", "../x.wav", "loop/x.wav"),
    *("a/../0.wav", "wav", "~", "C:\\x.wav", "x" * 5000, "x" * 200_000, "a\nb", 'a"b', "a,b", ";"),
    *("\t", "\0", "\ufeff", "\u200b", "Ü", "人", "=1+1", "<script>", "$x_{$", "train", "devel"),
    *("test", "Train", "dev", "0.wav", "s0", "path", "split", "clip_id", "mean", "note", "joy"),
    *("expected_Joy", "audio_checksum", "duration_s", "n_raters", "emotion", "'", "__index__"),
]
ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "cp037"]


def table_rows() -> list[list[str]]:
    header = ["path", "split", "speaker", "clip_id", "n_raters", "Joy", "Überraschung", "word"]
    rows = [
        [f"{i}.wav", ("train", "devel", "test")[i % 3], f"s{i % 6}", f"c{i:03d}", "5"]
        + [f"{i / 12:.2f}", f"{1 - i / 12:.3f}", f"hello, {i}"]
        for i in range(12)
    ]
    rows[11][5] = "?"
    return [header, *rows]


def answer_rows() -> list[list[str]]:
    answers = ["Joy", "Joy;Anger", "", "Überraschung|Joy", "none"]
    return [["path", "speaker", "rater", "emotion"]] + [
        [f"{i}.wav", f"s{i % 6}", f"r{rater}", answers[(i + rater) % 5]]
        for i in range(12)
        for rater in range(3)
    ]


def challenge_rows(split: str) -> list[list[str]]:
    share = "?" if split == "test" else "0.25"
    return [["filename", *PAPER_EMOTIONS]] + [[f"{split}_{i}.wav", *[share] * 9] for i in range(4)]


def vote_rows() -> list[list[str]]:
    clips = [f"{actor}_IEO_ANG_HI" for actor in range(1001, 1007)]
    header = ["", *"ADFHNS", "fileName", "numResponses", "emoVote"]
    votes = {"1": "3 0 1 0 5 0", "2": "9 0 0 0 0 0", "3": "0 0 0 0 0 9"}
    return [header] + [
        [f"{modality}{i:05d}", *given.split(), clip, "9", "A"]
        for modality, given in votes.items()
        for i, clip in enumerate(clips)
    ]


def demographics_rows() -> list[list[str]]:
    people = [[str(actor), "20", "Male", "Asian", "Hispanic"] for actor in range(1001, 1007)]
    return [["ActorID", "Age", "Sex", "Race", "Ethnicity"], *people]


def split_rows() -> list[list[str]]:
    splits = ["train", "train", "devel", "devel", "test", "test"]
    return [["ActorID", "split"]] + [[str(1001 + i), split] for i, split in enumerate(splits)]


def written(rows: list[list[str]], separator: str = ",") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, tuple[str, Path, Path, list[list[str]]]]:
    """A corpus of each kind, and its label files: corpus, root, file, rows."""
    root = tmp_path_factory.mktemp("labels")
    votes = root / "crema" / "processedResults" / "tabulatedVotes.csv"
    files = {
        "table": ("table", root / "table", root / "table" / "clips.csv", table_rows()),
        "parquet": ("table", root / "table", root / "table" / "clips.parquet", table_rows()),
        "answers": ("table", root / "answers", root / "answers" / "clips.csv", answer_rows()),
        "votes": ("crema_d", root / "crema", votes, vote_rows()),
    }
    for split in SPLITS:
        file = root / "challenge" / "lab" / f"{split}.csv"
        files[split] = ("compare23", root / "challenge", file, challenge_rows(split))
    for name, rows in (("splits", split_rows()), ("VideoDemographics", demographics_rows())):
        files[name] = ("crema_d", root / "crema", root / "crema" / f"{name}.csv", rows)
    audio = [f"{folder}/{i}.wav" for folder in ("table", "answers") for i in range(12)]
    audio += [f"challenge/wav/{split}_{i}.wav" for split in SPLITS for i in range(4)]
    audio += [f"crema/AudioWAV/{actor}_IEO_ANG_HI.wav" for actor in range(1001, 1007)]
    for path in audio:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    (root / "table" / "loop").symlink_to("loop")
    for _, _, file, rows in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(as_parquet(rows) if file.suffix == ".parquet" else written(rows))
    return files


def mutated_rows(rows: list[list[str]], rng: np.random.Generator) -> list[list[str]]:
    rows = [list(row) for row in rows]
    for _ in range(rng.integers(1, 4)):
        row, column = rng.integers(len(rows)), rng.integers(len(rows[0]))
        match rng.integers(9):
            case 0 | 1 | 2:
                rows[row][min(column, len(rows[row]) - 1)] = str(rng.choice(CELLS))
            case 3:
                rows[0][min(column, len(rows[0]) - 1)] = str(rng.choice(CELLS))
            case 4 if len(rows) > 2:
                del rows[row]
            case 5:
                rows.insert(row, list(rows[rng.integers(len(rows))]))
            case 6 if len(rows[0]) > 1:
                rows = [each[:column] + each[column + 1 :] or [""] for each in rows]
            case 7:
                rows = [each + each[column : column + 1] for each in rows]
            case 8:
                value = str(rng.choice(CELLS))
                rows[1:] = [[*each[:column], value, *each[column + 1 :]] for each in rows[1:]]
    return rows


def mutated_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(len(content) + 1, size=2))
    match rng.integers(9):
        case 0 | 1 | 2:
            flipped = bytearray(content)
            for place in rng.integers(len(content), size=rng.integers(1, 9)):
                flipped[place] ^= 1 << rng.integers(8)
            return bytes(flipped)
        case 3:
            return content[:start]
        case 4:
            return content[:start] + content[end:]
        case 5:
            return content[:start] + rng.bytes(rng.integers(1, 20)) + content[start:]
        case 6:
            return content[:end] + content[start:]
        case 7:
            return content.replace(b"\n", [b"\r\n", b"\r", b"\n\n", b"\n,"][rng.integers(4)])
        case _:
            return rng.bytes(rng.integers(0, 300))


def mutated_csv(rows: list[list[str]], rng: np.random.Generator) -> bytes:
    kind = rng.integers(10)
    if kind < 4:
        return written(mutated_rows(rows, rng))
    if kind == 4:
        text = written(rows, str(rng.choice([";", "\t", "|"])))
        return text.replace(b"0.", b"0,") if rng.random() < 0.5 else text
    if kind == 5:
        return written(rows).decode().encode(str(rng.choice(ENCODINGS)), errors="replace")
    return mutated_bytes(written(rows), rng)


def as_parquet(rows: list[list[str]]) -> bytes:
    """A parquet file of columns of numbers where all cells are, and of text."""
    table = pd.DataFrame(rows[1:], columns=rows[0])
    for column in set(table.columns[~table.columns.duplicated(keep=False)]):
        numbers = pd.to_numeric(table[column].replace("?", "nan"), errors="coerce")
        if numbers.notna().sum() >= len(numbers) - 1:
            table[column] = numbers
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return content.getvalue()


def mutated_parquet(rows: list[list[str]], rng: np.random.Generator) -> bytes:
    if rng.random() < 0.5:
        return mutated_bytes(as_parquet(rows), rng)
    while True:
        mutated = mutated_rows(rows, rng)
        square = [(row + [""] * len(mutated[0]))[: len(mutated[0])] for row in mutated]
        if len(set(square[0])) == len(square[0]):  # pandas writes no others
            return as_parquet(square)


def check_corpus(corpus: Corpus) -> None:
    clips, emotions = corpus.clips, list(corpus.emotions)
    assert list(clips.columns[: len(COLUMNS)]) == list(COLUMNS) and clips.columns.is_unique
    assert emotions and not set(emotions) & set(COLUMNS)
    shares = clips[emotions]
    assert shares.map(lambda share: np.isnan(share) or 0 <= share <= 1).all(axis=None)
    assert (shares.notna().all(axis=1) | (clips["split"] == "test")).all()
    assert clips["clip_id"].is_unique and (clips["clip_id"] != "").all()
    assert clips["path"].is_unique and all(corpus.path(path).exists() for path in clips["path"])
    assert clips["split"].isin(SPLITS).all()
    assert (clips["split"].value_counts()[["train", "devel"]] >= 2).all()
    assert (clips["n_raters"].dropna() >= 1).all()


def outcome(place: tuple, content: bytes, allow_missing: bool) -> str:
    """Load the corpus with this label file; what came of it."""
    name, root, file, _ = place
    before = file.read_bytes()
    file.write_bytes(content)
    options = {"labels": file.name} if name == "table" else {}
    try:
        corpus, _ = corpora.load(name, root, allow_missing=allow_missing, **options)
    except CorpusError as error:
        message = str(error)
        named = file.name in message or (name == "compare23" and f"{root / 'lab'}:" in message)
        named |= name == "crema_d" and "tabulatedVotes.csv" in message  # where the clips are
        assert named and len(message) - len(str(root)) < LONGEST_MESSAGE, message
        assert message.isprintable(), message
        return "refused"
    finally:
        file.write_bytes(before)
    check_corpus(corpus)
    return "valid"


LABELS = ["table", "parquet", "answers", *SPLITS, "votes", "splits", "VideoDemographics"]


@pytest.mark.parametrize("label", LABELS)
def test_an_undamaged_label_file_is_valid(places, label):
    assert outcome(places[label], places[label][2].read_bytes(), False) == "valid"


@pytest.mark.parametrize("label", LABELS)
def test_a_damaged_label_file_is_valid_or_named(places, label):
    rng = np.random.default_rng(LABELS.index(label))
    mutated = mutated_parquet if label == "parquet" else mutated_csv
    found = [
        outcome(places[label], mutated(places[label][3], rng), bool(rng.integers(2)))
        for _ in range(MUTATIONS)
    ]
    assert 0.3 < found.count("refused") / MUTATIONS < 1
