"""A clip's frames are those of the model's own code on that clip alone, whatever its batch."""

import numpy as np
import pytest
import torch
import torchaudio
import transformers

from emoshare_utils.features import speech_layers
from emoshare_utils.features.encoder import EncoderError
from emoshare_utils.features.encoders import load_encoder, load_encoders, precision_errors
from emoshare_utils.features.pretrained import VERSION
from emoshare_utils.features.speech_encoder import SpeechEncoder, normalised, supports
from emoshare_utils.names import split_layer

TINY = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (24,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
GROUP = {"feat_extract_norm": "group"}
LAYER = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
KINDS = {  # as wav2vec2-base and -large; HuBERT-base and mHuBERT; HuBERT-large; XLSR; both WavLM
    "wav2vec2": transformers.Wav2Vec2Config(**TINY, **GROUP),
    "hubert": transformers.HubertConfig(**TINY, **GROUP),
    "hubert-large": transformers.HubertConfig(**TINY, **LAYER),
    "xlsr": transformers.Wav2Vec2Config(**TINY, **LAYER),
    "wavlm": transformers.WavLMConfig(**TINY, **GROUP),
    "wavlm-large": transformers.WavLMConfig(**TINY, **LAYER),
    "odd": transformers.HubertConfig(  # an odd kernel, no LayerNorm before the projection
        **TINY | {"num_conv_pos_embeddings": 15, "conv_bias": True},
        **GROUP,
        feat_proj_layer_norm=False,
    ),
}
LENGTHS = (16_000, 400, 719, 720, 33_333, 127_519, 5000)


def model_of(config) -> transformers.PreTrainedModel:
    """Its weights are large enough for every part to matter."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def models():
    return {kind: model_of(config) for kind, config in KINDS.items()}


@pytest.fixture
def folder(models, tmp_path):
    """Write a model as a user's local folder."""

    def write(kind: str, normalise: bool = False) -> str:
        models[kind].save_pretrained(tmp_path / kind)
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise)
        extractor.save_pretrained(tmp_path / kind)
        return str(tmp_path / kind)

    return write


@pytest.fixture
def clips(sound):
    """All lengths, loud and quiet, one with an offset."""
    clips = [sound(i, n) for i, n in enumerate(LENGTHS)]
    clips[4] *= 1e-3
    clips[6] += 0.3
    return clips


def alone(model, samples: np.ndarray, normalise: bool = False, **options):
    """What the model's own code makes of one clip."""
    samples = torch.from_numpy(samples)
    samples = normalised(samples) if normalise else samples
    with torch.no_grad():
        return model(samples[None], **options)


def error(frames, expected) -> float:
    frames, expected = torch.as_tensor(frames), torch.as_tensor(expected)
    assert frames.shape == expected.shape
    return float((frames - expected).norm() / expected.norm())


@torch.inference_mode()
def last(network: SpeechEncoder, clips) -> list[torch.Tensor]:
    (*_, (state, lengths)) = network([torch.from_numpy(samples) for samples in clips])
    return list(state.split(lengths))


# Exact in batches


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalise", [False, True])
def test_a_batchs_frames_are_each_clips_own(models, folder, clips, kind, normalise):
    encoder = load_encoder(folder(kind, normalise))
    for samples, frames in zip(clips, encoder.encode(clips), strict=True):
        expected = alone(models[kind], samples, normalise).last_hidden_state[0]
        assert len(frames) == (len(samples) - 400) // 320 + 1
        assert error(frames, expected) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_clips_side_by_side_as_on_a_gpu_are_as_exact(models, clips, kind):
    network = SpeechEncoder(models[kind], True, torch.float32, side_by_side=True)
    for samples, frames in zip(clips, last(network, clips), strict=True):
        expected = alone(models[kind], samples, normalise=True).last_hidden_state[0]
        assert error(frames, expected) < 1e-5


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert-large", "wavlm"])
def test_frames_do_not_depend_on_chunks_attention_or_packed_weights(
    models, clips, kind, monkeypatch
):
    expected = [alone(models[kind], samples).last_hidden_state[0] for samples in clips]
    for name, value in (("CHUNK", 3), ("LONG", 20), ("has_onednn", lambda *_: False)):
        monkeypatch.setattr(speech_layers, name, value)
        network = SpeechEncoder(models[kind], False, torch.float32)
        for frames, true in zip(last(network, clips), expected):
            assert error(frames, true) < 1e-5, name


