"""Profiles: what a base, a setting and an extension do, and what is refused."""

import pytest
from toy_notebooks import PROFILE, ran, write

from emoshare_utils.paths import Run
from emoshare_utils.runner.notebooks import WorkbookError, read_notebooks
from emoshare_utils.runner.profiles import parse_settings, read_profile
from emoshare_utils.runner.workbook import run

MORE = """
run = 'x'
encoders = ['fbank', 'mfcc']
sizes = {'cnn': [4], 'lstm': 8, 'scale': 'sqrt'}
sources = {'simulated': ''}
"""


@pytest.fixture
def more(three):
    """The three notebooks, one with mappings, and a way to write profiles."""
    write("04_more", parameters=MORE)

    def read(overrides=(), name="demo", **profiles):
        for profile, text in profiles.items():
            (three / "profiles" / f"{profile}.yaml").write_text(text)
        return read_profile(name, parse_settings(overrides), read_notebooks()).parameters

    return read


@pytest.mark.parametrize(
    "profile, message",
    [
        (
            PROFILE + "rat: 2\n",
            r"demo.yaml: no notebook has a parameter 'rat'; did you mean 'rate'",
        ),
        ("run: demo\n", "demo.yaml lacks root"),
        ("root: a\n", "demo.yaml lacks run"),
        ("- run\n", "expected lines of `name: value`"),
        ("run: [", "demo.yaml is not YAML"),
        (PROFILE + "base: demmo\n", "no profile 'demmo' in .*did you mean 'demo'"),
        (PROFILE + "base: demo\n", r"demo.yaml is a base of itself \(demo -> demo\)"),
        (PROFILE + "base: other\n", r"base of itself \(demo -> other -> demo\)"),
        ("base: small\nroot: a\n", "demo.yaml lacks run, which every profile has, also with a bas"),
        (PROFILE + "extensions: mine.py\n", "demo.yaml: extensions: .*/mine.py is not a file"),
    ],
)
def test_a_bad_profile_is_refused(three, profile, message):
    (three / "profiles" / "small.yaml").write_text(PROFILE)
    (three / "profiles" / "other.yaml").write_text(PROFILE + "base: demo\n")
    (three / "profiles" / "demo.yaml").write_text(profile)
    with pytest.raises(WorkbookError, match=message):
        run("demo")
    assert not (three / "runs").exists()


def test_one_value_for_a_list_is_a_list_of_one(more):
    given = {"run": "demo", "root": None, "clips": 3, "rate": 1e-4}
    for text, expected in (("mfcc", ["mfcc"]), ("[mfcc]", ["mfcc"]), ("null", None)):
        assert more([f"encoders={text}"]) == given | {"encoders": expected}


def test_a_profile_says_what_differs_from_its_base(more, three):
    profiles = {
        "demo": PROFILE + "sizes: {cnn: [32, 24], lstm: 16}\nencoders: [fbank, mfcc]\n",
        "small": "base: demo\nrun: small\nencoders: mfcc\nsizes: {cnn: 2, scale: width}\n",
        "tiny": "base: small\nrun: tiny\nclips: 1\nsources: {b: {root: b, split_seed: 1}}\n",
    }
    given = {"root": None, "clips": 3, "rate": 1e-4}
    sizes = {"cnn": [2], "lstm": 16, "scale": "width"}
    small = given | {"run": "small", "encoders": ["mfcc"], "sizes": sizes}
    assert more(name="small", **profiles) == small
    sources = {"b": {"root": "b", "split_seed": 1}}  # nothing of the notebook's default
    assert more(name="tiny") == small | {"run": "tiny", "clips": 1, "sources": sources}
    assert more()["sizes"] == {"cnn": [32, 24], "lstm": 16}

    # A base may be a path, beside the profile that names it.
    (three / "elsewhere").mkdir()
    (three / "elsewhere" / "a.yaml").write_text("base: b.yaml\nrun: a\n")
    (three / "elsewhere" / "b.yaml").write_text("base: ../profiles/small.yaml\nrun: b\nclips: 9\n")
    of_path = more(name=str(three / "elsewhere" / "a.yaml"))
    assert of_path == small | {"run": "a", "clips": 9}


def test_settings_are_laid_over_the_profile(more):
    profile = PROFILE + "sizes: {cnn: [32, 24], lstm: 16}\n"
    set_ = ["sizes.lstm=2", "sizes.output=relu", "clips=5", "sources.simulated=x"]
    given = more(set_, demo=profile)
    assert given["sizes"] == {"cnn": [32, 24], "lstm": 2, "output": "relu"}
    assert given["clips"] == 5 and given["sources"] == {"simulated": "x"}
    assert more(["sizes={lstm: 3}"])["sizes"] == {"cnn": [32, 24], "lstm": 3}
    # Where no profile gives the mapping, the notebook's is what one entry differs from.
    default = {"cnn": [4], "lstm": 8, "scale": "sqrt"}
    assert more(["sizes.cnn=2"], demo=PROFILE)["sizes"] == default | {"cnn": [2]}


def test_yaml_values():
    given = parse_settings(
        ["a=1e-4", "b=[no, en]", "c=true", "d=-3", "e=", "f=007", "g=a=b", "h=2.5", "i=~/clips"]
        + ["j.k=1", "j.l.m=2", "j.k=3"]
    )
    assert given == {
        "a": 1e-4, "b": ["no", "en"], "c": True, "d": -3, "e": None, "f": "007", "g": "a=b",
        "h": 2.5, "i": "~/clips", "j": {"k": 3, "l": {"m": 2}},
    }  # fmt: skip


def test_extensions_are_imported_in_each_kernel_and_count(project, monkeypatch):
    use = """
from emoshare_utils.names import Registry
from emoshare_utils.paths import Run
import toy_registry
(Run(run).folder / 'said').write_text(toy_registry.TOYS['mine'] + toy_registry.TOYS['yours'])
"""
    (project / "toy_registry.py").write_text(
        "from emoshare_utils.names import Registry\nTOYS = Registry('toy')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(project))
    write("01_data", use, parameters="run = 'x'\nroot = None\nclips = 1\nrate = 1.0")
    register = "import toy_registry\ntoy_registry.TOYS.register({!r}, {!r})\n"
    (project / "mine.py").write_text(register.format("mine", "one"))
    (project / "yours.py").write_text(register.format("yours", "two"))
    monkeypatch.setenv("EMOSHARE_EXTENSIONS", str(project / "yours.py"))
    (project / "profiles" / "demo.yaml").write_text(PROFILE + "extensions: [mine.py]\n")
    assert ran(run("demo")) == ["01"]
    assert (Run("demo").folder / "said").read_text() == "onetwo"
    assert ran(run("demo")) == []
    (project / "mine.py").write_text(register.format("mine", "three"))
    assert ran(run("demo")) == ["01"]
    assert (Run("demo").folder / "said").read_text() == "threetwo"
