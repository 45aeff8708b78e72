"""Weights on disk: safetensors with their checksum inside, whole or not there."""

from pathlib import Path

import safetensors.torch
from torch import Tensor

from emoshare_utils.files import SEAL, UNSEALED, DamagedError, atomic, read_sealed, sealed


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    content = safetensors.torch.save(tensors, {"format": "pt", SEAL: UNSEALED.decode()})
    with atomic(path) as file:
        file.write(sealed(content))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote; raises as `read_sealed`."""
    content = read_sealed(path)
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # whatever damage makes safetensors raise
        raise DamagedError(path, error) from error
