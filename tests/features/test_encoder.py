"""The contract of an encoder: its own width, hop and frame count, wherever it comes from."""

import numpy as np
import pytest
import transformers

from emoshare_utils.features.encoder import Encoder, EncoderError
from emoshare_utils.features.encoders import (
    ENCODERS,
    batch_errors,
    load_encoder,
    precision_errors,
)
from emoshare_utils.features.extract import extract
from emoshare_utils.features.store import open_store

# As a user would write it: hop 80 and width 3.
TOY = """
import numpy as np

from emoshare_utils.features.encoder import Encoder
from emoshare_utils.features.encoders import ENCODERS


class Toy(Encoder):
    width = 3
    settings = {"hop": 80, "version": 1}

    def n_frames(self, n_samples):
        return n_samples // 80

    def encode(self, clips):
        cut = [clip[: len(clip) // 80 * 80].reshape(-1, 80) for clip in clips]
        return [np.stack([x.min(1), x.mean(1), x.max(1)], 1) for x in cut]


ENCODERS.register("toy", Toy)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The file above, named in EMOSHARE_EXTENSIONS."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setenv("EMOSHARE_EXTENSIONS", str(tmp_path / "toy.py"))
    yield
    ENCODERS.entries.pop("toy", None)


@pytest.mark.parametrize("scheduler", [None, "local:2"])
def test_an_encoder_from_outside_goes_through_extraction(corpus, toy, tmp_path, scheduler):
    if scheduler:
        pytest.importorskip("distributed", reason="needs the extra emoshare-utils[cluster]")
    encoder = load_encoder("toy")
    assert isinstance(encoder, Encoder) and encoder.width == 3
    assert encoder.settings == {"encoder": "toy", "hop": 80, "version": 1}
    extract(corpus, encoder, tmp_path / "features", scheduler)
    store = open_store(tmp_path / "features", "toy")
    assert store.width == 3
    n_samples = [2000 + 500 * i for i in range(12)]
    expected = [encoder.n_frames(n) for n in n_samples]
    assert (
        store.lengths(corpus.clips["clip_id"]).tolist() == expected == [n // 80 for n in n_samples]
    )


def test_an_encoder_from_outside_is_checked_as_any(sound, toy):
    encoder = load_encoder("toy", normalise=True, precision="auto")
    assert batch_errors([encoder], [sound(0), sound(1, 5000)]) == [0]
    assert precision_errors([encoder], []) == [0]
    assert load_encoder(**encoder.request).settings == encoder.settings
    with pytest.raises(EncoderError, match="'toy@2': toy has no layers, so leave '@' out"):
        load_encoder("toy@2")


def test_an_unknown_name_says_which_is_near(toy):
    with pytest.raises(EncoderError, match="'hubert-mni' .*did you mean 'hubert-mini'"):
        load_encoder("hubert-mni")
    with pytest.raises(EncoderError, match="'mine' .*expected one of .*fbank.*, toy.*EXTENSIONS"):
        load_encoder("mine")


SIZE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
OTHER_HOP = {"conv_dim": (8, 8), "conv_kernel": (20, 3), "conv_stride": (10, 2)}
ADAPTER = {"add_adapter": True, "num_adapter_layers": 2, "output_hidden_size": 24}


CHANGED = [
    (OTHER_HOP, 40),
    (OTHER_HOP | {"hidden_act": "relu"}, 40),  # run clip by clip by its own code
    (ADAPTER | {"conv_dim": (8,) * 7}, 400),
]
ONE_LAYER = [(*changed, layer) for changed in CHANGED for layer in ("", "@1", "@2")]
# not with an adapter, whose layers have two widths
ALL_LAYERS = [(*changed, "@pooled") for changed in CHANGED[:2]]


@pytest.mark.parametrize(("change", "shortest", "layer"), ONE_LAYER + ALL_LAYERS)
def test_a_models_frame_count_is_that_of_its_own_convolutions(
    tmp_path, sound, change, shortest, layer
):
    config = transformers.Wav2Vec2Config(**SIZE | change)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    encoder = load_encoder(f"{tmp_path}{layer}")
    for n in (shortest, shortest + 1, 719, 720, 4000, 16_001):
        assert encoder.frames(sound(0, n)).shape == (encoder.n_frames(n), encoder.width)
    clips = [sound(0, 3000), sound(1, 5000)]
    expected = [encoder.n_frames(len(clip)) for clip in clips]
    assert [len(frames) for frames in encoder.encode(clips)] == expected
    with pytest.raises(ValueError, match=f"{shortest - 1} samples: at least {shortest} are needed"):
        encoder.frames(np.zeros(shortest - 1, np.float32))
