"""Tables that a run keeps, each with its checksum inside.

Any reader of parquet reads these files; ours compares them with the checksum in their metadata, so
that a bit that flipped on disk is noticed.
"""

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from emoshare_utils.files import SEAL, UNSEALED, DamagedError, atomic, read_sealed, sealed


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, whole or not at all."""
    content, stream = pa.Table.from_pandas(table, preserve_index=False), io.BytesIO()
    about = {**content.schema.metadata, SEAL: UNSEALED}
    pq.write_table(content.replace_schema_metadata(about), stream)
    with atomic(path) as file:
        file.write(sealed(stream.getvalue()))


def read_parquet(path: Path) -> pd.DataFrame:
    """Read what `write_parquet` wrote.

    Raises:
        DamagedError: it cannot be read, or is not what was written.
        FileNotFoundError: it is not there.
    """
    content = read_sealed(path)
    try:
        return pd.read_parquet(io.BytesIO(content), page_checksum_verification=True)
    except Exception as error:  # whatever damage makes pyarrow raise
        raise DamagedError(path, error) from error
