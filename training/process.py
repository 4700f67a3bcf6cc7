"""The process of a training run: its rank among others, its device, and its memory."""

import ctypes
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class ProcessRank:
    """Rank of this process in distributed training, and its device."""

    rank: int
    world: int
    device: torch.device
    workers: int = 1
    """Number of worker processes that load samples."""

    @property
    def is_main(self) -> bool:
        """True for the process that writes checkpoints and history."""
        return self.rank == 0

    @property
    def bfloat16(self) -> bool:
        """True if the device supports bfloat16.

        A CPU without it emulates it at 1.5 times the time of float32.
        """
        if self.device.type != "cpu":
            return True
        capabilities = torch.cpu.get_capabilities()
        return any(supported for name, supported in capabilities.items() if "bf16" in name)


def find_process_rank(workers: int = 1) -> ProcessRank:
    """Reads the rank from torchrun's environment; without it the process trains alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    gpu = torch.cuda.is_available()
    if world > 1:
        dist.init_process_group("nccl" if gpu else "gloo")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    return ProcessRank(rank, world, torch.device(f"cuda:{local_rank}" if gpu else "cpu"), workers)


def reuse_freed_memory() -> None:
    """Configures glibc to reuse freed buffers instead of returning them to the kernel.

    Otherwise page faults on large activations cost a third of the time on a CPU.
    """
    mmap_max, trim_threshold, top_pad, arena_max = -4, -1, -2, -8
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 2**28)
    libc.mallopt(arena_max, 1)
