"""Label files: read as text, what their cells are is decided by parsing, and errors say where."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from emoshare_utils.corpora import reading
from emoshare_utils.corpora.clip_table import CorpusError
from emoshare_utils.corpora.reading import (
    NULLS,
    listed,
    numeric_shares,
    read_table,
    require_columns,
    share_columns,
    typed,
    whole_numbers,
)


@pytest.fixture
def read(tmp_path):
    """Read these bytes as a label file with the columns path and Joy."""

    def run(content: str | bytes, name: str = "labels.csv") -> pd.DataFrame:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(file, ["path", "Joy"], "a table")

    return run


def test_a_missing_column_names_the_file_and_what_it_has(tmp_path):
    with pytest.raises(CorpusError, match=r"a\.csv has no column Joy: expected.*found path, joy"):
        require_columns(pd.DataFrame(columns=["path", "joy"]), ["path", "Joy"], tmp_path / "a.csv")


PLAIN = "path,Joy\na,1\nNA,007\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.strip(),
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        " path , Joy \n a ,  1\n\tNA, 007 \n",
        'path, "Joy"\n"a", "1"\n"NA" ,007\n'.replace('" ,', '",'),
        "path,Joy,,\na,1,,\nNA,007, ,\n",
        "\npath,Joy\n\n  \na,1\nNA,007\n\n",
    ],
)
def test_every_cell_is_the_text_it_is_without_the_blanks_around_it(read, content):
    table = read(content)
    assert table.to_dict("list") == {"path": ["a", "NA"], "Joy": ["1", "007"]}


def test_rows_are_named_by_their_first_line(read):
    table = read('path,Joy,said\n\na,1,"two\nlines"\nb,0,"a ""quoted"", word"\n')
    assert table.index.tolist() == [3, 5] and table.index.name == "line"
    assert table["said"].tolist() == ["two\nlines", 'a "quoted", word']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b" \r\n\n", "it is empty"),
        (b"path,Joy\n", "no line follows its header"),
        (PLAIN.encode("utf-16"), "it is UTF-16: save it as CSV in UTF-8"),
        (b"\xff\xfe\x00\x81", "it is UTF-16"),
        (PLAIN.encode("utf-16-le"), "a NUL is in line 1, as in no text: save it as CSV in UTF-8"),
        (b"path,Joy\na,1\n\0,0\n", "a NUL is in line 3"),
        ("path,Joy\na,1\nä,0\n".encode("cp1252"), "byte 0xe4 in line 3 is not UTF-8: save it as"),
        (b"\x89PNG\r\n\x1a\n\0\0", "byte 0x89 in line 1 is not UTF-8"),
        (b'path,Joy\na,1\n"b', r'line 3: unexpected end of data; is a quote \("\) not closed'),
        (b'path,Joy\na,1\n"b"c,1\n', "line 3: ',' expected after '\"'"),
        (b"path,Joy\na,1\n" + b"x" * 200_000 + b",1\n", "line 3: field larger than field limit"),
        (b"path,Joy\na,1\nb\n", "line 3 has 1 cells, the header 2: put a cell that holds a comma"),
        (b"path,Joy\n\na,0,5\n", "line 3 has 3 cells, the header 2"),
        (b"path,Joy, joy \na,1,1\n", "more than one column is called 'Joy': rename or delete one"),
        (b"path,Joy,path\na,1,1\n", "more than one column is called 'path'"),
        (b"path,,Joy\na,7,1\n", "column 2 has no name: name it"),
        (
            b"path,Joy" + b",c" * 1999 + b"\n",
            "it has 2,001 columns, more than 2,000: a clip is a row",
        ),
        (b"path;Joy\na;0.5\n", "semicolons stand between its cells: save it with commas"),
        (b"path;Joy\na;0,5\n", r"semicolons stand .*with points in its numbers \(0.5\)"),
        (b'"path";"Joy"\n"a";"0,5"\n', "semicolons stand between its cells"),
        (b"path\tJoy\na\t0.5\n", "tabs stand between its cells"),
        (b"path|Joy\ra|0.5\r", "vertical bars stand between its cells"),
    ],
)
def test_a_file_that_is_no_table_says_why(tmp_path, read, content, message):
    with pytest.raises(
        CorpusError, match=rf"^{tmp_path}/labels\.csv is not readable as a table: {message}"
    ):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path\na\n", "has no column Joy: expected path, Joy, found path"),
        ("path,Joy\na,1\n,0\n ,1\n", ": 'path' is blank in 2 rows, first in line 3: fill in or"),
        ("Path,Joy\na,1\n", "has no column path: expected path, Joy, found Path, Joy: rename"),
    ],
)
def test_a_table_that_lacks_something_says_what(tmp_path, read, content, message):
    with pytest.raises(CorpusError, match=rf"^{tmp_path}/labels\.csv ?{message}"):
        read(content)


def test_what_is_no_file_is_not_there(tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("labels.csv", "loop.csv", "folder.csv", "a\0.csv"):
        with pytest.raises(CorpusError, match=r"csv is not there: the corpus folder must hold a t"):
            read_table(tmp_path / name, ["path"], "a table")
    with pytest.raises(CorpusError, match="is not readable as a table: .*File name too long"):
        read_table(tmp_path / ("x" * 5000), ["path"], "a table")


def test_a_file_too_large_for_a_table_is_not_read(read, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", len(PLAIN) - 1)
    with pytest.raises(CorpusError, match="is not readable as a table: it has more than 19 bytes"):
        read(PLAIN)


# Parquet


def as_parquet(table: pd.DataFrame | pa.Table) -> bytes:
    content = io.BytesIO()
    table = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table)
    parquet.write_table(table, content)
    return content.getvalue()


def test_parquet_is_read_as_the_same_text(read):
    table = pd.DataFrame({"path": [" a", "NA"], "Joy": [0.1, None], " n ": [3, 4]})
    table["half"] = np.float32([0.1, 0.2])
    table["word"], table["yes"] = pd.Categorical(["x", None]), [True, False]
    content = as_parquet(table.set_index(pd.Index([7, 7])))
    assert read(content, "labels.parquet").to_dict("list") == {
        "path": ["a", "NA"],
        "Joy": ["0.1", ""],
        "n": ["3", "4"],
        "half": [repr(float(np.float32(0.1))), repr(float(np.float32(0.2)))],
        "word": ["x", ""],
        "yes": ["True", "False"],
    }
    named = read(as_parquet(table.set_index("path")), "labels.parquet")
    assert named["path"].tolist() == ["a", "NA"]  # an index that has a name is a column
    assert named.index.tolist() == [1, 2] and named.index.name == "row"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Parquet file size is 0 bytes"),
        (b"PAR1 and no more", "Parquet"),
        (PLAIN.encode(), "Parquet magic bytes not found"),
        (as_parquet(pd.DataFrame({"path": [], "Joy": []})), "it has no rows"),
        (as_parquet(pa.table([["a"], [1], [1]], ["path", "Joy", "Joy"])), "more than one column"),
        (as_parquet(pa.table([["a"], [1], [1]], ["path", "Joy", " JOY"])), "more than one column"),
        (as_parquet(pa.table([["a"], [1], [1]], ["path", "Joy", ""])), "column 3 has no name"),
    ],
)
def test_a_parquet_file_that_is_no_table_says_why(read, content, message):
    with pytest.raises(CorpusError, match=rf"parquet is not readable as a table: .*{message}"):
        read(content, "labels.parquet")


def test_parquet_that_promises_too_much_is_not_read(read, monkeypatch):
    monkeypatch.setattr(reading, "MOST_ROWS", 10**6)
    many = pa.table({"path": ["a"] * (10**6 + 1)})
    with pytest.raises(CorpusError, match=r"promises 1,000,001 rows, more than 1,000,000"):
        read(as_parquet(many), "labels.parquet")
    wide = pa.table({str(number): [1] for number in range(2001)})
    with pytest.raises(CorpusError, match="it has 2,001 columns, more than 2,000"):
        read(as_parquet(wide), "labels.parquet")


# Numbers


def text(values: list[str], name: str = "Joy") -> pd.DataFrame:
    return pd.DataFrame({name: values}, pd.RangeIndex(2, 2 + len(values), name="line"), dtype=str)


def test_masked_shares_are_null(tmp_path):
    table = text(["0.5", *sorted(NULLS), "N/A", "NaN", "None"])
    numbers = numeric_shares(table, [False] + [True] * (len(table) - 1), tmp_path)
    np.testing.assert_array_equal(numbers["Joy"], [0.5] + [np.nan] * (len(table) - 1))
    floats = pd.DataFrame({"Joy": [0.5, np.nan], "Anger": [0, 1]})
    numbers = numeric_shares(floats, [False, True], tmp_path)
    pd.testing.assert_frame_equal(numbers, floats.astype(float))


@pytest.mark.parametrize("value", ["0.25", ".25", "+0.25", "25e-2", "0.250"])
def test_a_share_is_any_notation_of_a_number(tmp_path, value):
    assert numeric_shares(text([value, "0"]), [False] * 2, tmp_path)["Joy"].tolist() == [0.25, 0]


@pytest.mark.parametrize(
    ("value", "what", "remedy"),
    [
        ("0.3O", "that are no numbers", "expected the fraction of listeners, a number from 0 to 1"),
        ("0x1", "that are no numbers", "expected the fraction"),
        ("1_0", "that are no numbers", "expected the fraction"),
        ("٠.٥", "that are no numbers", "expected the fraction"),
        ("5/9", "that are no numbers", "expected the fraction"),
        ("45%", "that are no numbers", "percent, divide by 100"),
        ("4.5 %", "that are no numbers", "percent, divide by 100"),
        ("0,5", "that are no numbers", "a decimal comma, write 0.5 for 0,5"),
        (",5", "that are no numbers", "a decimal comma, write 0.5 for 0,5"),
        (
            "34",
            "outside [0, 1]",
            "with shares up to 34 the column seems to hold percent, divide by 100",
        ),
        ("1.5", "outside [0, 1]", "expected the fraction"),
        ("-0.01", "outside [0, 1]", "expected the fraction"),
        ("inf", "outside [0, 1]", "expected the fraction"),
        (
            "?",
            "missing in train or devel",
            "fill it in, or leave the clip out; only shares of test",
        ),
        ("", "missing in train or devel", "fill it in, or leave the clip out; only shares of test"),
        ("NA", "missing in train or devel", "fill it in, or leave the clip out; only shares of te"),
    ],
)
def test_any_other_share_is_refused_with_column_line_value_and_remedy(
    tmp_path, value, what, remedy
):
    with pytest.raises(CorpusError) as refused:
        numeric_shares(text(["0.5", "0.5", value]), [False] * 3, tmp_path / "a.csv")
    assert str(refused.value).startswith(
        f"{tmp_path}/a.csv: shares {what} in Joy, 1 clips: line 4. "
        f"'Joy' of line 4 is {value!r}: {remedy}"
    )
    assert str(refused.value).endswith("(in your own table, name the share columns with shares)")


def test_a_long_value_is_cut(tmp_path):
    table = text(["0.5"] + ["é\n" * 5000] * 9, "J" * 300)
    with pytest.raises(CorpusError) as refused:
        numeric_shares(table, [False] * 10, tmp_path / "a.csv")
    message = str(refused.value)
    assert "9 clips: line 3, line 4, line 5, line 6, line 7 and 4 more" in message
    assert len(message) < 500 + len(str(tmp_path)) and message.isprintable()


@pytest.mark.parametrize(
    ("cells", "is_share"),
    [
        (["0", "1"], True),
        (["34", "40"], True),  # refused as a share: outside [0, 1]
        (["0.5", "?"], True),
        (["0.5", "hello"], True),  # refused as a share: no number
        (["45%", "50%"], True),
        (["0,5", "0,25"], True),
        (["1.72 s", "2.46 s"], False),
        (["hello", "7, seven"], False),
        (["?", ""], False),
        (["nan", "None"], False),
    ],
)
def test_a_column_with_one_number_in_it_is_a_share_column(cells, is_share):
    assert share_columns(text(cells)) == (["Joy"] if is_share else [])


@pytest.mark.parametrize("value", ["4.5", "0", "-1", "many", "1e30", "inf", "0x4"])
def test_whole_numbers_are_none_else(tmp_path, value):
    numbers = whole_numbers(text(["3", "4.0", "?", ""])["Joy"], tmp_path, least=1)
    assert numbers.tolist() == [3, 4, pd.NA, pd.NA] and numbers.dtype == "Int64"
    message = rf"a\.csv: Joy of line 3 is '{value}': expected a whole number from 1 to 1,000,000"
    with pytest.raises(CorpusError, match=message):
        whole_numbers(text(["3", value])["Joy"], tmp_path / "a.csv", least=1)


def test_a_further_column_is_of_numbers_or_of_text():
    assert typed(text(["3", "4"])["Joy"]).tolist() == [3, 4]
    assert typed(text(["3", "4"])["Joy"]).dtype == "int64"
    np.testing.assert_array_equal(typed(text(["3", "?"])["Joy"]), [3, np.nan])
    mixed = typed(text(["3", "NA", "none", ""])["Joy"].replace("3", "three"))
    assert mixed.tolist()[:3] == ["three", "NA", "none"] and mixed.isna().tolist()[3]


def test_values_are_listed_in_one_line():
    assert listed(["a", "b\n", "c" * 50]) == f"a, 'b\\n', {'c' * 39}…"
    assert listed(range(7)) == "0, 1, 2, 3, 4 and 2 more"
