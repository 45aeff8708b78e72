"""Whisper and w2v-BERT: the frames are those of transformers for each clip by itself."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from emoshare_utils.device import one_thread
from emoshare_utils.features import log_mel_encoder
from emoshare_utils.features.encoder import EncoderError
from emoshare_utils.features.encoders import batch_errors, load_encoder, load_encoders
from emoshare_utils.features.extract import expected_frames, extract, extract_layers

SIZE = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WHISPER = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
WHISPER |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
WHISPER |= {"vocab_size": 20, "decoder_start_token_id": 4}
WHISPER |= {f"{token}_token_id": number for number, token in enumerate(("pad", "bos", "eos"))}
DROP = {"dropout": 0.5, "encoder_layerdrop": 0.5, "attention_dropout": 0.5}  # in training alone
KINDS = ["whisper", "whisper-v3", "w2v-bert"]


def save(folder: Path, kind: str, **change) -> str:
    """A small model in the hub's layout: config.json, model.safetensors, preprocessor_config."""
    torch.manual_seed(0)
    if kind == "w2v-bert":
        config = transformers.Wav2Vec2BertConfig(hidden_size=16, **SIZE | change)
        transformers.Wav2Vec2BertModel(config).save_pretrained(folder)
        transformers.SeamlessM4TFeatureExtractor(padding_value=1).save_pretrained(folder)
        return str(folder)
    mels = 128 if kind == "whisper-v3" else 80
    config = transformers.WhisperConfig(num_mel_bins=mels, **WHISPER | DROP | change)
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=mels).save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def as_a_worker():
    """With one thread: two wait for each other in models so small."""
    with one_thread():
        yield


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory) -> str:
    return save(tmp_path_factory.mktemp("models") / request.param, request.param)


@lru_cache
def of_transformers(folder: str) -> tuple:
    model = transformers.AutoModel.from_pretrained(folder).eval()
    encoder = model.get_encoder() if model.config.model_type == "whisper" else model
    return encoder, transformers.AutoFeatureExtractor.from_pretrained(folder)


def states_of_transformers(folder: str, samples: np.ndarray) -> list[np.ndarray]:
    """Layer 0 to the last for one clip by itself, the silence that follows a clip included."""
    encoder, extractor = of_transformers(folder)
    inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        out = encoder(**inputs, output_hidden_states=True)
    return [state[0].numpy() for state in (*out.hidden_states[:-1], out.last_hidden_state)]


def n_frames(folder: str, n: int) -> int:
    return (n - 560) // 320 + 1 if "bert" in folder else -(-n // 320)


def test_frames_are_those_of_transformers_up_to_the_clips_end(model, sound):
    (layers,) = load_encoders([model, *(f"{model}@{layer}" for layer in range(3))])
    for n in (880, 1199, 1200, 1201, 44_321):
        states = states_of_transformers(model, sound(0, n))
        (last,), *others = layers[0].encode_layers(layers, [sound(0, n)])
        assert last.dtype == np.float32
        assert last.shape == (n_frames(model, n), 16) == (layers[0].n_frames(n), layers[0].width)
        np.testing.assert_allclose(last, states[-1][: len(last)], atol=1e-4)
        for (frames,), state in zip(others, states, strict=True):
            np.testing.assert_allclose(frames, state[: len(last)], atol=1e-4)
        assert last.std() > 0.1 and np.abs(states[0] - states[-1]).max() > 0.1


def test_w2v_bert_leaves_out_the_half_of_a_frame_that_transformers_pads(tmp_path, sound):
    """Of an odd number of log-mels the last has no partner: its frame is masked there."""
    folder = save(tmp_path, "w2v-bert")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    for n in (879, 880, 1039, 1040, 1200):
        inputs = extractor(sound(0, n), sampling_rate=16_000, return_tensors="pt")
        assert int(inputs["attention_mask"].sum()) == n_frames("bert", n)
    assert load_encoder(folder).n_frames(559) == 0 and load_encoder(folder).n_frames(560) == 1


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_a_batch_is_as_each_clip_by_itself(model, sound, at_a_time):
    (layers,) = load_encoders([model, f"{model}@1", f"{model}@pooled"])
    layers[0].network.at_a_time = at_a_time  # several: as on a GPU
    clips = [sound(seed, n) for seed, n in enumerate((24_000, 900, 9_001, 1_600))]
    assert max(batch_errors(layers, clips)) < 2e-6
    last, first, pooled = layers[0].encode_layers(layers, clips)
    for clip, frames, layer_1, means in zip(clips, last, first, pooled, strict=True):
        states = states_of_transformers(model, clip)
        np.testing.assert_allclose(frames, states[-1][: len(frames)], atol=1e-4)
        np.testing.assert_allclose(layer_1, states[1][: len(frames)], atol=1e-4)
        expected = [state[: len(frames)].mean(0) for state in states]
        np.testing.assert_allclose(means, expected, atol=1e-4)


