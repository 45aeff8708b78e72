"""Results are read without the networks that made them."""

import subprocess
import sys


def test_results_load_neither_the_models_nor_transformers():
    code = """
import importlib, pkgutil, sys
import emoshare_utils.results as results
names = [found.name for found in pkgutil.walk_packages(results.__path__, results.__name__ + ".")]
assert len(names) > 10, names
for name in names:
    importlib.import_module(name)
heavy = ("emoshare_utils.models", "emoshare_utils.features", "transformers")
print([name for name in sys.modules if name.startswith(heavy)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
