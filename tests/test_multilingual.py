"""The multilingual profile, every id of it a small model of the same kind on disk."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import transformers

from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.features.store import open_store
from emoshare_utils.paths import Run
from emoshare_utils.runner.notebooks import read_notebooks
from emoshare_utils.runner.profiles import read_profile
from emoshare_utils.runner.workbook import run

PROJECT = Path(__file__).parents[1]
SIZE = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SAMPLES = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
SAMPLES |= {"hidden_size": 8, **SIZE}
LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
WHISPER = {"d_model": 8, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}
WHISPER |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16}
WHISPER |= {"vocab_size": 9, "decoder_start_token_id": 4, "num_mel_bins": 128}
WHISPER |= {f"{token}_token_id": number for number, token in enumerate(("pad", "bos", "eos"))}
MODELS = {  # id -> configuration of the published model's kind, and its feature extractor
    "facebook/wav2vec2-large-xlsr-53": transformers.Wav2Vec2Config(**SAMPLES, **LARGE),
    "facebook/wav2vec2-xls-r-300m": transformers.Wav2Vec2Config(**SAMPLES, **LARGE),
    "utter-project/mHuBERT-147": transformers.HubertConfig(**SAMPLES, feat_extract_norm="group"),
    "microsoft/wavlm-large": transformers.WavLMConfig(**SAMPLES, **LARGE),
    "hubert-large": transformers.HubertConfig(**SAMPLES, **LARGE),
    "openai/whisper-large-v3": transformers.WhisperConfig(**WHISPER),
    "facebook/w2v-bert-2.0": transformers.Wav2Vec2BertConfig(hidden_size=8, **SIZE),
}
EXTRACTORS = {
    "whisper": transformers.WhisperFeatureExtractor(feature_size=128),
    "wav2vec2-bert": transformers.SeamlessM4TFeatureExtractor(padding_value=1),
}
SMALL = {
    "architecture": [1],
    "sizes": {"cnn": [8], "pool": 4, "lstm": 8, "ffnn_1": [8], "ffnn_2": [8]},
    "training": {"epochs": 1, "batch_size": 16, "precision": "float32"},
    "resamples": 20,
    "draws": 5,
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a folder of a small model where each id would be looked up first."""
    for name in ("notebooks", "profiles"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    for name, config in MODELS.items():
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path / name)
        samples = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
        EXTRACTORS.get(config.model_type, samples).save_pretrained(tmp_path / name)
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def write_challenge(root: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("lab", "wav"):
        (root / folder).mkdir(parents=True)
    for start, (split, n) in enumerate({"train": 8, "devel": 4, "test": 4}.items()):
        labels = pd.DataFrame({"filename": [f"{100 * start + clip:05d}.wav" for clip in range(n)]})
        for emotion in PAPER_EMOTIONS:
            labels[emotion] = rng.integers(0, 11, n) / 10
        labels.to_csv(root / "lab" / f"{split}.csv", index=False)
        for name in labels["filename"]:
            samples = rng.normal(0, 0.1, rng.integers(5_000, 16_000))
            soundfile.write(root / "wav" / name, samples, 16_000)


def test_the_profile_runs_with_every_encoder_it_names(project, without_kernels):
    write_challenge(project / "data")
    own = project / "own"  # and with frames made elsewhere
    own.mkdir()
    for path in (project / "data" / "wav").glob("*.wav"):
        np.save(own / f"{path.stem}.npy", np.random.default_rng(0).normal(size=(9, 4)))
    given = {**SMALL, "root": str(project / "data")}
    named = read_profile("multilingual", given, read_notebooks()).parameters["encoder"]
    assert set(named) == set(MODELS)
    steps = run("multilingual", {**given, "encoder": [*named, "frames:own"]})
    assert [step.notebook[:2] for step in steps] == ["01", "02", "03", "04"]
    this = Run("multilingual")
    results = pd.read_parquet(this.results)
    assert set(results["encoder"]) == {*named, "frames:own"}
    assert results.groupby("encoder")["emotion"].nunique().eq(len(PAPER_EMOTIONS)).all()
    clips = pd.read_parquet(this.folder / "clips.parquet")
    n = (clips["duration_s"] * 16_000).round().astype(int)
    for name, frames in {
        "openai/whisper-large-v3": -(-n // 320),
        "facebook/w2v-bert-2.0": (n - 560) // 320 + 1,
        "microsoft/wavlm-large": (n - 400) // 320 + 1,
        "frames:own": n * 0 + 9,
    }.items():
        lengths = open_store(this.features, name).lengths(clips["clip_id"])
        np.testing.assert_array_equal(lengths, frames)
    table = (this.figures / "table1.html").read_text()
    assert "openai/whisper-large-v3" in table and "frames:own" in table
