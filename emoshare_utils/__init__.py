"""The package beneath the emotion-share workbook."""

import os
import warnings

# tqdm's advice to install widgets, whose bars stall in executed notebooks
warnings.filterwarnings("ignore", message="IProgress not found")

# oneDNN keeps a compiled kernel for each shape it meets. Clips come in some hundred lengths, and
# its own limit of 1024 kernels makes it compile the same ones again and again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
