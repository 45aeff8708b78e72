"""What tests of corpora share."""

from pathlib import Path

import pytest
import soundfile


@pytest.fixture
def write_audio(sound):
    def write(*files: Path) -> None:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, sound(0, 800), 16_000)

    return write
