"""Frames -> a share: the architectures in the paper's terms."""

from emoshare_utils.models import architectures as architectures  # registers Architecture 1 and 2
from emoshare_utils.models import transformer as transformer  # and 3