@pytest.mark.parametrize(("precision", "at_most"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_an_offset_costs_no_digits_in_a_group_norm_model(models, folder, sound, precision, at_most):
    """GroupNorm takes a constant out again, but bfloat16 would have rounded the speech on it."""
    encoder = load_encoder(folder("wav2vec2"), precision=precision)
    quiet = 2e-3 * sound(0, 20_000)
    expected = alone(models["wav2vec2"], quiet).last_hidden_state[0]
    assert error(encoder.frames(quiet + np.float32(0.25)), expected) < max(at_most, 1e-4)


def test_padding_a_batch_would_change_the_numbers(models, clips):
    """What the layout guards against: the same model, zero-padded under its own mask."""
    inputs = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(c) for c in clips], True)
    mask = torch.arange(inputs.shape[1]) < torch.tensor([len(c) for c in clips])[:, None]
    with torch.no_grad():
        padded = models["wav2vec2"](inputs, attention_mask=mask.long()).last_hidden_state
    expected = alone(models["wav2vec2"], clips[0]).last_hidden_state[0]
    assert error(padded[0, : len(expected)], expected) > 0.05


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "hubert-large", "xlsr"])
def test_frames_are_those_of_torchaudios_own_implementation(models, folder, clips, kind):
    """Each clip is normalised as its bundles do, HuBERT-large's and XLSR's with layer_norm."""
    twin = torchaudio.models.wav2vec2.utils.import_huggingface_model(models[kind]).eval()
    waveforms = [torch.from_numpy(samples)[None] for samples in clips]
    if kind in ("hubert-large", "xlsr"):
        waveforms = [torch.nn.functional.layer_norm(wave, wave.shape) for wave in waveforms]
    found = load_encoder(folder(kind)).encode([wave[0].numpy() for wave in waveforms])
    for waveform, frames in zip(waveforms, found, strict=True):
        with torch.no_grad():
            expected, _ = twin(waveform)
        assert error(frames, expected[0]) < 1e-4


# Layers


@pytest.mark.parametrize("kind", ["hubert", "hubert-large", "wavlm-large"])
def test_layers_are_asked_for_by_number(models, folder, clips, kind):
    name = folder(kind)
    whole = load_encoder(name).encode(clips)
    states = [alone(models[kind], c, output_hidden_states=True).hidden_states for c in clips]
    for layer in range(3):
        for frames, state in zip(load_encoder(f"{name}@{layer}").encode(clips), states):
            assert error(frames, state[layer][0]) < 1e-5
    for frames, expected in zip(load_encoder(f"{name}@3").encode(clips), whole):
        np.testing.assert_array_equal(frames, expected)


def test_the_last_layer_of_a_large_model_is_taken_after_the_final_layer_norm(models, clips):
    """`hidden_states[-1]` is not the paper's `last_hidden_state` where LayerNorm comes first."""
    for kind, same in (("hubert", True), ("hubert-large", False)):
        out = alone(models[kind], clips[0], output_hidden_states=True)
        assert torch.equal(out.hidden_states[-1], out.last_hidden_state) is same
        normed = models[kind].encoder.layer_norm(out.hidden_states[-1])
        assert torch.equal(normed, out.last_hidden_state) is not same
        network = SpeechEncoder(models[kind], False, torch.float32)
        assert error(last(network, clips[:1])[0], out.last_hidden_state[0]) < 1e-5


def test_pooled_is_the_mean_over_time_of_every_layer(models, folder, clips):
    name = folder("hubert-large")
    pooled = load_encoder(f"{name}@pooled").encode(clips)
    for samples, means in zip(clips, pooled):
        assert means.shape == (4, 48)
        out = alone(models["hubert-large"], samples, output_hidden_states=True)
        states = [*out.hidden_states[:-1], out.last_hidden_state]
        assert error(means, torch.stack([state[0].mean(0) for state in states])) < 1e-5


def test_all_is_every_layer_side_by_side_in_one_pass_with_others(folder, clips):
    name = folder("hubert-large")
    every = load_encoder(f"{name}@all")
    single = [load_encoder(f"{name}@{layer}").encode(clips) for layer in range(4)]
    assert every.width == 4 * 48 and every.settings["layers"] == 4
    assert [every.n_frames(len(clip)) for clip in clips] == [len(x) for x in single[0]]
    for place, frames in enumerate(every.encode(clips)):
        np.testing.assert_array_equal(frames, np.hstack([layer[place] for layer in single]))
    (layers,) = load_encoders([f"{name}@1", f"{name}@all", name])
    assert [each.settings.get("layers") for each in layers] == [None, 4, None]
    assert [each.width for each in layers] == [48, 192, 48]
    one, together, last = layers[0].encode_layers(layers, clips)
    np.testing.assert_array_equal(together[0][:, 48:96], one[0])
    np.testing.assert_array_equal(together[0][:, 144:], last[0])


