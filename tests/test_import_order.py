"""Import order: a module imports from its own folder and from those before it; and sizes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "emoshare_utils"
FLOORS = [
    {"errors"},
    {"files", "device", "progress", "paths", "cluster"},
    {"storage"},
    {"names"},
    {"corpora", "models", "runner"},
    {"features"},
    {"results"},
    {"training"},
    {"pretraining"},
    {"studies", "checking", "predicting"},
]
LAZY = {"distributed", "papermill", "opensmile", "nbformat", "jupyter_client", "torch", "traitlets"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports(tree: ast.AST) -> list[tuple[str, bool]]:
    """The modules that are imported, and whether inside a function."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    found = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [(name, id(node) in inside) for name in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_nothing_to_its_right(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name, in_function in imports(ast.parse(path.read_text("utf-8"))):
        package, _, rest = name.partition(".")
        if package == "emoshare_utils":
            other = rest.split(".")[0]
            if room not in ("__init__", "__main__"):
                assert other == room or floor(other) < floor(room), f"{path} imports {name}"
                assert not rest.split(".")[-1].startswith("_"), f"{path}: {name} is private"
            assert not in_function or room in ("__init__", "__main__"), f"{path}: {name}"
        elif in_function:
            assert package in LAZY, f"{path} imports {name} inside a function"


def seconds_and_modules(statement: str) -> tuple[float, set[str]]:
    """How long a fresh interpreter takes for a statement, and what it has loaded then."""
    code = f"import time; start = time.perf_counter(); {statement}; "
    code += "print(time.perf_counter() - start); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.strip().splitlines()[-2:]
    return float(seconds), set(modules.split())


def test_importing_the_package_is_quick_and_names_what_a_reader_needs():
    seconds, modules = min(seconds_and_modules("import emoshare_utils") for _ in range(3))
    assert seconds < 0.5
    assert not modules & {"torch", "pandas", "transformers", "matplotlib"}
    import emoshare_utils

    assert 8 <= len(emoshare_utils.__all__) <= 16
    for name in emoshare_utils.__all__:
        assert getattr(emoshare_utils, name).__doc__, name
    assert set(emoshare_utils.__all__) <= set(dir(emoshare_utils))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        emoshare_utils.nothing  # noqa: B018


def test_a_feature_store_is_read_without_what_makes_its_frames():
    _, modules = seconds_and_modules("import emoshare_utils.features.store")
    assert not modules & {"torch", "transformers", "sklearn"}


def test_results_load_neither_the_models_nor_transformers():
    rooms = ["comparisons", "expected_share", "figures", "published", "rendering", "tables"]
    _, modules = seconds_and_modules(
        "; ".join(f"import emoshare_utils.results.{room}" for room in rooms)
    )
    assert "emoshare_utils.results.scores" in modules
    assert not {name for name in modules if name.startswith("emoshare_utils.models")}
    assert "transformers" not in modules and "torchaudio" not in modules


def test_no_module_or_function_is_too_long():
    for path in MODULES:
        source = path.read_text("utf-8")
        assert len(source.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = node.body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 40, f"{path}: {node.name} has {lines} lines"
