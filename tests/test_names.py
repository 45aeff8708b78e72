"""What encoders are called and in which order they stand; registries, extensions, settings."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from emoshare_utils import names
from emoshare_utils.features.small_network import MiniConfig
from emoshare_utils.models import regressor
from emoshare_utils.models.architectures import Architecture1
from emoshare_utils.names import (
    ARCHITECTURES,
    ExtensionError,
    Look,
    Registry,
    label,
    ordered,
    settings_of,
    system,
)
from emoshare_utils.pretraining.plan import Plan


def test_labels_and_order():
    assert label("hubert-large") == "HuBERT (Large)"
    assert label("wav2vec2-base") == "wav2vec2.0 (Base)"
    assert label("untrained") == "untrained"
    assert label("org/name") == "org/name"
    assert system("hubert-large", 2) == "HuBERT (Large) (A2)"
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
        "HuBERT (Large) L6",
        "HuBERT (Large) L12",
        "HuBERT (Large), all layers",
        "org/model L3",
        "Mel filterbank",
    ]


TOYS = Registry("toy", {"bear": 1})


@pytest.fixture
def extend(tmp_path, monkeypatch):
    """Write files and name them in EMOSHARE_EXTENSIONS; what they register is forgotten."""
    monkeypatch.setattr(names, "_LOADED", set())
    monkeypatch.setattr(TOYS, "entries", dict(TOYS.entries))
    monkeypatch.setitem(sys.modules, "toys", sys.modules[__name__])
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    loaded = set(sys.modules)

    def write(**bodies: str) -> list[Path]:
        paths = [tmp_path / f"{name}.py" for name in bodies]
        for path, body in zip(paths, bodies.values()):
            path.write_text(f"from toys import TOYS\n{body}\n")
        monkeypatch.setenv("EMOSHARE_EXTENSIONS", os.pathsep.join(map(str, paths)))
        return paths

    yield write
    for name in set(sys.modules) - loaded:
        if name.startswith("emoshare_extension_"):
            del sys.modules[name]


def test_an_extension_may_look_something_up_itself(extend):
    extend(
        one="assert 'nothing' not in TOYS\nTOYS.register('two', max(TOYS.values()) + 1)",
        other="TOYS.register('three', TOYS['two'] + 1)",
    )
    assert dict(TOYS) == {"bear": 1, "two": 2, "three": 3}


def test_an_extension_named_twice_runs_once_and_a_relative_path_starts_at_the_root(
    extend, monkeypatch, tmp_path
):
    assert "ball" not in TOYS  # the variable may be set after the first lookup
    (path,) = extend(one="TOYS.register('ball', TOYS.entries.get('ball', 0) + 1)")
    same = tmp_path / "folder" / ".." / "one.py"
    monkeypatch.setenv("EMOSHARE_EXTENSIONS", os.pathsep.join(["one.py", str(path), str(same)]))
    assert TOYS["ball"] == 1 and list(TOYS) == ["bear", "ball"]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("TOYS.register('ball', 2)\n1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named"),
    ],
)
def test_a_broken_extension_is_named_at_every_lookup_until_it_is_corrected(extend, body, cause):
    (path,) = extend(one=body)
    for _ in range(2):
        with pytest.raises(ExtensionError, match=rf"extension one\.py .*{cause}.*: correct it, or"):
            TOYS["ball"]
        assert not [name for name in sys.modules if name.startswith("emoshare_extension_one")]
    assert TOYS["bear"] == 1
    path.write_text("from toys import TOYS\nTOYS.register('ball', 3)\n")
    assert TOYS["ball"] == 3


def test_an_extension_that_is_missing_or_no_python_file_is_named(extend, tmp_path, monkeypatch):
    (tmp_path / "toys.txt").write_text("ball")
    for place, cause in (("gone.py", "FileNotFoundError"), ("toys.txt", "name ends in .py")):
        monkeypatch.setenv("EMOSHARE_EXTENSIONS", place)
        with pytest.raises(ExtensionError, match=rf"{place} .*{cause}.*EMOSHARE_EXTENSIONS"):
            TOYS.get("ball")


def test_files_of_one_name_are_two_modules(extend, tmp_path, monkeypatch):
    (first,) = extend(one="TOYS.register('ball', __name__)")
    (tmp_path / "folder").mkdir()
    other = tmp_path / "folder" / "one.py"
    other.write_text("from toys import TOYS\nTOYS.register('kite', __name__)\n")
    monkeypatch.setenv("EMOSHARE_EXTENSIONS", f"{first}{os.pathsep}{other}")
    assert TOYS["ball"] != TOYS["kite"]
    assert {TOYS["ball"], TOYS["kite"]} <= set(sys.modules)


def test_an_unknown_name_is_a_key_error_that_reads_as_a_sentence():
    with pytest.raises(KeyError) as error:
        TOYS["bea"]
    assert str(error.value) == "toy = 'bea': did you mean 'bear'?"
    assert TOYS.get("bea", 5) == 5


def test_names_of_the_package_are_not_replaced_and_others_are(monkeypatch):
    for registry in (TOYS, ARCHITECTURES, regressor.REGRESSORS, regressor.SIZES):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))
    with pytest.raises(ValueError, match="toy = 'bear' comes with the package.*another name"):
        TOYS.register("bear", 2)
    for entry in (1, 2):
        TOYS.register("ball", entry)
    assert TOYS["bear"] == 1 and TOYS["ball"] == 2

    class Mine(Architecture1):
        pass

    for number, look in ((1, Look("Mine", "M", "#009E73")), (2, ARCHITECTURES[2]), (0, None)):
        with pytest.raises(ValueError, match=f"architecture = {number} comes with the package"):
            regressor.register(number, Mine, look)
    assert regressor.REGRESSORS[1] is Architecture1 and ARCHITECTURES[1].short == "A1"
    for short in ("M", "N"):
        regressor.register(9, Mine, Look("Mine", short, "#009E73"))
    assert ARCHITECTURES[9].short == "N"
    mine = type("Variant", (regressor.Sizes,), {})
    from emoshare_utils.studies.released_code import Variant

    with pytest.raises(ValueError, match="sizes = 'Variant' comes with the package"):
        regressor.register_sizes(mine)
    assert regressor.SIZES["Variant"] is Variant


@dataclass(frozen=True)
class Toy:
    weight: float
    lengths: Sequence[int] = (1,)
    parts: tuple[int, ...] | None = None
    other: int | str = 1
    others: tuple[int, str] = (1, "")


def test_settings_are_of_the_kinds_that_a_dataclass_says():
    given = {"weight": 1, "lengths": [2, 3], "parts": [4], "other": "", "others": 5}
    assert settings_of(Toy, given) == Toy(1, [2, 3], (4,), "", 5)
    assert settings_of(Toy, {"weight": 0.5, "lengths": 2, "parts": None}) == Toy(0.5, [2])
    for lengths in ("2", [2.5], [True], None, 2.0, [[2]]):
        with pytest.raises(ValueError, match=r"lengths = .*: expected a list, each entry a whole"):
            settings_of(Toy, {"weight": 1, "lengths": lengths})
    with pytest.raises(ValueError, match="toy needs an entry 'weight'"):
        settings_of(Toy, None)


def test_a_plan_and_a_small_network_are_read_from_settings():
    assert Plan.of({"updates": 4, "seconds": 4}) == Plan(4, 4)
    with pytest.raises(ValueError, match="plan has no entry 'update': did you mean 'updates'"):
        Plan.of({"update": 4})
    with pytest.raises(ValueError, match="updates = 4.5: expected a whole number"):
        Plan.of({"updates": 4.5})
    assert MiniConfig.of(None) == MiniConfig()
    read = MiniConfig.of({"conv": [32, 24], "width": 32, "kernels": [400, 1], "heads": 2})
    assert read == MiniConfig(conv=(32, 24), width=32, heads=2)
    with pytest.raises(ValueError, match="conv = .*: expected a list, each entry a whole number"):
        MiniConfig.of({"conv": "512"})
