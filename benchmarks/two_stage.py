"""Two-stage conditioning: properties choose a learnt representation, and the representation is what a model is told.

    python benchmarks/two_stage.py --steps 2500 --num 500

Two trainings that go on from one unconditional model, equal in everything but what they are told: the properties
themselves, or the principal components of what a predictor's network makes of a whole molecule (after GeoRCG, Li et al.
2024, arXiv 2410.03655, in small). The first stage of the second way is no network: of the training molecules with the
size that is asked for, one of the NEIGHBOURS nearest in the property lends its representation [ASSUMPTION].

Wishes are the value and the size of training molecules, the same for both. The predictor has learnt from the
generator's half of the labels, the judge from the other. Errors are over all molecules made, valid or not. Controls:
the error if wishes are shuffled within sizes, and representations of a random molecule of the size.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from choice import drawn, shuffled_error
from kept import kept
from numpy.typing import NDArray
from quality_figures import QUICK_PARTS, cells, heading, line, measured, titles
from trainings import trained

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint, vocabulary
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.config import Config, load_config
from ead_core.data.batching import TrainingBatches, size_buckets
from ead_core.data.dataset import resolve_data_path
from ead_core.data.formats import read_molecules
from ead_core.data.properties import unit_of
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.data.targets import Targets
from ead_core.errors import report_user_errors
from ead_core.evaluation.run import EvaluationPlan
from ead_core.judge.verdict import judged
from ead_core.networks.inputs import DenoiserInput
from ead_core.prediction.judge import Judge, load_judge, predict
from ead_core.sampling.conditions import TARGET
from ead_core.sampling.generation import fulfil
from ead_core.sampling.requests import Request, sampler_config
from ead_core.training.session import prepare

RECIPE = Path(__file__).parents[1] / "configs" / "qm9_cond.yaml"
ASKED = ("gap", "mu", "alpha")
COMPONENTS, NEIGHBOURS, BATCH = 16, 20, 256
NAMES = tuple(f"learnt_{number:02}" for number in range(COMPONENTS))
SAMPLER = {"policy": "synchronous", "solver": "dpmpp_2m_sde", "grid": "quadratic", "steps": 50, "property_guidance": 0}
ARMS: dict[str, dict[str, Any]] = {
    "told the property": {"properties": ASKED},
    "told a representation": {
        "properties": NAMES,
        "predictor": None,
        "half": "all",  # what was learnt holds no label of the other half
        "drop_each": 0,
        "drop_others": 0,
        "drop_measured": 0,
    },
}


@torch.inference_mode()
def pooled(judge: Judge, molecules: MoleculeSet) -> NDArray[np.float32]:
    """The mean over atoms of what the network's readout sees [M, H]."""
    types, seen = vocabulary(judge.config, judge.statistics), []
    network: Any = judge.predictor.network
    readout = network.readout
    hook = readout.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batches, found = TrainingBatches(molecules, types, BATCH, 0), np.zeros((len(molecules), readout.in_features), "f4")
    with progress_bar("representations", len(molecules)) as progress:
        for rows in size_buckets(molecules.num_atoms, lambda atoms: BATCH):
            batch = batches.gather(rows)
            levels = torch.zeros_like(batch.mask, dtype=torch.long)
            judge.predictor(DenoiserInput(batch.state(types), levels, batch.mask))
            real = batch.mask[..., None].float()
            found[rows] = ((seen.pop() * real).sum(dim=1) / real.sum(dim=1)).numpy()
            progress(len(rows))
    hook.remove()
    return found


