"""Making one molecule of a file again, alone, and comparing.

Choices need not be repeated: a candidate, or an attempt that was accepted or matched, is made by its own id. What was
done to the molecule itself is repeated: its branches, of which the best is kept, and the repair that mended it.
"""

from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from ead_core.checkpoints.checkpoint import Checkpoint, bundled, load_checkpoint
from ead_core.chemistry.molecule import Molecule
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.errors import CheckpointError, ConfigError, DataError
from ead_core.prediction.judge import Judge
from ead_core.sampling.account import REPAIRED
from ead_core.sampling.choice import SELECTED_BY
from ead_core.sampling.conditions import TARGET
from ead_core.sampling.generation import fulfil
from ead_core.sampling.matches import MADE_FOR
from ead_core.sampling.passport import Passport
from ead_core.sampling.passport_files import Stored
from ead_core.sampling.repairs import Repair
from ead_core.sampling.requests import Request, prepare
from ead_core.sampling.streams import Streams

TOLERANCE = 1e-4  # Å in a coordinate; SDF rounds to half of it
SWAY = 100  # how many times what double precision changes other rounding may change, where that is more than TOLERANCE
ANOTHER = 1.0  # Å in a coordinate; farther off, or with other elements, it is another molecule


class Comparison(NamedTuple):
    """Whether a molecule is the same again, how far off it is in words, and what was made."""

    same: bool
    told: str
    made: Molecule


def model_of(passport: Passport, given: str | None = None) -> Checkpoint:
    """The model that a passport names, on its device if there is one: a bundled checkpoint, or the one `given`.

    Raises:
        CheckpointError: it cannot be loaded, is not bundled, or is another model.
    """
    if given is None and passport.model not in bundled():
        raise CheckpointError(f"{passport.model}, which made the molecules, is not bundled; name it with --checkpoint.")
    checkpoint = load_checkpoint(given or passport.model)
    own = checkpoint.fingerprint()
    if own != passport.fingerprint:
        raise CheckpointError(
            f"{checkpoint.name} has the fingerprint {own}, but the molecules were made by {passport.model} with "
            f"{passport.fingerprint}; name that checkpoint with --checkpoint."
        )
    if passport.device == "cuda" and torch.cuda.is_available():
        checkpoint.denoiser.to("cuda")
    return checkpoint


def reproduce(checkpoint: Checkpoint, stored: Stored, selector: Judge | None = None) -> Comparison:
    """Make a molecule again as its row and passport say, and hold it against the file.

    Args:
        checkpoint: from `model_of`.
        stored: from `stored_molecule`.
        selector: who chose among its branches, or predicted what it was pulled to; None takes the bundled one.

    Raises:
        ConfigError: it cannot be made so, or by another selector.
        DataError: the file does not say enough, or rounding alone decides what the molecule becomes.
    """
    made = _make(checkpoint, stored, selector)
    off = _difference(stored.molecule, made)
    if off <= TOLERANCE:
        return Comparison(True, f"no coordinate is more than {off:.1e} Å off", made)
    told, rounding = _told(off), _difference(made, _make(checkpoint, stored, selector, in_double=True))
    if rounding > TOLERANCE and min(off, ANOTHER) <= SWAY * rounding:
        raise DataError(
            f"nobody can tell whether the molecule is the same: again {told}, but other rounding alone has such effects"
            f" (in double precision {_told(rounding)}), and rounding depends on which molecules share a network call."
        )
    return Comparison(False, told, made)


def _make(checkpoint: Checkpoint, stored: Stored, selector: Judge | None, *, in_double: bool = False) -> Molecule:
    molecule, passport = stored
    known = molecule.known
    sizes = None if checkpoint.atom_types.has_dummies else (len(molecule),)
    fragment = passport.fragment.fragment() if passport.fragment else None
    request = Request(
        1, passport.sampler, passport.seed, int(known["id"]), sizes, _asked(stored), fragment, selector=selector
    )
    prepared = prepare(checkpoint, request)
    _check_selector(prepared.request, known.get(SELECTED_BY))
    if in_double:
        checkpoint = replace(checkpoint, denoiser=deepcopy(checkpoint.denoiser).double())
        prepared = prepare(checkpoint, _in_double(prepared.request))
    made, attempt = fulfil(checkpoint, prepared), int(known.get(REPAIRED, 0))
    return (_repaired(checkpoint, prepared.request, made, attempt) if attempt else made)[0]


def _check_selector(request: Request, fingerprint: object) -> None:
    """Refuse another selector than the one by which a molecule was made (ConfigError)."""
    found = request.selector
    if found and fingerprint and request.sampler.predicts and found.fingerprint != fingerprint:
        raise ConfigError(
            f"the selector {found.name} has the fingerprint {found.fingerprint}, but the molecule was made with "
            f"{fingerprint}; name that one with --selector."
        )


def _in_double(request: Request) -> Request:
    """A request whose selector computes in float64, too."""
    own = request.selector
    doubled = own and replace(own, predictor=deepcopy(own.predictor).double())
    return replace(request, selector=doubled, sampler=request.sampler.model_copy(update={"precision": "fp32"}))


def _difference(one: Molecule, other: Molecule) -> float:
    """The largest difference of a coordinate, in Å; infinite where elements, their order included, are others."""
    if not np.array_equal(one.charges, other.charges):
        return np.inf
    return float(np.abs(one.positions.astype(np.float64) - other.positions).max())


def _told(off: float) -> str:
    return f"a coordinate is {off:.1e} Å off" if np.isfinite(off) else "it has other elements"


def _asked(stored: Stored) -> Targets | None:
    """What the molecule was asked for, drawn values instead of ranges.

    Raises:
        DataError: it was matched, and nobody wrote down what for it was made.
    """
    molecule, passport = stored
    prefix = MADE_FOR if passport.matched else TARGET
    values = {
        name.removeprefix(prefix): [value] for name, value in molecule.properties.items() if name.startswith(prefix)
    }
    if passport.matched and not values:
        raise DataError(
            "the molecule was matched with a wish, and the file does not say for which it was made, as shards of "
            "earlier versions do not."
        )
    return Targets.of_columns(values) if values else None


def _repaired(checkpoint: Checkpoint, request: Request, refused: MoleculeSet, attempt: int) -> MoleculeSet:
    """A molecule after the repair that mended it, which begins with it as it was first refused."""
    with Streams(checkpoint, request.sampler) as streams:
        number, done = streams.submit(Repair(request, refused, attempt)), dict[int, MoleculeSet]()
        while number not in done:
            done |= streams.step()
    return done[number]
