"""Making a model of molecules like those of a user out of a bundled one (`ead adapt`).

The molecules are learnt together with companions (companions.py), half of each, from the weights of the base model. How
long follows from their number and their elements alone (`recipe_for`).
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.chemistry.elements import element_symbol
from ead_core.common.documents import read_json
from ead_core.common.files import write_aside
from ead_core.config import Config
from ead_core.config.presets import PRESETS
from ead_core.data.dataset import compute_statistics, file_sha256, split_indices
from ead_core.data.losses import Losses
from ead_core.data.own_molecules import read_own
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.errors import CheckpointError, ConfigError, DataError
from ead_core.notes import note
from ead_core.training.best import load_best
from ead_core.training.companions import companions_of
from ead_core.training.progress import PROGRESS, progress_of
from ead_core.training.session import Session

BASE = "qm9-deep"
SET, MODEL = "set", "model"  # folders of an adaptation: what is learnt from, and the checkpoint
MINE, COMPANIONS, ORDER = "mine.npz", "companions.npz", "order.json"

LEAST_HELD_OUT = 50  # molecules of which a tenth is held out for early stopping
BATCH = 32
STEPS_PER_MOLECULE, FEWEST, MOST = 12, 600, 12_000  # half of a batch is theirs: each is seen some 200 times
NEW_ELEMENTS = 2000  # further steps where there are elements that the base model does not know
CHECKS, PATIENCE = 20, 5  # of the held-out loss, and how many without a better one end the training
COMPANIONS_EACH, MOST_COMPANIONS = 4, 2000
Counter = Callable[[int], None]


@dataclass(frozen=True)
class Order:
    """What an adaptation is asked for.

    Attributes:
        source: the molecules.
        base: name or place of the model that is adapted.
        companions: how many; None takes `COMPANIONS_EACH` for each molecule.
        seed: of embedding, held-out part and training.
    """

    source: Path
    base: str
    companions: int | None = None
    seed: int = 0

    def document(self) -> dict[str, Any]:
        """By which a folder recognises the order that it was made for."""
        return {**vars(self), "source": self.source.name, "sha256": file_sha256(self.source)}


@dataclass(frozen=True)
class Material:
    """Molecules in 3D: the user's, and their companions."""

    mine: MoleculeSet
    companions: MoleculeSet

    @property
    def described(self) -> str:
        """Their numbers and elements, in words."""
        elements = ", ".join(map(element_symbol, np.unique(self.mine.charges)))
        return f"{len(self.mine):,} molecules of {elements}, {len(self.companions):,} companions"

    def session(self, order: Order) -> Session:
        """What a training takes: sizes, elements and moments of the user's molecules alone, but all elements.

        Conformers of one molecule stay on one side of the held-out part.
        """
        bare = MoleculeSet(self.mine.num_atoms, self.mine.charges, self.mine.positions)
        held_out = np.zeros(0, np.int64)
        if len(self.mine) >= LEAST_HELD_OUT:
            held_out = split_indices(self.mine, "seeded", order.seed).valid
        learnt = bare.select(np.setdiff1d(np.arange(len(bare)), held_out))
        statistics = compute_statistics(bare, name=order.source.name, sha256=file_sha256(order.source))
        train = _evened(learnt, self.companions)
        return Session(train, bare.select(held_out), bare.select([]), statistics)


def _evened(mine: MoleculeSet, companions: MoleculeSet) -> MoleculeSet:
    """Both, the fewer repeated so that about half is of each."""
    if not len(companions):
        return mine
    few, many = sorted((mine, companions), key=len)
    return MoleculeSet.concatenate([few] * round(len(many) / len(few)) + [many])


