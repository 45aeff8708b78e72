"""Where to compute."""

import torch


def choose_device(device: str = "auto") -> torch.device:
    """ "cuda", "cuda:1", "cpu", or "auto" for a GPU where there is one.

    Raises:
        ValueError: a GPU was asked for and there is none, or the name is unknown.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device = {device!r}: expected auto, cpu, cuda or cuda:N") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device = {device!r}, but torch {torch.__version__} sees no GPU on this machine: "
            "set device = 'auto' or 'cpu', or check the driver with nvidia-smi"
        )
    return chosen
