"""Where on the way down is it decided whether a molecule has an even number of electrons?

    python benchmarks/parity.py qm9-deep --num 300 --set sampler.policy=synchronous

Of H, C, N, O and F, those with an odd number of electrons are H, N and F, so the parity of their number is that of the
electrons. It is read off the elements of the predicted clean molecule x̂ after every network call, together with all
elements, and compared with what is delivered.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.config import parse_overrides
from ead_core.data.store import save_npz
from ead_core.data.tensors import AtomTypes
from ead_core.errors import ConfigError, report_user_errors
from ead_core.sampling.generation import fulfil
from ead_core.sampling.micro_batches import MicroBatch
from ead_core.sampling.requests import Request
from ead_core.sampling.state import SamplerState

SHARES = (0.8, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02)  # of T


class Predictions:
    """The elements of x̂ of every molecule after every call, of a solver that keeps x̂; atoms share their level."""

    def __init__(self, atom_types: AtomTypes) -> None:
        self._atom_types = atom_types
        self.charges: dict[int, list[tuple[int, np.ndarray]]] = {}  # by id: level of the call, [N] atomic numbers

    def __call__(self, part: MicroBatch, after: SamplerState) -> None:
        """Observe a move of the engine."""
        charges = self._atom_types.charges(after.prediction[..., 3:]).cpu().numpy()
        levels = part.process.grid[part.state.grid_index.amax(dim=1)].tolist()
        for row, (number, level, size) in enumerate(zip(after.ids.tolist(), levels, part.labels["size"], strict=True)):
            self.charges.setdefault(number, []).append((level, charges[row, :size]))

    def settled(self, final: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The levels [K] from the highest down, and whether at each all elements and the parity [K, M] are the last."""
        ways = [self.charges[number] for number in sorted(self.charges)]
        levels = np.array([level for level, _ in ways[0]])
        seen = [np.stack([charges for _, charges in way]) for way in ways]
        elements = [(now == end).all(axis=1) for now, end in zip(seen, final, strict=True)]
        parity = [now.sum(axis=1) % 2 == end.sum() % 2 for now, end in zip(seen, final, strict=True)]
        return levels, np.stack(elements, axis=1), np.stack(parity, axis=1)


COLUMNS = (
    "level",
    "odd %",
    "parity as delivered %",
    "here and below %",
    "all elements, here and below %",
    "flips below",
)


def table(levels: np.ndarray, elements: np.ndarray, parity: np.ndarray, odd: np.ndarray) -> list[str]:
    """A line for each of `SHARES`; arrays as from `settled`, and who is odd in the end [M]."""
    elements_stay, parity_stays = (np.logical_and.accumulate(known[::-1])[::-1] for known in (elements, parity))
    flips = np.diff(parity, axis=0)
    lines = []
    for share in SHARES:
        row = int(np.argmin(np.abs(levels - share * levels[0])))
        odd_now = parity[row] == odd
        shares = [100 * each.mean() for each in (odd_now, parity[row], parity_stays[row], elements_stay[row])]
        cells = [str(levels[row]), *(f"{one:.0f}" for one in shares), f"{flips[row:].sum(axis=0).mean():.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-deep",
    num: Annotated[int, typer.Option(min=1, help="Molecules.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 0,
    change: Annotated[list[str] | None, typer.Option("--set", help="sampler.key=value.")] = None,
    kept: Annotated[Path | None, typer.Option(help=".npz for the molecules.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = 1,
) -> None:
    """Print a table, a row per level."""
    tune_cpu(threads)
    model = load_checkpoint(checkpoint)
    sampler = replace(model, config=model.config.override(parse_overrides(change or []))).config.sampler
    if sampler.policy != "synchronous" or not sampler.solver.startswith("dpmpp_2m"):
        raise ConfigError("x̂ is kept by the solvers dpmpp_2m and dpmpp_2m_sde, here with sampler.policy=synchronous.")
    predictions = Predictions(model.atom_types)
    with progress_bar("sampling", num) as progress:
        molecules = fulfil(model, Request(num, sampler, seed), progress, predictions)
    if kept:
        save_npz(molecules, kept)
    final = [molecules.molecule(row)[0] for row in range(num)]
    odd = np.array([charges.sum() % 2 == 1 for charges in final])
    print(f"{100 * odd.mean():.1f} % of {num} molecules have an odd number of electrons.\n")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    print("\n".join(table(*predictions.settled(final), odd)))


if __name__ == "__main__":
    with report_user_errors("parity"):
        typer.run(main)