def test_whisper_reads_a_long_clip_in_pieces_of_30_s(tmp_path, sound):
    folder, samples = save(tmp_path, "whisper"), sound(0, 480_000 + 5_000)
    encoder = load_encoder(folder)
    frames = encoder.frames(samples)
    assert len(frames) == encoder.n_frames(len(samples)) == 1500 + 16
    for piece, expected in ((samples[:480_000], frames[:1500]), (samples[480_000:], frames[1500:])):
        state = states_of_transformers(folder, piece)[-1][: len(expected)]
        np.testing.assert_allclose(expected, state, atol=1e-4)


def test_samples_may_be_normalised_first(model, sound):
    plain, normalised = load_encoder(model), load_encoder(model, normalise=True)
    assert plain.settings["normalise"] is False and plain.settings != normalised.settings
    samples = 0.1 * sound(0) + 0.05
    whole = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    np.testing.assert_allclose(normalised.frames(samples), plain.frames(whole), atol=1e-3)


def test_bfloat16_is_near_float32(model, sound):
    half, exact = load_encoder(model, precision="bfloat16"), load_encoder(model)
    assert half.settings["precision"] == "bfloat16"
    difference = half.frames(sound(0)) - exact.frames(sound(0))
    assert 0 < np.abs(difference).max() < 0.2


def test_stores_are_filled_from_one_pass_and_resume(model, corpus, tmp_path, monkeypatch):
    (layers,) = load_encoders([model, f"{model}@1"])
    passes, forward = [], layers[0].network.forward
    monkeypatch.setattr(
        layers[0].network, "forward", lambda clips: passes.extend(clips) or forward(clips)
    )
    stores = extract_layers(corpus, layers, tmp_path)
    assert len(passes) == len(corpus.clips)
    for encoder, store in zip(layers, stores, strict=True):
        lengths = store.lengths(corpus.clips["clip_id"])
        np.testing.assert_array_equal(lengths, expected_frames(corpus.clips, encoder))
    assert extract(corpus, layers[0], tmp_path).folder == stores[0].folder
    assert len(passes) == len(corpus.clips)


def test_weights_and_extractor_tell_a_store(tmp_path):
    folder = save(tmp_path / "first", "whisper")
    settings = load_encoder(folder).settings
    assert json.loads(json.dumps(settings)) == settings == load_encoder(folder).settings
    same = load_encoder(save(tmp_path / "copy", "whisper")).settings
    assert same == settings | {"encoder": same["encoder"]}
    transformers.WhisperFeatureExtractor(n_fft=512).save_pretrained(folder)
    assert load_encoder(folder).settings["extractor"] != settings["extractor"]
    save(tmp_path / "first", "whisper", scale_embedding=True)
    assert load_encoder(folder).settings["revision"] != settings["revision"]


def test_the_decoder_is_neither_loaded_nor_listed(tmp_path, capfd):
    encoder = load_encoder(save(tmp_path, "whisper"))
    assert not [name for name, _ in encoder.network.named_modules() if "decoder" in name]
    assert "UNEXPECTED" not in "".join(capfd.readouterr())


def test_a_checkpoint_without_a_weight_of_the_encoder_is_refused(tmp_path):
    folder = save(tmp_path, "whisper")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    weights = model.state_dict()
    del weights["model.encoder.layers.1.fc1.weight"], weights["proj_out.weight"]  # tied
    model.save_pretrained(folder, state_dict=weights)
    with pytest.raises(EncoderError, match=r"lacks 1 of the model's weights, as layers\.1\.fc1"):
        load_encoder(folder)


def test_the_extractor_has_to_make_log_mels(tmp_path):
    folder = save(tmp_path, "w2v-bert")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    with pytest.raises(EncoderError, match="reads log-mels, .*found Wav2Vec2FeatureExtractor"):
        load_encoder(folder)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderError, match="could not be loaded.*preprocessor_config.json"):
        load_encoder(folder)


def test_an_adapter_and_a_layer_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(EncoderError, match="adapter is not supported"):
        load_encoder(save(tmp_path / "adapter", "w2v-bert", add_adapter=True))
    with pytest.raises(EncoderError, match="has the layers 0 to 2"):
        load_encoder(save(tmp_path / "plain", "w2v-bert") + "@3")


def test_geometry_is_that_of_the_published_models():
    assert log_mel_encoder.geometry(transformers.WhisperFeatureExtractor()) == (1, 320)
    assert log_mel_encoder.geometry(transformers.SeamlessM4TFeatureExtractor()) == (560, 320)
