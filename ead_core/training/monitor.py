"""What is watched during training: losses by noise band, gradient norm, and time."""

import math
import time
from itertools import pairwise

import torch
from torch import Tensor

BAND_EDGES = (0.05, 0.2, 0.5)  # of t/T: the loss is reported for the bands between them


class LossWindow:
    """Running means between two reports, kept on the device so that no step waits for them."""

    def __init__(self) -> None:
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []
        self.molecules = 0

    def add(self, losses: Tensor, levels: Tensor, norm: Tensor, molecules: int) -> None:
        """Record a step: losses and relative levels of this worker's molecules, gradient norm before clipping, and
        the number of molecules of all workers.
        """
        self._rows.append((losses, levels, norm))
        self.molecules += molecules

    def __len__(self) -> int:
        """Steps since the last report."""
        return len(self._rows)

    def first_broken(self) -> int | None:
        """Which step since the last report was the first without a finite loss and gradient; None if all have them."""
        sound = [losses.isfinite().all() & norm.isfinite() for losses, _, norm in self._rows]
        broken = torch.stack(sound).logical_not().nonzero()
        return int(broken[0]) if len(broken) else None

    def drain(self) -> dict[str, float]:
        """The means since the last call: loss, loss by noise band, gradient norm."""
        losses = torch.cat([row[0] for row in self._rows])
        levels = torch.cat([row[1] for row in self._rows])
        result = {
            "loss": float(losses.mean()),
            "gradient_norm": float(torch.stack([r[2] for r in self._rows]).mean()),
        }
        edges = (0.0, *BAND_EDGES, math.inf)
        for low, high in pairwise(edges):
            chosen = losses[(levels >= low) & (levels < high)]
            if len(chosen):
                result[f"loss_above_{low:g}"] = float(chosen.mean())
        self._rows, self.molecules = [], 0
        return result


class Clock:
    """Wall clock of this sitting on top of earlier ones.

    Args:
        limit: seconds this sitting may take; None for no limit.
        before: seconds of earlier sittings.
    """

    def __init__(self, limit: float | None, before: float) -> None:
        self._limit, self._before = limit, before
        self._start = self._last = time.monotonic()

    def total(self) -> float:
        """Seconds over all sittings."""
        return self._before + time.monotonic() - self._start

    def over(self) -> bool:
        """Whether this sitting has used its limit."""
        return self._limit is not None and time.monotonic() - self._start >= self._limit

    def since_report(self) -> float:
        """Seconds since the last report, never zero."""
        return max(time.monotonic() - self._last, 1e-9)

    def reported(self) -> None:
        """Start counting towards the next report."""
        self._last = time.monotonic()
