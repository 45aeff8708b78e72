"""Frame counts, widths and rates are the model's own, whatever its family."""

import json
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import torch
import transformers
from torchaudio.transforms import Resample

from emoshare_utils.device import one_thread
from emoshare_utils.features.acoustic import Egemaps
from emoshare_utils.features.encoder import Encoder, EncoderError
from emoshare_utils.features.encoders import ENCODERS, load_encoder
from emoshare_utils.features.extract import expected_frames, extract
from emoshare_utils.features.pretrained import READ_SAMPLES
from emoshare_utils.features.store import FeatureStore

SIZE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "conv_dim": (8,) * 7,
}
SEW = SIZE | {"conv_dim": (8,) * 13}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FIVE = {"conv_dim": (8,) * 5, "conv_kernel": (10, 8, 4, 4, 4), "conv_stride": (5, 4, 2, 2, 2)}
ADAPTER = {"add_adapter": True, "num_adapter_layers": 2, "output_hidden_size": 24}
SAME_WIDTH = ADAPTER | {"output_hidden_size": 16}
MODELS = {  # the configuration, and the fewest samples that its own code takes
    "wav2vec2": (transformers.Wav2Vec2Config(**SIZE), 400),
    "wav2vec2-10-ms": (transformers.Wav2Vec2Config(**SIZE | FIVE), 465),
    "wav2vec2-adapter": (transformers.Wav2Vec2Config(**SIZE, **ADAPTER), 400),
    "wav2vec2-adapter-same": (transformers.Wav2Vec2Config(**SIZE, **SAME_WIDTH), 400),
    "wav2vec2-adapter-1": (
        transformers.Wav2Vec2Config(**SIZE, **ADAPTER, adapter_kernel_size=1),
        400,
    ),
    "wav2vec2-adapter-5": (
        transformers.Wav2Vec2Config(**SIZE, **ADAPTER, adapter_kernel_size=5),
        400 + 6 * 320,
    ),
    "wav2vec2-adapter-stride-3": (
        transformers.Wav2Vec2Config(
            **SIZE, **ADAPTER | {"num_adapter_layers": 1}, adapter_kernel_size=4, adapter_stride=3
        ),
        400 + 320,
    ),
    "wav2vec2-conformer": (transformers.Wav2Vec2ConformerConfig(**SIZE), 400),
    "wav2vec2-conformer-adapter": (
        transformers.Wav2Vec2ConformerConfig(**SIZE, **ADAPTER, position_embeddings_type="rotary"),
        400,
    ),
    "hubert": (transformers.HubertConfig(**SIZE, conv_pos_batch_norm=True), 400),
    "hubert-large": (transformers.HubertConfig(**SIZE, **LARGE), 400),
    "wavlm-adapter": (transformers.WavLMConfig(**SIZE, **ADAPTER), 400),
    "unispeech": (transformers.UniSpeechConfig(**SIZE, **LARGE), 400),
    "unispeech-sat": (transformers.UniSpeechSatConfig(**SIZE), 400),
    "data2vec-audio": (transformers.Data2VecAudioConfig(**SIZE), 400),
    "data2vec-audio-adapter": (transformers.Data2VecAudioConfig(**SIZE, **ADAPTER), 400),
    "sew": (transformers.SEWConfig(**SEW), 400 + 320),
    "sew-odd": (
        transformers.SEWConfig(**SEW | {"num_conv_pos_embeddings": 7}, squeeze_factor=3),
        400 + 2 * 320,
    ),
    "sew-d": (transformers.SEWDConfig(**SEW), 400 + 320),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Callable[..., str]:
    """Write a model of `MODELS` as a user's local folder, once; what differs goes to a copy."""
    models, folders = tmp_path_factory.mktemp("models"), {}

    def write(kind: str, **preprocessor) -> str:
        at = folders.setdefault((kind, str(preprocessor)), models / str(len(folders)))
        if not at.is_dir():
            torch.manual_seed(0)
            transformers.AutoModel.from_config(MODELS[kind][0]).save_pretrained(at)
            said = {"do_normalize": False, "sampling_rate": 16_000} | preprocessor
            said = {key: value for key, value in said.items() if value != "left out"}
            (at / "preprocessor_config.json").write_text(json.dumps(said))
        return str(at)

    return write


@pytest.fixture(autouse=True)
def one_thread_each():
    """As an encoder's workers; in models so small two threads only wait for each other."""
    with one_thread():
        yield


@lru_cache
def model_of(folder: str) -> transformers.PreTrainedModel:
    return transformers.AutoModel.from_pretrained(folder).eval()


def states(folder: str, samples: np.ndarray) -> list[np.ndarray]:
    """The hidden states of one clip by the model's own code, the last as it leaves the model."""
    model = model_of(folder)
    with torch.no_grad():
        out = model(torch.as_tensor(samples)[None], output_hidden_states=True)
    return [state[0].numpy() for state in (*out.hidden_states[:-1], out.last_hidden_state)]


def assert_same(frames: np.ndarray, expected: np.ndarray) -> None:
    assert frames.shape == expected.shape
    assert np.linalg.norm(frames - expected) <= 1e-5 * np.linalg.norm(expected)


# Frame counts and widths


@pytest.mark.parametrize("kind", MODELS)
def test_frames_are_the_models_own_alone_and_in_a_batch(saved, sound, kind):
    folder, (_, least) = saved(kind), MODELS[kind]
    with pytest.raises(RuntimeError, match="size"):
        states(folder, sound(0, least - 1))
    lengths = [least, least + 1, least + 319, least + 320, 3279, 3280, 8001]
    clips = [sound(i, n) for i, n in enumerate(lengths)]
    expected = [states(folder, samples) for samples in clips]
    for layer, number in (("", -1), ("@1", 1), ("@2", -1)):
        encoder = load_encoder(folder + layer)
        assert [encoder.shortest(), encoder.n_frames(least - 1)] == [least, 0]
        for samples, frames, state in zip(clips, encoder.encode(clips), expected, strict=True):
            assert frames.shape == (encoder.n_frames(len(samples)), encoder.width)
            assert_same(frames, state[number])
        assert_same(encoder.frames(clips[-1]), expected[-1][number])
        with pytest.raises(ValueError, match=f"{least - 1} samples: at least {least} are needed"):
            encoder.frames(clips[0][:-1])


@pytest.mark.parametrize("kind", MODELS)
def test_pooled_is_the_mean_of_every_layer_or_refused_where_their_widths_differ(saved, sound, kind):
    folder, (config, least) = saved(kind), MODELS[kind]
    if getattr(config, "output_hidden_size", 16) != 16 and config.add_adapter:
        with pytest.raises(EncoderError, match="layers are 16 wide and its adapter's frames 24"):
            load_encoder(f"{folder}@pooled")
        return
    encoder, clips = load_encoder(f"{folder}@pooled"), [sound(0, least), sound(1, 8001)]
    assert [encoder.n_frames(n) for n in (least - 1, least, 8001)] == [0, 3, 3]
    for samples, frames in zip(clips, encoder.encode(clips), strict=True):
        assert_same(frames, np.stack([s.mean(axis=0) for s in states(folder, samples)]))


@pytest.mark.parametrize("kind", MODELS)
def test_all_layers_or_refused_where_their_frames_are_not_as_many(saved, sound, kind):
    folder, (config, least) = saved(kind), MODELS[kind]
    adapted = getattr(config, "add_adapter", False)
    if adapted or getattr(config, "squeeze_factor", 1) > 1:
        with pytest.raises(EncoderError, match="layers and its last one have other numbers"):
            load_encoder(f"{folder}@all")
        return
    encoder, clips = load_encoder(f"{folder}@all"), [sound(0, least), sound(1, 8001)]
    for samples, frames in zip(clips, encoder.encode(clips), strict=True):
        assert_same(frames, np.hstack(states(folder, samples)))


def test_every_accepted_kind_is_tried_here():
    assert {config.model_type for config, _ in MODELS.values()} == set(READ_SAMPLES)


def test_the_papers_fixed_length_is_as_long_for_another_hop(saved, tmp_path):
    hops = {"wav2vec2": 398, "wav2vec2-10-ms": 797, "wav2vec2-adapter": 99, "sew@1": 199}
    hops |= {"sew": 398, "wav2vec2-adapter@1": 398, "sew@pooled": 398}
    for name, frames in hops.items():
        kind, _, layer = name.partition("@")
        encoder = load_encoder(saved(kind) + (layer and f"@{layer}"))
        store = FeatureStore.create(tmp_path, name, encoder.width, encoder.settings)
        assert store.paper_frames == frames, name
    at_24_khz = load_encoder(saved("wav2vec2", sampling_rate=24_000))
    store = FeatureStore.create(tmp_path, "24", at_24_khz.width, at_24_khz.settings)
    assert store.paper_frames == at_24_khz.n_frames(127_519) == 597


def test_the_settings_of_the_papers_kind_of_encoder_have_no_new_entries(saved):
    """Their stores keep their names."""
    keys = {"encoder", "revision", "layer", "normalise", "precision", "version"}
    keys |= {"torch", "transformers"}
    for name in ("hubert-mini", saved("wav2vec2"), saved("sew"), saved("wav2vec2-adapter") + "@1"):
        assert set(load_encoder(name).settings) == keys


# Another sampling rate


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert-large", "wav2vec2-adapter", "sew"])
@pytest.mark.parametrize("rate", [8000, 24_000, 44_100.0])
def test_a_clip_is_resampled_to_the_rate_that_an_encoder_was_made_for(saved, sound, kind, rate):
    folder, clips = saved(kind, sampling_rate=rate), [sound(0, 4001), sound(1, 9000)]
    encoder, plain = load_encoder(folder), load_encoder(saved(kind))
    assert encoder.settings["rate"] == rate and type(encoder.settings["rate"]) is int
    for samples, frames in zip(clips, encoder.encode(clips), strict=True):
        at_its_rate = Resample(16_000, int(rate))(torch.from_numpy(samples)).numpy()
        assert len(frames) == encoder.n_frames(len(samples)) == plain.n_frames(len(at_its_rate))
        assert_same(frames, states(folder, at_its_rate)[-1])
        assert_same(encoder.frames(samples), frames)


def test_a_long_clip_has_every_sample_at_another_rate(saved, sound):
    """torchaudio alone counts the samples of a long clip in float32, and loses one of these."""
    encoder = load_encoder(saved("wav2vec2", sampling_rate=44_100))
    lengths = {n: -(-n * 441 // 160) for n in range(76_000, 127_519) if n * 441 % 160 == 1}
    lengths = {n: at_its_rate for n, at_its_rate in lengths.items() if at_its_rate % 320 == 80}
    assert lengths
    for n, at_its_rate in lengths.items():
        assert len(Resample(16_000, 44_100)(torch.zeros(n))) == at_its_rate - 1
        assert len(encoder.frames(sound(0, n))) == (at_its_rate - 400) // 320 + 1


def test_the_shortest_clip_is_counted_at_the_encoders_own_rate(saved, sound):
    for rate, least in ((8000, 799), (11_025, 580), (24_000, 267), (48_000, 134)):
        encoder = load_encoder(saved("wav2vec2", sampling_rate=rate))
        assert encoder.shortest() == least
        assert len(encoder.frames(sound(0, least))) == 1
        with pytest.raises(ValueError, match=f"{least - 1} samples: at least {least}"):
            encoder.frames(sound(0, least - 1))


ODD = [0, -8000, 8000.5, "16000", "fast", None, True, [16_000], {"hz": 8000}, 22_254, 10**9]


@pytest.mark.parametrize("rate", ODD, ids=str)
def test_an_odd_rate_is_refused(saved, rate):
    folder = saved("wav2vec2", sampling_rate=rate)
    for normalise in (None, True):
        with pytest.raises(EncoderError, match=rf"{folder}\): its preproc.*sampling_rate = .*Hz"):
            load_encoder(folder, normalise=normalise)


def test_a_long_odd_value_is_cut(saved):
    with pytest.raises(EncoderError) as caught:
        load_encoder(saved("wav2vec2", sampling_rate="x" * 999))
    assert "'" + "x" * 79 + ": expected Hz" in str(caught.value)


def test_normalise_of_text_is_refused(saved):
    folder = saved("wav2vec2", do_normalize="false")
    with pytest.raises(EncoderError, match="do_normalize = 'false': expected true or false"):
        load_encoder(folder)
    assert load_encoder(folder, normalise=False).settings["normalise"] is False


def test_the_rate_is_read_whatever_normalise_says(saved):
    folder = saved("wav2vec2", sampling_rate=8000)
    for normalise in (True, False):
        settings = load_encoder(folder, normalise=normalise).settings
        assert (settings["normalise"], settings["rate"]) == (normalise, 8000)


def test_a_rate_that_is_left_out_is_16_khz(saved, capsys):
    folder = saved("wav2vec2", sampling_rate="left out")
    assert "rate" not in load_encoder(folder).settings
    assert not capsys.readouterr().out


def test_without_a_feature_extractor_16_khz_is_taken_and_said(saved, tmp_path, capsys):
    model = transformers.AutoModel.from_pretrained(saved("wav2vec2"))
    model.save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path), normalise=False)
    assert "rate" not in encoder.settings
    assert f"{tmp_path} has no preprocessor_config.json: taken to" in capsys.readouterr().out
    with pytest.raises(EncoderError, match="could not be loaded"):
        load_encoder(str(tmp_path))


def test_a_processors_file_counts_as_well(saved, tmp_path):
    model = transformers.AutoModel.from_pretrained(saved("wav2vec2"))
    model.save_pretrained(tmp_path)
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).to_dict()
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": extractor}))
    assert load_encoder(str(tmp_path), normalise=True).settings["rate"] == 8000


