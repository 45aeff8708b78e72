"""The package beneath the emotion-share workbook."""

import warnings

# tqdm's advice to install widgets, whose bars stall in executed notebooks
warnings.filterwarnings("ignore", message="IProgress not found")
