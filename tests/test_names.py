"""What encoders are called, and in which order they stand."""

from emoshare_utils.names import label, ordered, system


def test_labels_and_order():
    assert label("hubert-large") == "HuBERT (Large)"
    assert label("wav2vec2-base") == "wav2vec2.0 (Base)"
    assert label("untrained") == "untrained"
    assert label("org/name") == "org/name"
    assert system("hubert-large", 2) == "HuBERT (Large) A2"
    given = [
        "fbank",
        "org/b",
        "hubert-base",
        "untrained",
        "org/a",
        "wav2vec2-large",
        "fbank",
    ]
    assert ordered(given) == [
        "wav2vec2-large",
        "hubert-base",
        "org/a",
        "org/b",
        "untrained",
        "fbank",
    ]


def test_layers_are_named_and_follow_their_encoder_by_number():
    names = ["hubert-large@12", "fbank", "hubert-large@pooled", "hubert-large@6", "hubert-large"]
    assert [label(name) for name in ordered([*names, "org/model@3"])] == [
        "HuBERT (Large)",
        "HuBERT (Large), layer 6",
        "HuBERT (Large), layer 12",
        "HuBERT (Large), all layers",
        "org/model, layer 3",
        "Mel filterbank",
    ]
