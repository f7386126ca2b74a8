"""Data parallelism: the workers of one training run, their shares of a batch, and what they agree on.

Whoever starts several processes joins them in a torch process group (Ray Train does). Without one there is a single
worker and nothing to agree on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ead_core.errors import EADError

MEETING_STEPS = 10  # between two agreements, each of which makes a GPU wait for its host
T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This process and its fellows.

    Attributes:
        rank: of this process.
        size: number of processes.
        device: where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @classmethod
    def joined(cls) -> "Workers":
        """The members of the process group, or this process alone."""
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size(), device)
        return cls(0, 1, device)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and evaluates."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, whose gradients on GPUs are averaged over the workers while the backward pass computes them."""
        if self.size == 1 or self.device.type == "cpu":
            return model
        return DistributedDataParallel(model, gradient_as_bucket_view=True)

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average gradients over the workers after a backward pass; every worker must call this.

        On CPUs all gradients are one sum, whose order never changes: `DistributedDataParallel` groups them anew after
        its first step, so that with three workers a run that was interrupted would not continue bit for bit.
        """
        if self.size == 1 or self.device.type != "cpu":
            return
        flat = torch.cat([cast(Tensor, parameter.grad).flatten() for parameter in parameters])
        distributed.all_reduce(flat)
        parts = (flat / self.size).split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def share(self, batch_size: int) -> tuple[Tensor, float]:
        """This worker's rows of a batch, and the factor on the sum of their losses.

        The average over the workers of factor · Σ losses is the mean loss of the whole batch, even if it cannot be
        divided evenly. A worker without rows computes the first with factor 0, because all must take part.
        """
        rows = torch.arange(batch_size)[self.rank :: self.size]
        if not len(rows):
            return torch.zeros(1, dtype=torch.long), 0.0
        return rows, self.size / batch_size

    def part(self, count: int) -> range:
        """This worker's part of 0 … count − 1; the parts of all are nearly equal and in the order of ranks."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def divide(self, work: Callable[[Tensor], Tensor], stacks: Sequence[Tensor]) -> list[Tensor]:
        """The results of `work` on stacks of matrices; every worker must call this.

        On CPUs each worker does its part of every stack and all get the whole; on GPUs each does everything, since
        there the exchange takes longer.

        Args:
            work: from matrices [M, rows, columns] to as many of the same shape, each a function of one of them.
            stacks: the same on all workers.
        """
        if self.size == 1 or self.device.type != "cpu":
            return [work(stack) for stack in stacks]
        flat = torch.cat([torch.zeros_like(stack).flatten() for stack in stacks])
        sizes = [stack.numel() for stack in stacks]
        whole = [part.view_as(stack) for part, stack in zip(flat.split(sizes), stacks, strict=True)]
        for result, stack in zip(whole, stacks, strict=True):
            part = self.part(len(stack))
            if part:
                mine = slice(part.start, part.stop)
                result[mine] = work(stack[mine])
        distributed.all_reduce(flat)  # adds zeros to each part, so that all have the same bits
        return whole

    def gather(self, mine: T) -> list[T]:
        """What every worker has, in the order of ranks, on all of them; every worker must call this."""
        if self.size == 1:
            return [mine]
        everyone: list[T] = [mine] * self.size
        distributed.all_gather_object(everyone, mine)
        return everyone

    def together(self, work: Callable[[], T]) -> T:
        """This worker's result of something that all do, and that may fail for some; every worker must call this.

        Raises:
            EADError: on all workers, the first of theirs, so that none waits for those that have left.
        """
        result, refusal = None, None
        try:
            result = work()
        except EADError as error:
            refusal = error
        for other in self.gather(refusal):
            if other is not None:
                raise other
        return cast(T, result)

    def led(self, work: Callable[[], None]) -> None:
        """What the first worker does for all; see `together`."""
        self.together(work if self.leads else lambda: None)

    def meet(self, step: int) -> bool:
        """Whether the workers agree on something after optimiser step `step`."""
        return self.size == 1 or step % MEETING_STEPS == 0

    def agree(self, *requests: bool) -> list[bool]:
        """What any worker asks for, the same list on all of them; every worker must call this."""
        if self.size == 1:
            return list(requests)
        flags = torch.tensor(requests, dtype=torch.int32, device=self.device)
        distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
        return [bool(flag) for flag in flags.tolist()]