def components(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The first principal components [M, COMPONENTS], each with variance one."""
    centred = vectors - vectors.mean(axis=0, dtype="f8")
    _, vectors_of = np.linalg.eigh(np.cov(centred, rowvar=False))
    first = centred @ vectors_of[:, ::-1][:, :COMPONENTS]
    scaled: NDArray[np.float64] = first / first.std(axis=0)
    return scaled


class Bank:
    """The molecules of the recipe with their representations as properties, from which the first stage draws.

    Args:
        recipe: of the conditional model; its predictor makes the representations.
        work: keeps the file.
    """

    def __init__(self, recipe: Config, work: Path) -> None:
        self.judge, self.file = load_judge(str(recipe.conditioning.predictor)), (work / "represented.npz").resolve()
        if not self.file.is_file():
            molecules = read_molecules(resolve_data_path(recipe.data.path)).molecules
            found = components(pooled(self.judge, molecules))
            columns = {name: found[:, column] for column, name in enumerate(NAMES)}
            work.mkdir(parents=True, exist_ok=True)
            save_npz(replace(molecules, properties={**molecules.properties, **columns}), self.file)

    @cached_property
    def train(self) -> MoleculeSet:
        """Of training alone."""
        return prepare(load_config(RECIPE).override({"data.path": str(self.file)})).train

    @cached_property
    def predicted(self) -> dict[str, NDArray[np.float64]]:
        """Properties [M] of the training molecules, by the predictor."""
        return predict(self.judge.predictor, self.judge.config, self.judge.statistics, self.train)

    def targets(self, asked: str, wishes: Targets, shuffled: bool) -> Targets:
        """Representations for wishes: of near molecules, or of any of the size."""
        learnt = np.stack([self.train.properties[name] for name in NAMES], axis=1)
        lenders = [*self._lenders(asked, wishes, shuffled)]
        rows = tuple(tuple((value, value) for value in learnt[lender].tolist()) for lender in lenders)
        return Targets(NAMES, rows, wishes.sizes)

    def _lenders(self, asked: str, wishes: Targets, shuffled: bool) -> Iterator[int]:
        draw, values = np.random.default_rng(0), self.predicted[asked]
        for value, size in zip(wishes.arrays[0][:, 0], wishes.sizes, strict=True):
            alike = np.flatnonzero(self.train.num_atoms == size)
            if not shuffled:
                alike = alike[np.argsort(np.abs(values[alike] - value), kind="stable")[:NEIGHBOURS]]
            yield int(draw.choice(alike))


def made(model: Checkpoint, wishes: Targets, asked: str, values: NDArray[np.float64], file: Path) -> MoleculeSet:
    """A molecule per wish, marked with the value that is wanted; from its file if there is one."""
    if not file.is_file():
        request = Request(len(values), sampler_config(model, SAMPLER), seed=0, targets=wishes)
        with progress_bar(file.stem, len(values)) as progress:
            molecules = fulfil(model, request, progress)
        save_npz(replace(molecules, properties={"nfe": molecules.properties["nfe"], f"{TARGET}{asked}": values}), file)
    return load_npz(file)


def figures(molecules: MoleculeSet, judge: Judge, train: Path) -> dict[str, Any]:
    """Error and quality of a row."""
    (verdict,) = judged(molecules, judge)
    plan = EvaluationPlan(QUICK_PARTS, sample=len(molecules), workers=1)
    return {
        "error": (verdict.error, *verdict.interval),
        "shuffled": shuffled_error(verdict.asked, verdict.achieved, molecules.num_atoms),
        "quality": measured(lambda: molecules, train, plan),
    }


def main(
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each training.")] = 2500,
    num: Annotated[int, typer.Option(min=2, help="Wishes per property.")] = 500,
    initial: Annotated[str, typer.Option(help="The unconditional model, bundled or a folder.")] = "qm9-small",
    judge: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-judge",
    work: Annotated[Path, typer.Option(help="Keeps trainings, molecules and figures.")] = Path("runs/two-stage"),
) -> None:
    """Train and measure what is missing, then print the table."""
    tune_cpu(1)
    recipe, judging = load_config(RECIPE), load_judge(judge)
    data = resolve_data_path(recipe.data.path)
    bank, network = Bank(recipe, work), load_checkpoint(initial).config.network.model_dump(exclude_unset=True)
    common = {
        "data.path": str(bank.file),
        **{f"network.{key}": value for key, value in network.items()},
        "training.initial": initial,
        "training.steps": steps,
        "training.warmup_steps": steps // 20,
        "training.evaluate_molecules": 0,
    }
    models = {}
    for name, conditioning in ARMS.items():
        config = recipe.override({**common, **{f"conditioning.{key}": value for key, value in conditioning.items()}})
        folder = work / f"{steps}-{name.replace(' ', '-')}"
        spent = trained(config, prepare(config), folder)
        typer.echo(f"{name}: trained in {spent:.0f} CPU s")
        models[name] = load_checkpoint(folder)
    typer.echo("\n" + heading(["asked for", "model", "error (95 %)", "shuffled", *titles()]))
    told, learnt = ARMS
    for asked in ASKED:
        wishes = drawn(models[told], asked, num, 0)
        rows = {
            told: (models[told], wishes),
            learnt: (models[learnt], bank.targets(asked, wishes, shuffled=False)),
            f"{learnt}, of any molecule": (models[learnt], bank.targets(asked, wishes, shuffled=True)),
        }
        for title, (model, targets) in rows.items():
            file = work / f"{steps}-{asked}-{title.replace(' ', '-').replace(',', '')}-{num}.npz"
            molecules = partial(made, model, targets, asked, wishes.arrays[0][:, 0], file)
            found = kept(file.with_suffix(".json"), lambda make=molecules: figures(make(), judging, data))
            error = "{:.4g} ({:.4g}–{:.4g})".format(*found["error"])
            what = f"{asked}, {unit_of(asked).symbol}"
            typer.echo(line([what, title, error, f"{found['shuffled']:.4g}", *cells(found["quality"])]))


if __name__ == "__main__":
    with report_user_errors("two_stage"):
        typer.run(main)
