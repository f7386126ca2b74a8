"""Are the states that samplers visit as hot as those of training? And does what pauses gain go with their temperature?

    python benchmarks/mechanism.py qm9-deep --data qm9.npz --num 256

The temperature of visited states is the mean squared predicted noise, ε̂², over that of real molecules at the very same
levels, atom by atom: 1 is as in training, and above it the network finds more noise than the schedule says. For that,
every sampled molecule has a held-out one as a partner, whose number of atoms it takes, and each network call is made
once more for the partner, newly noised. Sums are by the level of the atom, over those that are not clean yet. The row
`real` is a control: its "visited" states are the partners themselves, noised once more, level by level. All others are
sampled from the same noise.

Fixed before the rows were measured, of coordinates in the bands below 0.2 T, where pauses and the corrector act:

- The control holds if no more than two of its 14 intervals leave out 1. If not, nothing else counts.
- The synchronous sampler is too hot in a band if its interval lies above 1.
- Going back and forth mends that if, in every such band, `together-renoise` minus `synchronous` lies below 0; at the
  right temperature, if it is also not below 1 there.
- Cooling is not what gains if `cooled-0.85` is no hotter than `together-renoise` in every such band (the interval of
  the difference does not lie above 0), and `together-renoise` still has more stable molecules (above 0).
- Asynchrony changes the temperature if adaptive minus together leaves out 0 in a band, in the same direction in both
  modes.

What is finished is kept in the work folder.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from ead_platform.sweep.study import Campaign
from kept import kept
from mechanism_report import Found, tables
from mechanism_states import Thermometer, as_real, to_the_end
from numpy.typing import NDArray
from schedules import with_sampler
from schedules_rates import RATE, matched_rates
from schedules_rows import SYNCHRONOUS, Row, adaptive, main_rows
from schedules_work import row_process

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.data.batching import TrainingBatches, size_buckets
from ead_core.data.dataset import resolve_data_path, split_indices
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import size_mask
from ead_core.errors import ConfigError, report_user_errors
from ead_core.evaluation.stability import stability
from ead_core.sampling.generation import complete
from ead_core.sampling.state import initial_state

GRID = ("sampler.steps=100", "sampler.grid=quadratic")
REAL = "real"
NAMES = (
    *(SYNCHRONOUS, "cooled-0.95", "cooled-0.85"),
    *("adaptive-repeat", "together-repeat", "adaptive-renoise", "together-renoise"),
)
CORRECTOR = Row("corrector", adaptive(async_ratio=0.0, corrector=0.5))


@dataclass(frozen=True, kw_only=True)
class Partnered(Campaign):
    """Sampled molecules, each as large as its partner."""

    partners: MoleculeSet

    @property
    def sizes(self) -> NDArray[np.int64]:
        """[M] atoms per molecule."""
        return self.partners.num_atoms


@torch.inference_mode()
def measured(campaign: Partnered, row: Row, like: Found | None, progress: Callable[[int], None]) -> Found:
    """Temperatures, stability and mean network calls of a row; if it follows one, this is to be `like`."""
    settings = dict(row.settings)
    if like is not None:
        settings[RATE] = matched_rates(campaign, settings, like)
    model, process = campaign.checkpoint, row_process(campaign, row, settings)
    everyone = np.arange(campaign.samples)
    clean = TrainingBatches(campaign.partners, model.atom_types, len(everyone), 0).gather(everyone)
    channels = 3 + model.atom_types.num_features
    see, made = Thermometer(process, clean.state(model.atom_types)), []
    for rows in size_buckets(campaign.sizes, campaign.molecules_per_call):
        ids, mask = campaign.ids[rows], size_mask(campaign.sizes[rows])
        state = initial_state(torch.full_like(ids, campaign.seed), ids, mask, channels, process)
        if row.name == REAL:
            as_real(state, process, see)
        else:
            made.append(complete(model, to_the_end(state, process, see), process))
        progress(len(rows))
    found: dict[str, Any] = {"sums": see.sums.tolist()}
    if made:
        molecules = MoleculeSet.concatenate(made)
        molecules = molecules.select(np.argsort(molecules.properties["id"]))
        found["stable"] = stability(molecules).stable.tolist()
        found["nfe_per_molecule"] = float(molecules.properties["nfe"].mean())
    return found


def campaign_of(checkpoint: str, overrides: list[str], data: Path, num: int, seed: int) -> Partnered:
    """The molecules of all rows, and their partners.

    Raises:
        ConfigError: a model that is told of more than levels, of which partners have nothing to tell.
        DataError: the data cannot be read, or hold an element that the model does not know.
    """
    model = with_sampler(load_checkpoint(checkpoint), [*GRID, *overrides])
    if model.atom_types.has_dummies or model.denoiser.context or model.denoiser.self_conditioning:
        raise ConfigError(
            f"{checkpoint} must be a model without empty slots, properties and self-conditioning, since held-out "
            "molecules at the same levels are compared with what it makes."
        )
    molecules = read_molecules(resolve_data_path(str(data))).molecules
    held_out = molecules.select(split_indices(molecules).valid)
    partners = held_out.select(np.random.default_rng(seed).permutation(len(held_out))[:num])
    return Partnered(model, seed, 0, len(partners), threads=1, partners=partners)


def main(
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-deep",
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.key=value for all rows.")] = None,
    *,
    data: Annotated[Path, typer.Option(help="The data set of training; its validation part is used.")],
    num: Annotated[int, typer.Option(min=2, help="Molecules per row.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise, and of the choice of partners.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps finished rows.")] = Path("runs/mechanism"),
) -> None:
    """Measure the missing rows and print the tables."""
    tune_cpu(1)
    campaign = campaign_of(checkpoint, overrides or [], data, num, seed)
    digest = hashlib.sha256(campaign.checkpoint.config.sampler.model_dump_json().encode())
    digest.update(campaign.fingerprint.encode() + campaign.partners.positions.tobytes())
    folder = work / digest.hexdigest()[:16]
    known = {row.name: row for row in main_rows()}
    rows = [Row(REAL, known[SYNCHRONOUS].settings), *(known[name] for name in NAMES), CORRECTOR]
    found: dict[str, Found] = {}
    for row in rows:
        with progress_bar(row.name, campaign.samples) as progress:
            work_off = partial(measured, campaign, row, found[row.like] if row.like else None, progress)
            found[row.name] = kept(folder / f"{row.name}.json", work_off)
    for text in tables(found):
        typer.echo(text)


if __name__ == "__main__":
    with report_user_errors("mechanism"):
        typer.run(main)
