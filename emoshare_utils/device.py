"""Where to compute."""

import ctypes
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


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """The type to compute in: float32 or bfloat16; for auto, print which one it takes, and why.

    Raises:
        ValueError: an unknown name.
    """
    if precision == "auto":
        fast = multiplies_bfloat16(device)
        precision = "bfloat16" if fast else "float32"
        reason = "multiplies" if fast else "does not multiply"
        print(f"precision = auto takes {precision}: this {device.type} {reason} bfloat16 faster")
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision = {precision!r}: expected float32, bfloat16 or auto")
    return getattr(torch, precision)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32.

    On a CPU that takes matrix tiles (AMX) or Arm's bfloat16: AVX-512's bfloat16 alone multiplied
    at .5 to .75 of float32's rate (measured on an Intel Xeon without AMX).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = torch.cpu.get_capabilities()
    return any(features.get(name) for name in ("amx_bf16", "bf16"))


def give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps it, more with more threads.

    Without glibc nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that sums are taken in the same order on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def one_worker_per_core() -> Iterator[Executor]:
    """A pool of as many workers as torch has threads; each computes with one thread.

    Many small tasks, one per core, finish sooner than each task spread over all cores, and far
    sooner on a machine that is busy with other work.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "worker", torch.set_num_threads, (1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