def test_the_papers_names_read_16_khz_unless_a_folder_says_otherwise(
    saved, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    (tmp_path / "hubert-large").symlink_to(saved("hubert-large", sampling_rate=8000))
    settings = load_encoder("hubert-large").settings
    assert (settings["normalise"], settings["rate"]) == (True, 8000)
    from_hub = transformers.AutoModel.from_pretrained(saved("hubert-large"))
    read = "emoshare_utils.features.pretrained._read"
    monkeypatch.setattr(read, lambda _, **how: (from_hub, "commit"))
    settings = load_encoder("hubert-base").settings  # no file beside the model is asked for
    assert "rate" not in settings and settings["revision"] == "commit"
    assert not capsys.readouterr().out


# What is refused at load


@pytest.mark.parametrize(
    "config",
    [
        transformers.SpeechT5Config(),
        transformers.ViTConfig(),
        transformers.EncodecConfig(),
        transformers.ClapConfig(),
        transformers.ASTConfig(),
        transformers.MoonshineConfig(),
        transformers.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(
            transformers.Wav2Vec2Config(), transformers.BertConfig()
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_what_is_no_speech_encoder_that_reads_samples_is_refused(tmp_path, config):
    config.save_pretrained(tmp_path)
    found = rf"{tmp_path}\): it is a {config.model_type} model, not an encoder that reads samples"
    with pytest.raises(EncoderError, match=f"{found}: expected one of wav2vec2, hubert, wavlm"):
        load_encoder(str(tmp_path), normalise=True)


@pytest.mark.parametrize("kind", ["hubert-large", "sew", "wav2vec2-adapter"])
def test_weights_that_give_no_numbers_are_refused(saved, tmp_path, kind):
    model = transformers.AutoModel.from_pretrained(saved(kind))
    next(model.encoder.parameters()).data.fill_(torch.nan)
    model.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="NaN or infinite frames of noise: its weights"):
        load_encoder(str(tmp_path), normalise=False)


class Means(Encoder):
    """The mean of every 100 samples."""

    width = 1

    def n_frames(self, n_samples):
        return n_samples // 100

    def encode(self, clips):
        return [clip[: len(clip) // 100 * 100].reshape(-1, 100, 1).mean(1) for clip in clips]


LIES = {
    "n_frames": (lambda self, n: n // 101, r"shape \[\(3, 1\), \(3, 1\)\], but .* \[\(2, 1\), \(3"),
    "width": (2, "but its n_frames and width say"),
    "encode": (lambda self, clips: [np.full((len(c) // 100, 1), np.nan) for c in clips], "NaN"),
    "frames_of": (None, None),
}


@pytest.mark.parametrize("wrong", LIES)
def test_an_encoder_of_ones_own_is_tried_at_load(wrong, monkeypatch):
    value, message = LIES[wrong]
    cls = type("Wrong", (Means,), {wrong: value})
    monkeypatch.setitem(ENCODERS.entries, "means", cls)
    if message is None:
        assert load_encoder("means").width == 1
        return
    with pytest.raises(EncoderError, match=f"'means'.*{message}"):
        load_encoder("means")


def test_an_encoder_that_fails_says_why_at_load(monkeypatch):
    def fails(self, clips):
        raise IndexError("no\n  such index.")

    monkeypatch.setitem(ENCODERS.entries, "means", type("Wrong", (Means,), {"encode": fails}))
    with pytest.raises(EncoderError, match=r"'means' fails on clips of \[299, 300\] .*no such ind"):
        load_encoder("means")


# Clips too short


def test_clips_too_short_are_refused_before_anything_is_written(saved, corpus, tmp_path):
    """The twelve clips have 2,000, 2,500, 3,000, ... samples."""
    encoder = load_encoder(saved("wav2vec2-adapter-5"))
    message = r"1 of 12 clips are too short .* needs 0\.1450 s: the shortest, clip0, has 0\.1250 s"
    for check in (
        lambda: extract(corpus, encoder, tmp_path / "features"),
        lambda: expected_frames(corpus.clips, encoder),
    ):
        with pytest.raises(EncoderError, match=f"{message}. Take clips under that out"):
            check()
    assert not (tmp_path / "features").exists()
    rest = corpus.with_clips(corpus.clips[1:])
    store = extract(rest, encoder, tmp_path / "features")
    expected = expected_frames(rest.clips, encoder)
    np.testing.assert_array_equal(store.lengths(rest.clips["clip_id"]), expected)
    assert expected.tolist() == [encoder.n_frames(2500 + 500 * i) for i in range(11)]


def test_egemaps_has_no_frame_of_a_clip_under_60_ms():
    assert [Egemaps.n_frames(None, n) for n in (959, 960, 99_999)] == [0, 1, 1]
