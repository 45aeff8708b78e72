"""Weights on disk: safetensors with their checksum inside, whole or not there."""

import json
from pathlib import Path

import safetensors.torch
from torch import Tensor

from emoshare_utils.files import SEAL, UNSEALED, DamagedError, atomic, read_sealed, sealed


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    content = safetensors.torch.save(tensors, {"format": "pt", SEAL: UNSEALED.decode()})
    with atomic(path) as file:
        file.write(sealed(_in_order(content)))


def _in_order(content: bytes) -> bytes:
    """The same content, whose header has its entries in order: the library's order is random."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":"))
    assert len(header) <= end - 8
    return content[:8] + header.encode().ljust(end - 8) + content[end:]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote; raises as `read_sealed`."""
    content = read_sealed(path)
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # whatever damage makes safetensors raise
        raise DamagedError(path, error) from error
