"""The paper's two claims on predictions that support them, contradict them, or say nothing."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.studies import claims

EMOTIONS = ("Anger", "Calmness")


def predictions(noise: dict[tuple[str, int], float], n: int = 300) -> pd.DataFrame:
    """Devel predictions of each (encoder, architecture): shares and this much noise."""
    rng = np.random.default_rng(0)
    share = {emotion: rng.random(n) for emotion in EMOTIONS}
    tables = []
    for (encoder, architecture), sigma in noise.items():
        for emotion in EMOTIONS:
            columns = {"clip_id": np.arange(n), "share": share[emotion]}
            columns["prediction"] = share[emotion] + rng.normal(0, sigma, n)
            about = {"encoder": encoder, "architecture": architecture, "emotion": emotion}
            tables.append(pd.DataFrame(columns).assign(**about, seed=0, split="devel"))
    return pd.concat(tables, ignore_index=True)


def holds(noise: dict[tuple[str, int], float]) -> pd.DataFrame:
    return claims.claims(predictions(noise), EMOTIONS, resamples=200)


PAPERS = {
    ("hubert-large", 1): 0.4,
    ("hubert-large", 2): 0.2,
    ("wav2vec2-large", 1): 0.9,
    ("wav2vec2-large", 2): 1.8,
}


def test_data_that_support_both_claims():
    found = holds(PAPERS)
    base, large, mini = found[found["claim"] == claims.HUBERT].itertuples()
    assert base.holds == claims.SILENT and "HuBERT (Base) and wav2vec2.0 (Base)" in base.contrast
    assert np.isnan(base.difference) and mini.holds == claims.SILENT
    assert large.holds == claims.YES and large.difference > 0.1 and large.ci_low > 0
    good, poor, both = found[found["claim"] == claims.ATTENTION].itertuples()
    assert (good.holds, poor.holds, both.holds) == (claims.YES,) * 3
    assert "HuBERT (Large)" in good.contrast and "wav2vec2.0 (Large)" in poor.contrast
    assert both.difference == pytest.approx(good.difference + poor.difference)


def test_data_that_contradict_them():
    swapped = {("hubert-large", 1): 3.0, ("hubert-large", 2): 0.7}
    found = holds(swapped | {("wav2vec2-large", 1): 0.2, ("wav2vec2-large", 2): 0.4})
    large = found[found["contrast"].str.startswith("HuBERT (Large)")]
    assert list(large["holds"]) == [claims.NO]
    assert list(found[found["claim"] == claims.ATTENTION]["holds"]) == [claims.NO] * 3


def test_equal_systems_leave_them_open():
    found = holds(dict.fromkeys(PAPERS, 0.5))
    assert set(found["holds"]) == {claims.OPEN, claims.SILENT}


@pytest.mark.parametrize(
    "encoders",
    [
        ["fbank", "mfcc", "untrained"],  # no pretrained encoder
        ["hubert-large"],  # nothing to compare it with
        ["hubert-large", "fbank"],  # the pretrained encoder is the poorest
    ],
)
def test_data_that_cannot_speak_to_them(encoders):
    noise = {
        (encoder, a): 0.3 + (encoder == "hubert-large") for encoder in encoders for a in (1, 2)
    }
    found = holds(noise)
    assert list(found["holds"]) == [claims.SILENT] * 4
    assert found["contrast"].str.startswith("needs").all()


def test_one_architecture_alone_says_nothing_of_attention():
    found = holds({(encoder, 1): 0.3 for encoder in ("hubert-large", "wav2vec2-large", "fbank")})
    assert set(found["holds"]) == {claims.SILENT}
