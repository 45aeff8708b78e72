"""Settings of training: what is refused, and how they are stored."""

import functools
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from tiny import QUICK, SIZES, job, train

from emoshare_utils.files import checksum
from emoshare_utils.models.regressor import REGRESSORS, Sizes
from emoshare_utils.names import ARCHITECTURES, load_extensions
from emoshare_utils.results.metrics import METRICS
from emoshare_utils.training.losses import LOSSES
from emoshare_utils.training.settings import Training, extensions
from emoshare_utils.training.systems import collect

PROFILES = sorted((Path(__file__).parents[2] / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("average", [-0.1, 1.0])
def test_an_average_that_is_none_is_refused(average):
    with pytest.raises(ValueError, match=f"average = {average}: expected from 0 up to"):
        Training(average=average)


@pytest.mark.parametrize("name", ["epochs", "patience", "batch_size", "learning_rate"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} = 0: expected more than 0"):
        Training(**{name: 0})


def test_a_shift_below_zero_is_refused():
    with pytest.raises(ValueError, match="shift = -1: expected 0 or more mel bands"):
        Training(shift=-1)


def test_an_unknown_entry_is_named():
    assert Training.of({"epochs": 3, "loss": "ccc"}) == Training(epochs=3, loss="ccc")
    with pytest.raises(ValueError, match="training has no entry 'epoch': did you mean 'epochs'"):
        Training.of({"epoch": 3})


def test_fields_that_came_later_are_not_stored_at_their_defaults():
    assert not {"loss", "select"} & set(Training().stored())
    stored = Training(loss="ccc", select="mae").stored()
    assert (stored["loss"], stored["select"]) == ("ccc", "mae")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"standardise": "no"}, "standardise = 'no': expected true or false"),
        ({"standardise": 1}, "standardise = 1: expected true or false"),
        ({"epochs": 2.5}, "epochs = 2.5: expected a whole number"),
        ({"epochs": True}, "epochs = True: expected a whole number"),
        ({"epochs": None}, "epochs = None: expected a whole number"),
        ({"max_frames": "40"}, "max_frames = '40': expected a whole number"),
        ({"learning_rate": "1e-4"}, "learning_rate = '1e-4': expected a number"),
        ({"loss": 3}, "loss = 3: expected text"),
    ],
)
def test_a_value_of_another_kind_is_refused(entry, expected):
    with pytest.raises(ValueError, match=expected):
        Training.of(entry)


def test_values_stay_as_they_are_given():
    assert Training.of(None) == Training.of({}) == Training()
    training = Training.of({"shift": 2, "max_frames": None, "learning_rate": 2e-3})
    assert json.dumps(training.stored()["shift"]) == "2"
    assert training.max_frames is None and training.learning_rate == 2e-3


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_what_profiles_give_is_stored_as_it_stands(path):
    profile = yaml.safe_load(path.read_text())
    sizes, training = profile.get("sizes", {}), profile.get("training", {})
    training = {k: v for k, v in training.items() if (k, v) != ("precision", "auto")}
    for cls, given in ((Sizes, sizes), (Training, training)):
        assert json.dumps(asdict(cls.of(given))) == json.dumps(asdict(cls(**given)))


def test_the_demos_settings_are_stored_as_ever():
    profile = yaml.safe_load(next(p for p in PROFILES if p.stem == "demo").read_text())
    assert json.dumps(Sizes.of(profile["sizes"]).stored()) == (
        '{"cnn": [32], "pool": 16, "lstm": 32, "lstm_layers": 2, "ffnn_1": [32], '
        '"ffnn_2": [32], "scale": "sqrt", "output": "sigmoid"}'
    )
    assert json.dumps(Training.of(profile["training"]).stored()) == (
        '{"learning_rate": 0.003, "batch_size": 32, "epochs": 6, "patience": 3, '
        '"standardise": true, "max_frames": null, "precision": "float32", '
        '"start_at_mean": true, "average": 0.98, "shift": 0.0, "shuffle_shares": false}'
    )


EXTENSION = """
from emoshare_utils.models import regressor
from emoshare_utils.models.architectures import Architecture1
from emoshare_utils.names import Look
from emoshare_utils.results.metrics import METRICS, Metric, mae
from emoshare_utils.training.losses import LOSSES

class Mine(Architecture1):
    pass

regressor.register(9, Mine, Look("Mine", "M", "#009E73"))
LOSSES.register("mine", lambda predictions, shares: (predictions - shares).abs().mean())
METRICS.register("mine", Metric(lambda *given: mae(*given), "mine", False))
METRICS.register("theirs", Metric(mae, "theirs", False))
"""


@pytest.fixture
def extension(tmp_path, monkeypatch) -> Path:
    """A file with a loss, two metrics and an architecture; all are forgotten after the test."""
    for registry in (REGRESSORS, ARCHITECTURES, LOSSES, METRICS):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))
    path = tmp_path / "mine.py"
    path.write_text(EXTENSION)
    monkeypatch.setenv("EMOSHARE_EXTENSIONS", str(path))
    load_extensions()
    return path


def test_an_extension_that_decides_the_numbers_is_stored_and_only_then(
    heard, tmp_path, extension, monkeypatch
):
    made, found = heard(tmp_path / "features", train=4, devel=2), [checksum(extension.read_bytes())]
    plain = job(made)
    assert "extensions" not in plain.about and not extensions(2, SIZES, QUICK)
    assert not extensions(2, SIZES, replace(QUICK, select="theirs"))  # it is the package's mae
    assert replace(plain, architecture=9).about == plain.about | {
        "architecture": 9,
        "extensions": found,
    }
    assert replace(plain, architecture=9).label == "fbank, Mine, seed 0"
    for change in ({"loss": "mine"}, {"select": "mine"}):
        assert extensions(1, SIZES, replace(QUICK, **change)) == found
    partly = functools.partial(LOSSES["mine"])
    monkeypatch.setitem(LOSSES.entries, "partly", partly)
    assert extensions(1, SIZES, replace(QUICK, loss="partly")) == found
    monkeypatch.setitem(LOSSES.entries, "compiled", torch.dot)
    monkeypatch.setitem(LOSSES.entries, "module", torch.nn.L1Loss())
    for loss in ("compiled", "module"):
        assert len(extensions(9, SIZES, replace(QUICK, loss=loss))) == 2


def test_an_edited_extension_retrains_and_is_collected(heard, tmp_path, extension, capsys):
    corpus, _ = made = heard(tmp_path / "features", train=8, devel=4)
    settings = replace(QUICK, loss="mine", epochs=1)

    def collected() -> set[int]:
        return set(collect(tmp_path / "models", corpus, SIZES, settings)["seed"])

    for seed in (0, 1):
        train(made, tmp_path / "models", architecture=9, seed=seed, settings=settings)
    assert collected() == {0, 1}
    extension.write_text(EXTENSION + "# edited\n")
    train(made, tmp_path / "models", architecture=9, seed=0, settings=settings)
    assert "has other settings: its networks are retrained" in capsys.readouterr().out
    assert collected() == {0}
    train(made, tmp_path / "models", architecture=9, seed=0, settings=settings)
    assert "retrained" not in capsys.readouterr().out
