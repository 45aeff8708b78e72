"""The system that ships: small, no code, calibrated on unseen speakers, and its card says so."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from emoshare_utils import load_system, predict
from emoshare_utils.files import read_json
from emoshare_utils.predicting.trained import SHIPPED

EMOTIONS = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")


@pytest.fixture(scope="module")
def system():
    return load_system()


def test_it_is_small_and_installed_with_the_package():
    files = [file for file in SHIPPED.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".safetensors", ".json", ".md"}
    assert sum(file.stat().st_size for file in files) < 6_000_000
    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    data = settings["tool"]["setuptools"]["package-data"]["emoshare_utils"]
    shipped = {file for glob in data for file in (root / "emoshare_utils").glob(glob)}
    assert {*files, SHIPPED.parent / "card.md"} <= shipped


def test_it_reads_any_recording(system, sound):
    assert system.emotions == EMOTIONS and system.encoder.name == "hubert-mini-3@2"
    assert [each.encoder.name for each in system.beside] == ["fbank", "hubert-mini@2"]
    found = predict(sound(0, 16_000), sample_rate=16_000)
    assert found["emotion"].tolist() == [*EMOTIONS]
    assert found["share"].between(0, 1).all()
    assert (found["low"] <= found["share"]).all() and (found["share"] <= found["high"]).all()
    np.testing.assert_allclose(found["share"], system.predict(sound(0, 16_000))["share"], atol=1e-5)


def test_its_intervals_were_calibrated_on_speakers_that_it_had_not_heard(system):
    assert (system.interval.speakers, system.interval.level) == (15, 0.9)
    assert system.interval.clips > 1200
    for emotion in EMOTIONS:
        assert 0.86 < system.interval.coverage[emotion]["mean"] < 0.94
        assert 0 < system.interval.quantiles[emotion] < 2


def test_its_card_states_what_was_measured_and_what_it_must_not_be_used_for(system):
    rho = read_json(SHIPPED / "system.json")["rho"]
    for emotion in EMOTIONS:
        found = system.interval.coverage[emotion]
        row = f"| {emotion} | {rho[emotion]:.3f} | {found['mean']:.1%} | {found['lowest']:.0%} to"
        assert row in system.card
    for said in ("91 actors", "45 trained", "15 others", "12 short English sentences", "hiring"):
        assert said in " ".join(system.card.split())
