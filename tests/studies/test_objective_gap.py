"""Which encoders the study of objectives takes, and its contrasts."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.studies.objective_gap import encoders_to_study, objective_contrasts


@pytest.fixture
def trained():
    """encoder, architecture, mean_rho; the reference has one architecture only."""
    rows = [("hubert-mini", 1, 0.3), ("hubert-mini", 2, 0.4), ("wav2vec2-mini", 1, 0.2)]
    rows += [("wav2vec2-mini", 2, 0.1), ("untrained", 1, np.nan), ("untrained", 2, np.nan)]
    rows += [("fbank", 1, 0.2), ("hubert-mini", 0, 0.9)]
    table = pd.DataFrame(rows, columns=["encoder", "architecture", "mean_rho"])
    return table.assign(note="")


def test_encoders_with_every_architecture_are_studied(trained, tmp_path, capsys):
    trained.to_parquet(tmp_path / "predictions.parquet")
    asked = ["hubert-mini", "untrained", "fbank"]
    studied, encoders = encoders_to_study(tmp_path / "predictions.parquet", asked)
    assert encoders == ["hubert-mini", "untrained"]
    assert set(studied["encoder"]) == set(encoders) and set(studied["architecture"]) == {1, 2}
    assert capsys.readouterr().out.startswith("fbank is not trained with every architecture")
    with pytest.raises(FileNotFoundError, match="none of the encoders asked for"):
        encoders_to_study(tmp_path / "predictions.parquet", ["mfcc"])


def test_contrasts_are_the_mean_of_a_pair_and_the_better_architecture_of_others(trained):
    summary = trained.query("architecture > 0 and encoder != 'fbank'")
    pairs = [["hubert-mini", "hubert-mini@2"], ["wav2vec2-mini", "wav2vec2-mini@2"]]
    contrasts = objective_contrasts(summary, *pairs, ["fbank", "untrained"])
    hubert, wav2vec2 = "hubert-mini", "wav2vec2-mini"
    assert contrasts == {
        "HuBERT-mini − wav2vec2-mini, mean of A1 and A2": {
            (hubert, 1): 0.5,
            (hubert, 2): 0.5,
            (wav2vec2, 1): -0.5,
            (wav2vec2, 2): -0.5,
        },
        "HuBERT-mini (A2) − untrained (A1)": {(hubert, 2): 1, ("untrained", 1): -1},
        "wav2vec2-mini (A1) − untrained (A1)": {(wav2vec2, 1): 1, ("untrained", 1): -1},
    }
