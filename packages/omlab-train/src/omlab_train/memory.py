"""Memory of training on the CPU: keep what is freed instead of giving it back at every step."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed blocks; for the whole process. True where that was possible.

    A step of training frees its activations, glibc returns such large blocks to the kernel at once, and the
    next step has them zeroed again page by page: measured on the demo, a third of its time. The process
    then holds on to the most that it ever needed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, _NEVER))
