"""Where to compute."""

import re
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch


def choose_device(device: str = "auto") -> torch.device:
    """The device called cpu, cuda or cuda:N; auto is a GPU where there is one, else the CPU.

    Raises:
        ValueError: a GPU was asked for and there is none, or the name is unknown.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"device = {device!r}: expected auto, cpu, cuda or cuda:N")
    chosen = torch.device(device)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type == "cuda" and (chosen.index or 0) >= gpus:
        raise ValueError(
            f"device = {device!r}, but torch {torch.__version__} sees {gpus or 'no'} GPU here: "
            "set device = 'auto' or 'cpu', or check the driver with nvidia-smi"
        )
    if chosen.type == "cuda":  # whose convolutions would keep 10 of float32's 23 bits
        torch.backends.cudnn.allow_tf32 = False
    return chosen


@contextmanager
def one_worker_a_core() -> Iterator[Executor]:
    """Workers that compute with one thread each.

    Many small pieces of work, one a core, finish sooner than each piece spread over all cores,
    and far sooner on a machine that has other work too.
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, "worker", torch.set_num_threads, (1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
