"""Where a training runs: one process on a CPU or a GPU, or several that `torchrun` has started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, distributed, nn

from ..errors import require


def leads() -> bool:
    """Whether this process writes files and shows progress: the first of those that `torchrun` has started, if any."""
    return processes() == 1 or os.environ.get("RANK", "0") == "0"


def processes() -> int:
    """How many `torchrun` has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun, as are RANK and LOCAL_RANK


@dataclass(frozen=True)
class Workers:
    """This process, `rank` of `size`, and its device."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Only one process writes files and shows progress."""
        return self.rank == 0

    def average(self, network: nn.Module) -> None:
        """Average the gradients of `network` over the processes."""
        found = [one.grad for one in network.parameters() if one.grad is not None] if self.size > 1 else []
        for gradient in found:
            distributed.all_reduce(gradient)
            gradient /= self.size

    def agree(self, network: nn.Module) -> None:
        """Give the buffers of the first process, such as running means, to all."""
        for buffer in network.buffers() if self.size > 1 else ():
            distributed.broadcast(buffer, 0)

    def share(self, batch: Tensor) -> Tensor:
        """The part of a batch for this process."""
        return batch[self.rank :: self.size]


def join(device: str = "cpu") -> Workers:
    """Join the processes that `torchrun` has started, if any. `device`: cpu, cuda, or auto (cuda if there is one)."""
    require(device in ("cpu", "cuda", "auto"), "device", device, "cpu, cuda or auto")
    has_gpu = torch.cuda.is_available()
    require(device != "cuda" or has_gpu, "device", device, "cpu: torch sees no CUDA device")
    kind = "cuda" if device != "cpu" and has_gpu else "cpu"
    size = processes()
    if size == 1:
        return Workers(torch.device(kind))
    if not distributed.is_initialized():
        import_module("torch.distributed.nn.functional")  # its defaults would keep a group that exists, and its threads
        distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    place = torch.device(kind, int(os.environ["LOCAL_RANK"])) if kind == "cuda" else torch.device(kind)
    return Workers(place, distributed.get_rank(), size)


def part() -> None:
    """Leave the other processes, if `join` has joined any. Threads of the group end here, not in the exit of Python."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
