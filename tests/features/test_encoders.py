"""Frames are those of the encoder itself, of the right length, and the same every time."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from emoshare_utils.device import choose_device, one_worker_per_core
from emoshare_utils.features import acoustic, hub, pretrained
from emoshare_utils.features.encoder import EncoderError
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.pretrained import FURTHER, MINI, MINIS, PAPER_ENCODERS
from emoshare_utils.features.small_network import MiniConfig
from emoshare_utils.features.speech_encoder import normalised
from emoshare_utils.features.store import FeatureStore

LENGTHS = [400, 401, 719, 720, 16_000, 127_519]
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "layerdrop": 0.5,
    "hidden_dropout": 0.5,
    "mask_time_prob": 0.5,
}


@pytest.fixture
def save(tmp_path):
    """Write a small wav2vec2 (GroupNorm) or HuBERT (LayerNorm) as a user's local folder."""

    def write(kind: str, do_normalize: bool = False, seed: int = 0, name: str = "model") -> str:
        torch.manual_seed(seed)
        if kind == "wav2vec2":
            config = transformers.Wav2Vec2Config(**TINY, feat_extract_norm="group")
        else:
            layers = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
            config = transformers.HubertConfig(**TINY, **layers)
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path / name)
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize)
        extractor.save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    return write


def frames_of_transformers(folder: str, samples: np.ndarray) -> np.ndarray:
    model = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        return model(inputs).last_hidden_state[0].numpy()


# Encoders that read samples


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
@pytest.mark.parametrize("do_normalize", [False, True])
def test_frames_are_transformers_own(save, sound, kind, do_normalize):
    folder, samples = save(kind, do_normalize), 0.1 * sound(0, 9000) + 0.02
    encoder = load_encoder(folder)
    frames = encoder.frames(samples)
    assert frames.dtype == np.float32
    assert encoder.width == 16
    np.testing.assert_allclose(frames, frames_of_transformers(folder, samples), atol=1e-5)
    other = load_encoder(folder, normalise=not do_normalize).frames(samples)
    assert np.abs(frames - other).max() > 0.01


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
@pytest.mark.parametrize("n", LENGTHS)
def test_a_clip_of_n_samples_has_a_frame_every_20_ms(save, sound, kind, n):
    encoder = load_encoder(save(kind))
    frames = encoder.frames(sound(0, n))
    assert frames.shape == ((n - 400) // 320 + 1, 16)
    assert len(frames) == encoder.n_frames(n)
    assert np.isfinite(frames).all()


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
def test_frames_are_the_same_every_time(save, sound, kind):
    """Dropout, layer drop and masking belong to training alone."""
    encoder = load_encoder(save(kind))
    first = encoder.frames(sound(0))
    for _ in range(4):
        np.testing.assert_array_equal(encoder.frames(sound(0)), first)
    with one_worker_per_core() as pool:
        for frames in pool.map(encoder.frames, [sound(0)] * 8):  # one thread rounds otherwise
            np.testing.assert_allclose(frames, first, atol=1e-5)


def test_normalised_samples_are_the_feature_extractors(sound):
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    for samples in (sound(0, 400), 1e-3 * sound(1, 400) + 0.1):
        expected = extractor(samples, sampling_rate=16_000).input_values[0]
        np.testing.assert_allclose(normalised(torch.from_numpy(samples)), expected, atol=1e-4)


def test_a_clips_loudness_and_offset_are_taken_out_by_normalising(save, sound):
    encoder = load_encoder(save("wav2vec2"), normalise=True)
    quiet = 0.01 * sound(0) + 0.3
    np.testing.assert_allclose(encoder.frames(quiet), encoder.frames(sound(0)), atol=2e-3)


@pytest.mark.parametrize("checkpoint", ["safetensors", "bin"])
def test_checkpoints_of_older_releases_and_larger_models_load(tmp_path, sound, checkpoint):
    """The paper's encoders were published with other weight names, and heads on top."""
    config = transformers.Wav2Vec2Config(**TINY, codevector_dim=8, proj_codevector_dim=8)
    model = transformers.Wav2Vec2ForPreTraining(config).eval()
    model.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
        name = f"wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.{new}"
        weights[f"wav2vec2.encoder.pos_conv_embed.conv.{old}"] = weights.pop(name)
    (tmp_path / "model.safetensors").unlink()
    if checkpoint == "bin":
        torch.save(weights, tmp_path / "pytorch_model.bin")
    else:
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with torch.no_grad():
        expected = model.wav2vec2(torch.from_numpy(sound(0))[None]).last_hidden_state[0]
    frames = load_encoder(str(tmp_path)).frames(sound(0))
    np.testing.assert_allclose(frames, expected.numpy(), atol=1e-5)


def test_half_precision_weights_compute_in_float32(save, sound):
    folder = save("hubert")
    transformers.AutoModel.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    frames = load_encoder(folder).frames(sound(0))
    assert not np.array_equal(frames, frames.astype(np.float16))


def test_a_local_folder_may_be_named_relative_to_the_project(save, sound, tmp_path, monkeypatch):
    frames = load_encoder(save("hubert")).frames(sound(0))
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    np.testing.assert_array_equal(load_encoder("model").frames(sound(0)), frames)


# Settings tell one feature store from another


def test_settings_differ_with_weights_normalising_and_encoder(save, tmp_path):
    def store(*arguments):
        encoder = load_encoder(*arguments)
        assert json.loads(json.dumps(encoder.settings)) == encoder.settings
        features = tmp_path / "features"
        return FeatureStore.create(features, "one", encoder.width, encoder.settings).folder.name

    folder = save("hubert", seed=0)
    first = store(folder)
    assert store(folder) == first
    stores = {
        first,
        store(folder, "cpu", True),
        store("fbank"),
        store("mfcc"),
        store("spectrogram"),
    }
    stores |= {store("untrained"), store("hubert-mini")}
    stores |= {store(save("hubert", name="copy"))}
    save("hubert", seed=1)  # other weights in the first folder
    stores |= {store(folder)}
    assert len(stores) == 9


def test_versions_and_precision_are_in_the_settings(save, monkeypatch):
    folder = save("wav2vec2")
    settings = load_encoder(folder).settings
    assert settings["layer"] == "last_hidden_state"
    assert settings["precision"] == "float32"
    assert settings["torch"] == torch.__version__
    assert settings["transformers"] == transformers.__version__
    for module in (pretrained, pretrained.audio):
        monkeypatch.setattr(module, "VERSION", 99)
        assert load_encoder(folder).settings != settings
        monkeypatch.undo()
    fbank = load_encoder("fbank").settings
    for module in (acoustic, acoustic.audio):
        monkeypatch.setattr(module, "VERSION", 99)
        assert load_encoder("fbank").settings != fbank
        monkeypatch.undo()


# Encoders that cannot be loaded


def test_an_encoder_that_is_not_to_be_had_names_the_cause_and_a_way_out():
    with pytest.raises(EncoderError) as caught:
        load_encoder("hubert-large")
    message = str(caught.value)
    assert message.startswith("encoder 'hubert-large' (facebook/hubert-large-ll60k) could not be")
    assert "connect" in message or "offline" in message
    assert "name a local folder that holds config.json, preprocessor_config.json" in message
    assert "encoder = '/models/hubert-large-ll60k'" in message


def test_an_id_that_is_not_to_be_had_is_an_encoder_error():
    with pytest.raises(EncoderError, match="encoder 'org/no-model' .*could not be.*local folder"):
        load_encoder("org/no-model")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hubert-mni", "did you mean 'hubert-mini'? (a file"),
        ("hubrt-large@6", "did you mean 'hubert-large'? (a file"),
        ("xyz", "expected one of fbank, mfcc, "),
        ("/models/not-there", "/models/not-there is not there: "),
        ("./not/there", "not/there is not there: "),
        ("~/nor-there", "nor-there is not there: "),
    ],
)
def test_what_is_neither_name_nor_id_is_told_at_once(monkeypatch, name, hint):
    def network(*_, **__):
        raise AssertionError("no network is asked for this")

    monkeypatch.setattr(hub, "get_hf_file_metadata", network)
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", network)
    with pytest.raises(EncoderError) as caught:
        load_encoder(name)
    message = str(caught.value)
    assert message.startswith(f"encoder {name.split('@')[0]!r} is no encoder's name, no id of the")
    assert hint in message and "EMOSHARE_EXTENSIONS" in message


