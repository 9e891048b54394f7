"""The C library's allocator, told to keep what a training step frees."""

from __future__ import annotations

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def keep_freed_memory(device: torch.device) -> bool:
    """Let freed blocks stay in this process, to be used again; whether that was possible.

    glibc gives blocks of 32 MiB and above back to the kernel at once, and others when they lie at the end of its heap,
    so that every step of training touches new pages: a third of `cifar10-small`'s time. This holds for the rest of the
    process, which from then on is as large as it was at its largest. On a GPU (torch has its own allocator there) and
    with another C library it does nothing.
    """
    if device.type != "cpu" or sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0)) and bool(library.mallopt(M_TRIM_THRESHOLD, -1))
