"""Several processes that train one model: each describes its share of a batch, all see the whole batch.

Every process computes the loss of the joined batch, with gradients through its own share alone, and gradients are
summed: what comes out is the gradient that one process would have computed.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import ConfigError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Team:
    """This process's number among `size` of them; the only one where nothing else is said."""

    rank: int = 0
    size: int = 1

    def share(self, items: Sequence[Item]) -> list[Item]:
        """The part of this process, as long as everyone's: the last item fills up."""
        each = -(-len(items) // self.size)
        own = list(items[self.rank * each : (self.rank + 1) * each])
        return own + [items[-1]] * (each - len(own))

    def joined(self, own: Tensor, count: int) -> Tensor:
        """(each, D) of every process -> (count, D) of all, in order; gradients go through the own part."""
        if self.size == 1:
            return own[:count]
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own.detach().contiguous())
        parts[self.rank] = own
        return torch.cat(parts)[:count]

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Gives all processes the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                plain = tensor.contiguous()
                dist.broadcast(plain, 0)
                tensor.copy_(plain)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds up the gradients of all processes, in one exchange."""
        if self.size == 1:
            return
        having = [parameter for parameter in parameters if parameter.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten().float() for p in having])
        dist.all_reduce(flat)
        for parameter, summed in zip(having, flat.split([p.numel() for p in having]), strict=True):
            parameter.grad = summed.view_as(parameter).to(parameter.dtype)


@contextmanager
def team_of_torchrun(device: str) -> Iterator[tuple[Team, str]]:
    """The team that torchrun started and this process's device; a team of one where it did not.

    Args:
        device: `cuda` becomes the process's own GPU.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(), device
        return
    on_gpu = device.startswith("cuda")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpu and local >= torch.cuda.device_count():
        raise ConfigError(f"{size} processes, but {torch.cuda.device_count()} GPUs: lower --nproc-per-node")
    if on_gpu:
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()