class Silent(BaseHTTPRequestHandler):
    """Counts its requests, and answers each with the status of the server."""

    def do_HEAD(self):
        self.server.asked.append(self.path)
        self.send_error(self.server.status)

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_):
        pass


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path):
    """In a process of its own, which is not offline as the tests are."""
    code = "from emoshare_utils.features.encoders import load_encoder; load_encoder('org/model')"
    with HTTPServer(("127.0.0.1", 0), Silent) as server:
        server.asked, server.status = [], 503
        Thread(target=server.serve_forever, daemon=True).start()
        environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
        environment |= {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
        }
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        server.shutdown()
    asked = [path for path in server.asked if path.startswith("/org/model")]
    assert asked == ["/org/model/resolve/main/config.json"]
    assert "Retrying" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "EncoderError: encoder 'org/model' (org/model) could not be loaded" in last
    assert "`hf download org/model --local-dir FOLDER` gets them" in last


@pytest.mark.parametrize(
    ("name", "answer"),
    [("org/model", True), ("a.b/c-d_1", True), ("hubert", False), ("a/b/c", False)]
    + [("/a/b", False), ("./a", False), ("../a", False), ("~/a", False), ("a/", False)],
)
def test_ids_have_two_parts(name, answer):
    assert hub.is_id(name) is answer


