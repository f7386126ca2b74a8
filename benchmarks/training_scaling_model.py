"""A model, not a measurement: seconds of a data-parallel training step against workers, batch and network.

    python benchmarks/training_scaling_model.py --out docs/results/scaling.png

A step is the computation of the largest share of the batch, plus what of the gradients' reduction does not hide behind
the backward pass. PyTorch reduces gradients in buckets, the first of 1 MiB and others of up to 25, in the order in
which they become ready; the collectives follow one another. A reduction takes the faster of a ring,
2 (W − 1) (latency + bytes / (W bandwidth)), and a tree, 2 ⌈log₂ W⌉ (latency + bytes / bandwidth). Every number in
CASES that is not a size of a network is an assumption.

The second table is of whole trainings on one GPU: computation in proportion to layers and pairs of atoms, the rest of a
step in proportion to layers.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from ead_core.common.markdown import table
from ead_core.config import load_config
from ead_core.errors import report_user_errors
from ead_core.pictures.figures import new_figure, write_figure
from ead_core.pictures.molecules import check_picture

MIB = 2**20
FIRST_BUCKET, BUCKET = 1 * MIB, 25 * MIB
BACKWARD = 2 / 3  # of the computation
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        name: of its row.
        gradient_bytes: of all gradients, float32.
        molecule_seconds: computation per molecule of a worker's share.
        fixed_seconds: of a step whatever the share: kernel launches, optimiser.
        batch: molecules of all workers, or of one where the batch grows with their number.
        latency: seconds per hop of a collective.
        bandwidth: bytes per second between two workers.
        grows: whether every worker has a batch of its own.
        most: workers that such a network connects.
    """

    name: str
    gradient_bytes: float
    molecule_seconds: float
    fixed_seconds: float
    batch: int
    latency: float
    bandwidth: float
    grows: bool = False
    most: int = 256

    def step(self, workers: int) -> float:
        """Seconds of an optimiser step."""
        share = self.batch if self.grows else math.ceil(self.batch / workers)
        computed = self.fixed_seconds + share * self.molecule_seconds
        return max(computed, self.reduced(workers, computed))

    def reduced(self, workers: int, computed: float) -> float:
        """When the last bucket is reduced, in seconds from the step's start."""
        if workers == 1:
            return 0.0
        buckets, ready, end = self.buckets(), 0.0, 0.0
        for size in buckets:
            ready += size / self.gradient_bytes
            end = max(end, computed * (1 - BACKWARD * (1 - ready))) + self.reduction(size, workers)
        return end

    def buckets(self) -> list[float]:
        """Bytes of the buckets, in the order in which they are reduced."""
        rest = max(self.gradient_bytes - FIRST_BUCKET, 0.0)
        whole, last = divmod(rest, BUCKET)
        return [min(self.gradient_bytes, FIRST_BUCKET), *[float(BUCKET)] * int(whole), *[last] * (last > 0)]

    def reduction(self, size: float, workers: int) -> float:
        """Seconds of an all-reduce."""
        ring = 2 * (workers - 1) * (self.latency + size / workers / self.bandwidth)
        tree = 2 * math.ceil(math.log2(workers)) * (self.latency + size / self.bandwidth)
        return min(ring, tree)

    def efficiency(self, workers: int) -> float:
        """Molecules per second and worker, beside those of one worker."""
        share = workers if self.grows else 1
        return self.step(1) * share / (workers * self.step(workers))


class Training(NamedTuple):
    """A recipe of `configs`, and the mean number of pairs of atoms in a molecule of its data."""

    recipe: str
    pairs: float

    def cells(self) -> list[str]:
        """Steps, ms per step and hours."""
        config = load_config(RECIPES / f"{self.recipe}.yaml")
        layers, batch, steps = config.network.layers, config.training.batch_size, config.training.steps
        molecule = GPU["molecule_seconds"] * (layers * self.pairs) / (LAYERS * QM9_PAIRS)
        step = GPU["fixed_seconds"] * layers / LAYERS + batch * molecule
        return [f"`configs/{self.recipe}.yaml`", f"{steps:,}", f"{1000 * step:.0f}", f"{steps * step / 3600:.1f}"]


EDM = 5.3e6 * 4  # bytes of the gradients of configs/qm9.yaml
GPU: dict[str, Any] = {
    "molecule_seconds": 6e-5,
    "fixed_seconds": 8e-3,
}  # 2.3 GFLOP per molecule at 40 TFLOP/s; some 1,600 launches
NVLINK: dict[str, Any] = {"latency": 5e-6, "bandwidth": 2e11}  # within a node
HUNDRED: dict[str, Any] = {"latency": 2e-5, "bandwidth": 1.2e10}  # Gbit/s between nodes
TEN: dict[str, Any] = {"latency": 5e-5, "bandwidth": 1.2e9}
LAYERS, QM9_PAIRS = 9, 336.0  # of which these seconds are; 18.1 atoms, squares averaged
DRUGS_PAIRS = 2200.0  # (44.4 atoms)² and an assumed standard deviation of 15
TRAININGS = (Training("qm9", QM9_PAIRS), Training("drugs", DRUGS_PAIRS))
RECIPES = Path(__file__).parents[1] / "configs"
CASES = (
    Case("batch 64, 100 Gbit/s", EDM, **GPU, **HUNDRED, batch=64),
    Case("batch 4,096, 100 Gbit/s", EDM, **GPU, **HUNDRED, batch=4096),
    Case("256 per GPU, NVLink", EDM, **GPU, **NVLINK, batch=256, grows=True, most=8),
    Case("256 per GPU, 100 Gbit/s", EDM, **GPU, **HUNDRED, batch=256, grows=True),
    Case("256 per GPU, 10 Gbit/s", EDM, **GPU, **TEN, batch=256, grows=True),
)


def draw(path: Path) -> None:
    """Efficiency against workers."""
    figure = new_figure(7.5, 4.2)
    axes = figure.subplots()
    for case in CASES:
        reached = [workers for workers in WORKERS if workers <= case.most]
        efficiencies = [100 * case.efficiency(workers) for workers in reached]
        axes.plot(reached, efficiencies, "o-", markersize=4, label=case.name)
    axes.set(xscale="log", xlabel="GPUs", ylabel="efficiency, % of one GPU's molecules/s", ylim=(0, 105))
    axes.set_xticks(WORKERS, [str(workers) for workers in WORKERS])
    axes.minorticks_off()
    axes.set_title("Modelled, not measured: data-parallel training of EDM's network", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    write_figure(figure, path, dpi=150)


def cell(case: Case, workers: int) -> str:
    return f"{1000 * case.step(workers):.1f} ({100 * case.efficiency(workers):.0f})"


def main(out: Annotated[Path, typer.Option(help="Picture.")] = Path("scaling.png")) -> None:
    """Print the table and draw the picture."""
    check_picture(out)
    print(f"| modelled step, ms (efficiency %) | {' | '.join(map(str, WORKERS))} |\n{'|---' * (len(WORKERS) + 1)}|")
    for case in CASES:
        cells = [cell(case, workers) if workers <= case.most else "" for workers in WORKERS]
        print(f"| {case.name} | {' | '.join(cells)} |")
    heads = ["recipe", "steps", "ms per step", "hours on one GPU"]
    print(f"\n{table([heads, *(each.cells() for each in TRAININGS)])}")
    draw(out)


if __name__ == "__main__":
    with report_user_errors("training_scaling_model"):
        typer.run(main)
