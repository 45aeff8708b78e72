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
sources = {'simulated': {'n_clips': 240, 'seed': 1}}
options = {}
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
    sizes = {"cnn": [2], "lstm": 16, "scale": "width"}  # each entry from the nearest that has it
    small = given | {"run": "small", "encoders": ["mfcc"], "sizes": sizes}
    assert more(name="small", **profiles) == small
    sources = {"b": {"root": "b", "split_seed": 1}}  # nothing of the notebook's default
    assert more(name="tiny") == small | {"run": "tiny", "clips": 1, "sources": sources}
    assert more()["sizes"] == {"cnn": [32, 24], "lstm": 16, "scale": "sqrt"}

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
    assert given["sizes"] == {"cnn": [32, 24], "lstm": 2, "scale": "sqrt", "output": "relu"}
    assert given["clips"] == 5 and given["sources"] == {"simulated": "x"}
    assert more(["sizes={lstm: 3}"])["sizes"] == {"cnn": [32, 24], "lstm": 3, "scale": "sqrt"}


@pytest.mark.parametrize(
    "entries, sizes",
    [
        ("{lstm: 64}", {"cnn": [4], "lstm": 64, "scale": "sqrt"}),
        ("{lstm: null, cnn: 2}", {"cnn": [2], "scale": "sqrt"}),
        ("{}", {"cnn": [4], "lstm": 8, "scale": "sqrt"}),
        ("null", {}),
    ],
)
def test_entries_left_out_are_the_notebook_s_and_null_the_package_s(more, entries, sizes):
    assert more([f"sizes={entries}"], demo=PROFILE)["sizes"] == sizes
    assert more(demo=f"{PROFILE}sizes: {entries}\n")["sizes"] == sizes


def test_one_entry_is_laid_over_what_the_profile_or_else_the_notebook_gives(more):
    default = {"cnn": [4], "lstm": 8, "scale": "sqrt"}
    assert more(["sizes.cnn=2"], demo=PROFILE)["sizes"] == default | {"cnn": [2]}
    assert more(["sizes.cnn=2", "sizes=null"])["sizes"] == {}
    assert more(["sizes=null", "sizes.cnn=2"])["sizes"] == {"cnn": [2]}
    profile = PROFILE + "sizes: {cnn: 1, lstm: 16}\n"
    assert more(["sizes.lstm=null"], demo=profile)["sizes"] == {"cnn": [1], "scale": "sqrt"}
    small = "base: demo\nrun: small\nsizes: {lstm: null}\n"
    assert more(name="small", small=small)["sizes"] == {"cnn": [1], "scale": "sqrt"}


def test_sources_and_options_are_replaced_whole_unless_an_entry_is_named(more):
    given = more(["sources={simulated: data/x}"])  # a folder, where the default has entries
    assert given["sources"] == {"simulated": "data/x"}
    given = more(["sources.simulated.n_clips=9"])
    assert given["sources"] == {"simulated": {"n_clips": 9, "seed": 1}}

    profiles = {
        "demo": PROFILE + "sources: {crema_d: data/c}\noptions: {n_clips: 4, speakers: 2}\n",
        "mine": "base: demo\nrun: mine\noptions: {labels: x.csv}\n",
    }
    given = more(["sources={simulated: {n_clips: 4000}}"], **profiles)
    assert given["sources"] == {"simulated": {"n_clips": 4000}}
    assert given["options"] == {"n_clips": 4, "speakers": 2}
    assert more(name="mine")["options"] == {"labels": "x.csv"}
    assert more(["options.labels=y.csv", "options.shares=[a]"], name="mine")["options"] == {
        "labels": "y.csv",
        "shares": ["a"],
    }
    added = more(["sources.simulated.n_clips=9", "sources.crema_d=null", "options.speakers=null"])
    assert added["sources"] == {"simulated": {"n_clips": 9}}
    assert added["options"] == {"n_clips": 4}
    assert more(["options=null"])["options"] == {}


def test_lines_left_blank_give_nothing_and_extensions_add_up(three, monkeypatch):
    for name in ("one", "two", "three"):
        (three / f"{name}.py").touch()
    monkeypatch.setenv("EMOSHARE_EXTENSIONS", str(three / "three.py"))
    for name, text in {
        "demo": PROFILE + "notebooks: [01, 02]\nextensions: one.py\n",
        "blank": "base: demo\nrun: blank\nnotebooks:\nextensions:\n",
        "more": "base: blank\nrun: more\nnotebooks: 03\nextensions: [two.py, one.py]\n",
        "none": PROFILE + "base:\nnotebooks:\nextensions:\n",
    }.items():
        (three / "profiles" / f"{name}.yaml").write_text(text)

    def of(name):
        profile = read_profile(name, {}, read_notebooks())
        return [n.name[:2] for n in profile.notebooks], [f.stem for f in profile.extensions]

    assert of("blank") == (["01", "02"], ["one", "three"])
    assert of("more") == (["03"], ["one", "two", "three"])
    assert of("none") == ([], ["three"])
    monkeypatch.setenv("EMOSHARE_EXTENSIONS", "/no/such.py")
    with pytest.raises(WorkbookError, match="EMOSHARE_EXTENSIONS: /no/such.py is not a file"):
        of("demo")


def test_yaml_values():
    given = parse_settings(
        ["a=1e-4", "b=[no, en]", "c=true", "d=-3", "e=", "f=007", "g=a=b", "h=2.5", "i=~/clips"]
        + ["j.k=1", "j.l=2", "j={}", "j.k=3"]
    )
    assert given == {
        "a": 1e-4, "b": ["no", "en"], "c": True, "d": -3, "e": None, "f": "007", "g": "a=b",
        "h": 2.5, "i": "~/clips", "j.l": 2, "j": {}, "j.k": 3,
    }  # fmt: skip
    assert list(given)[-2:] == ["j", "j.k"]  # in the order in which they were last given


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