def test_a_model_that_reads_no_samples_is_refused(tmp_path):
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9}
    transformers.BertModel(transformers.BertConfig(**size)).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="it is a bert model, not .*: expected one of wav2vec2"):
        load_encoder(str(tmp_path))


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def with_half_the_weights_file(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def with_no_weights_file_at_all(folder):
    (folder / "model.safetensors").write_bytes(b"<html>not found</html>")


def without_one_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.attention.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_another_models_weights(folder):
    weights = {f"other.{k}": v for k, v in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_another_size(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))


def without_feature_extractor(folder):
    (folder / "preprocessor_config.json").unlink()


def with_half_a_config(folder):
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (without_weights, "no file named model.safetensors"),
        (with_half_the_weights_file, ""),
        (with_no_weights_file_at_all, ""),
        (without_one_weight, r"lacks 1 of the model's weights, as encoder\.layers\.1\.attention"),
        (with_another_models_weights, r"lacks \d\d of the model's weights"),
        (with_another_size, "size"),
        (without_feature_extractor, "feature extractor"),
        (with_half_a_config, "config.json"),
    ],
)
def test_a_damaged_folder_is_an_encoder_error(save, tmp_path, spoil, cause):
    folder = save("hubert")
    spoil(tmp_path / "model")
    with pytest.raises(EncoderError, match=rf"'{folder}' .*could not be loaded: .*{cause}.*local"):
        load_encoder(folder)


def test_a_weight_of_training_alone_may_be_absent(save, tmp_path, sound):
    folder = save("hubert")
    whole = load_encoder(folder)
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["masked_spec_embed"]
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    for _ in range(2):  # it gets random values, which must not change the store
        encoder = load_encoder(folder)
        assert encoder.settings == whole.settings
        np.testing.assert_array_equal(encoder.frames(sound(0)), whole.frames(sound(0)))


# The small encoders and the untrained one


def test_the_untrained_encoder_is_the_same_at_every_load(sound):
    torch.manual_seed(1)
    before = torch.rand(3)
    torch.manual_seed(1)
    first = load_encoder("untrained")
    torch.testing.assert_close(torch.rand(3), before)  # the caller's draw is left alone
    torch.manual_seed(2)
    second = load_encoder("untrained")
    assert first.settings == second.settings
    np.testing.assert_array_equal(first.frames(sound(0)), second.frames(sound(0)))
    assert first.frames(sound(0)).std() > 0.1


@pytest.mark.parametrize("name", [*MINIS, FURTHER])
def test_the_small_encoders_come_with_the_package(name, sound):
    folder = MINI / name
    assert (folder / "model.safetensors").stat().st_size < 10e6
    model = transformers.AutoModel.from_pretrained(folder)
    assert model.config.model_type == name.split("-")[0]
    assert 2e6 < model.num_parameters() < 5e6
    encoder, control = load_encoder(name), load_encoder("untrained")
    assert encoder.settings["normalise"] is control.settings["normalise"] is True
    weights = {key: value.shape for key, value in model.state_dict().items()}
    config = transformers.HubertConfig(**MiniConfig().settings())
    same = transformers.AutoModel.from_config(config).state_dict()
    assert weights == {key: value.shape for key, value in same.items()}
    with torch.no_grad():
        samples = torch.from_numpy(sound(0))
        samples = (samples - samples.mean()) / samples.std(correction=0)
        plain = model.float().eval()(samples[None]).last_hidden_state[0]
    np.testing.assert_allclose(encoder.frames(sound(0)), plain, atol=1e-3)
    card = (folder / "README.md").read_text()
    for part in ("objective", "updates", "time", "Licences", "Intended use", "Limits", "crema_d"):
        assert part in card, part


def test_the_papers_encoders_get_samples_as_its_authors_fed_them():
    assert {name: (e.id, e.normalise) for name, e in PAPER_ENCODERS.items()} == {
        "wav2vec2-base": ("facebook/wav2vec2-base", False),
        "wav2vec2-large": ("facebook/wav2vec2-large", False),
        "hubert-base": ("facebook/hubert-base-ls960", False),
        "hubert-large": ("facebook/hubert-large-ll60k", True),
    }


# Device


def test_a_gpu_that_is_not_there_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    for name in ("fbank", "untrained"):
        with pytest.raises(ValueError, match="'cuda'.* sees no GPU here: set device = 'auto'"):
            load_encoder(name, "cuda")


def test_auto_is_a_gpu_where_there_is_one(monkeypatch):
    gpus = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
    monkeypatch.setattr("emoshare_utils.device.torch.cuda", gpus)
    assert choose_device().type == "cuda"
    assert choose_device("cuda:1").index == 1
    with pytest.raises(ValueError, match="'cuda:2'.* sees 2 GPU here"):
        choose_device("cuda:2")
    gpus.is_available = lambda: False
    assert choose_device().type == "cpu"
    with pytest.raises(ValueError, match="sees no GPU"):
        choose_device("cuda:1")


def test_an_unknown_device_is_an_error():
    with pytest.raises(ValueError, match="device = 'gpu': expected auto, cpu, cuda or cuda:N"):
        load_encoder("fbank", "gpu")
