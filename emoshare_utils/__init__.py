"""The package beneath the emotion-share workbook, and the names to start from."""

import getpass
import importlib
import os
import warnings
from typing import Any

# tqdm's advice to install widgets, whose bars stall in executed notebooks
warnings.filterwarnings("ignore", message="IProgress not found")

# oneDNN keeps a compiled kernel for each shape it meets. Clips come in some hundred lengths, and
# its own limit of 1024 kernels makes it compile the same ones again and again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

# torch asks for the user's name, which a container's user id may not have.
try:
    getpass.getuser()
except (KeyError, OSError):
    os.environ["LOGNAME"] = f"user-{os.getuid()}"

# Imported when first used: torch, transformers and pandas take seconds.
_PLACES = {
    "predict": "predicting.recordings",
    "load_system": "predicting.trained",
    "Corpus": "corpora.clip_table",
    "load_corpus": "corpora",  # its `load`
    "load_encoder": "features.encoders",
    "extract": "features.extract",
    "open_store": "features.store",
    "Sizes": "models.regressor",
    "Architecture1": "models.architectures",
    "Architecture2": "models.architectures",
    "Training": "training.settings",
    "train_system": "training.systems",
    "score": "results.scores",
    "compare": "results.comparisons",
    "table1": "results.tables",
    "scatter": "results.figures",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_PLACES[name]}")
    return getattr(module, "load" if name == "load_corpus" else name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