def test_each_layer_has_a_store_of_its_own(folder):
    name, layers = folder("hubert"), ("", "@0", "@3", "@pooled", "@all")
    settings = [load_encoder(f"{name}{layer}").settings for layer in layers]
    assert [s["layer"] for s in settings] == ["last_hidden_state", 0, 3, "pooled", "all"]
    assert len({s["revision"] for s in settings}) == 1


def test_a_layer_that_is_not_there_is_an_error(folder):
    with pytest.raises(EncoderError, match=r"@4': .*hubert has the layers 0 to 3"):
        load_encoder(f"{folder('hubert')}@4")
    with pytest.raises(EncoderError, match="'fbank@2': fbank has no layers"):
        load_encoder("fbank@2")


def test_a_name_is_split_at_the_layer_only():
    assert split_layer("hubert-large@6") == ("hubert-large", 6)
    assert split_layer("org/model@pooled") == ("org/model", "pooled")
    assert split_layer("org/model@all") == ("org/model", "all")
    for name in ("hubert-large", "/models/me@home", "hubert@", "hubert@-1", "@6"):
        assert split_layer(name) == (name, None)


# Models with other parts


def test_a_model_with_other_parts_is_run_by_its_own_code(tmp_path, clips):
    size = TINY | {"conv_pos_batch_norm": True}
    model = model_of(transformers.HubertConfig(**size, **GROUP))
    assert not supports(model)
    model.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    layers = {layer: load_encoder(f"{tmp_path}{layer}").encode(clips) for layer in ("", "@1")}
    for i, samples in enumerate(clips):
        out = alone(model, samples, normalise=True, output_hidden_states=True)
        assert error(layers[""][i], out.last_hidden_state[0]) < 1e-5
        assert error(layers["@1"][i], out.hidden_states[1][0]) < 1e-5


@pytest.mark.parametrize(
    "change",
    [{"add_adapter": True}, {"adapter_attn_dim": 8}, {"hidden_act": "relu"}],
    ids=lambda change: next(iter(change)),
)
def test_only_known_parts_are_supported(change):
    config = transformers.Wav2Vec2Config(**TINY | change, **GROUP)
    assert not supports(transformers.AutoModel.from_config(config))


# Precision


def test_bfloat16_is_asked_for_by_name_and_its_error_is_measured(folder, clips):
    name = folder("hubert-large")
    assert load_encoder(name).settings["precision"] == "float32"
    half = load_encoder(name, precision="bfloat16")
    assert half.settings["precision"] == "bfloat16"
    assert half.frames(clips[0]).dtype == np.float32
    (error,) = precision_errors([half], clips)
    assert 1e-4 < error < 0.05
    assert precision_errors([load_encoder(name)], clips) == [0]


@pytest.mark.parametrize(("native", "takes"), [(True, "bfloat16"), (False, "float32")])
def test_auto_says_what_it_takes(folder, monkeypatch, capsys, native, takes):
    monkeypatch.setattr("emoshare_utils.device.multiplies_bfloat16", lambda device: native)
    encoder = load_encoder(folder("hubert"), precision="auto")
    assert encoder.settings["precision"] == encoder.request["precision"] == takes
    assert f"precision = auto takes {takes}: this cpu" in capsys.readouterr().out


def test_an_unknown_precision_is_an_error(folder):
    with pytest.raises(ValueError, match="precision = 'float16': expected float32, bfloat16"):
        load_encoder(folder("hubert"), precision="float16")


def test_a_clip_too_short_for_a_frame_is_an_error(sound):
    for name in ("wav2vec2-mini", "untrained"):
        with pytest.raises(ValueError, match="399 samples: at least 400 are needed"):
            load_encoder(name).frames(sound(0, 399))


def test_a_changed_configuration_is_another_revision(folder, models):
    name = folder("wav2vec2")
    before = load_encoder(name).settings["revision"]
    models["wav2vec2"].config.save_pretrained(name)
    assert load_encoder(name).settings["revision"] == before
    changed = transformers.Wav2Vec2Config.from_pretrained(name, layer_norm_eps=1e-3)
    changed.save_pretrained(name)
    assert load_encoder(name).settings["revision"] != before
    assert VERSION == 2