def recipe_for(
    base: Checkpoint, order: Order, count: int, elements: Collection[int], changes: Mapping[str, Any]
) -> Config:
    """The recipe of the base model, changed for a set of so many molecules of some elements.

    | | |
    |---|---|
    | `training.steps` | 12 for each molecule, at least 600, 2,000 more with new elements, at most 12,000 |
    | `training.learning_rate`, `muon_learning_rate` | 0.001 and 0.006, falling to 0 over the last four fifths |
    | `training.ema_decay` | averages over the last tenth of the steps |
    | `training.patience` | from 50 molecules on: 5 of the 20 checks of the held-out loss |

    Args:
        base: what is adapted.
        order: what is asked for.
        count: molecules of the user.
        elements: of theirs.
        changes: settings by dotted key, which win; what follows from the number of steps, follows from theirs.

    Raises:
        ConfigError: the base model is conditional, or has learnt few calls by distillation; a change that is none.
    """
    _check_base(base)
    new = set(elements) - set(base.atom_types.numbers)
    planned = min(max(STEPS_PER_MOLECULE * count, FEWEST) + NEW_ELEMENTS * bool(new), MOST)
    steps = base.config.override({"training.steps": planned, **changes}).training.steps
    chosen = {
        "data.path": f"{SET}/{MINE}",
        "training.initial": order.base,
        "training.seed": order.seed,
        "training.steps": steps,
        "training.max_seconds": None,
        "training.batch_size": BATCH,
        "training.learning_rate": 1e-3,
        "training.muon_learning_rate": 6e-3,
        "training.warmup_steps": steps // CHECKS,
        "training.decay_fraction": 0.8,
        "training.ema_decay": max(1 - 10 / steps, 0),
        "training.checkpoint_seconds": 60,
        "training.evaluate_every": max(steps // CHECKS, 1),
        "training.evaluate_molecules": 0,
        "training.patience": PATIENCE if count >= LEAST_HELD_OUT else None,
        "training.threads": None,
        "training.other_data": False,
    }
    config = base.config.override({**chosen, **changes})
    config.refuse_idle(changes)
    return config


def _check_base(base: Checkpoint) -> None:
    objective, properties = base.config.training.objective, base.config.conditioning.properties
    if properties:
        raise ConfigError(f"{base.name} is asked for {properties[0]}, which other molecules may lack; adapt {BASE}.")
    if objective == "distil":
        raise ConfigError(f"{base.name} is distilled for few calls, which would not survive; adapt {BASE}.")


def gather(order: Order, directory: Path, workers: int, progress: Counter) -> MoleculeSet:
    """The user's molecules in 3D, kept in the folder `SET` of `directory`, where an earlier call may have put them.

    Args:
        order: what is asked for.
        directory: of the adaptation.
        workers: processes for embedding.
        progress: receives the number of molecules so far.

    Raises:
        CheckpointError: the folder was made for another order.
        DataError: the molecules cannot be read, or none is left.
    """
    if not order.source.exists():
        raise DataError(f"data file {order.source} does not exist.")
    folder = directory / SET
    _check_same(order, folder)
    if not (folder / MINE).is_file():
        report = read_own(order.source, order.seed, workers, progress)
        _tell(report.molecules, Losses([report]))
        save_npz(report.molecules, folder / MINE)
        _keep(order, folder)
    return load_npz(folder / MINE)


def beside_companions(order: Order, mine: MoleculeSet, directory: Path, workers: int, progress: Counter) -> Material:
    """The user's molecules with their companions, which are kept beside them; arguments as of `gather`."""
    path = directory / SET / COMPANIONS
    if not path.is_file():
        wanted = min(COMPANIONS_EACH * len(mine), MOST_COMPANIONS) if order.companions is None else order.companions
        save_npz(companions_of(mine, wanted, order.seed, workers, progress), path)
    return Material(mine, load_npz(path))


def _tell(molecules: MoleculeSet, losses: Losses) -> None:
    """Say in one sentence how many molecules are left out, and why."""
    if losses.skipped:
        reasons = "; ".join(losses.kinds())
        note(f"{losses.skipped:,} of {losses.records:,} molecules are left out, {len(molecules):,} stay: {reasons}")


def _keep(order: Order, folder: Path) -> None:
    with write_aside(folder / ORDER) as aside:
        aside.write_text(json.dumps(order.document(), indent=1) + "\n")


def _check_same(order: Order, folder: Path) -> None:
    if not (folder / ORDER).is_file():
        (folder / MINE).unlink(missing_ok=True)  # of a call that ended in between
        return
    before, now = read_json(folder / ORDER), order.document()
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        old, new = before.get(changed[0]), now[changed[0]]
        raise CheckpointError(
            f"{folder.parent} holds an adaptation with another {changed[0]} ({old}, not {new}); choose another folder."
        )


def keep_presets(base: Path, model: Path) -> None:
    """Give the adapted model the presets of its base, if that has some of its own."""
    if (base / PRESETS).is_file() and not (model / PRESETS).exists():
        with write_aside(model / PRESETS) as aside:
            aside.write_bytes((base / PRESETS).read_bytes())


def finished(model: Path, config: Config) -> bool:
    """Whether a training has come to its end: its last step, its time limit, or that of its patience."""
    if not (model / PROGRESS).is_file():
        return False
    training, now = config.training, progress_of(model)
    out_of_time = training.max_seconds is not None and now.seconds >= training.max_seconds
    return now.step >= training.steps or out_of_time or load_best(model, training, now.step).waited(training, now.step)
