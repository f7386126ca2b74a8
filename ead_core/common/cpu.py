"""The CPU: how many cores this process may use, and settings that programs make to be fast (never at import)."""

import contextlib
import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = 256 << 20  # bounded: unbounded thresholds fragment memory while batch shapes vary


def available_cores() -> int:
    """Cores this process may run on, or fewer where OMP_NUM_THREADS grants fewer (as Ray does for its workers)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(granted)) if granted.isdigit() and int(granted) else cores


def hardware() -> str:
    """What this process computes on: the maker's name of the processor (or its kind), and the threads of torch."""
    import torch

    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' * (threads > 1)}"


def processor() -> str:
    """The maker's name of the processor, or its kind where the system does not say."""
    source = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*:\s*(.+)", source.read_text() if source.is_file() else "", re.MULTILINE)
    return name[1].strip() if name else platform.processor() or platform.machine()


def tune_cpu(threads: int | None = None) -> None:
    """Use oneDNN for float32 products, keep freed memory in the process, and set the thread count.

    "medium" precision selects oneDNN, twice as fast as MKL on AMD. Its results are float32-accurate except on CPUs
    with AMX, where products may be rounded to bfloat16. On a GPU the setting would mean bfloat16, so it is left.

    Args:
        threads: of torch in this process; None leaves torch's choice.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        torch.set_float32_matmul_precision("medium")
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # glibc; others have no such call and need none
            libc.mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, 2 * _KEEP_BYTES)


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """So many CPU threads of torch for the length of a block; None leaves them as they are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
