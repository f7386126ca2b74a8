"""Generated molecules as JSON or text.

SMILES are those of the whole perceived molecules. A molecule whose bonds cannot be perceived has none and keeps its
place: `null` in JSON, an empty first column in SMILES text.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.elements import element_symbol
from ead_core.chemistry.identity import perceived_smiles
from ead_core.data.formats import encode_molecules
from ead_core.data.sdf_writer import sdf_records
from ead_core.data.store import MoleculeSet
from ead_core.prediction.predict import PREDICTED
from ead_core.sampling.conditions import TARGET
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.matches import DISTANCE, WISH
from ead_core.sampling.passport import Passport
from serve.answer_schema import Molecule, Molecules, Unmet

MEDIA_TYPES = {
    "sdf": "chemical/x-mdl-sdfile",
    "xyz": "chemical/x-xyz",
    "smiles": "chemical/x-daylight-smiles",
}


def diverged(molecules: MoleculeSet) -> NDArray[np.bool_]:
    """Which molecules [M] have a position that is no number, since the network has diverged."""
    return ~molecules.finite


def as_json(
    molecules: MoleculeSet,
    model: str,
    missing: Sequence[int] = (),
    ledger: Ledger | None = None,
    unmet: Mapping[int, str] | None = None,
    passport: Passport | None = None,
) -> Molecules:
    """Everything about the molecules; positions to 10⁻⁶ Å.

    Args:
        molecules: those that have not diverged.
        model: its name.
        missing: the ids of those that have.
        ledger: what became of all attempts, if somebody counted.
        unmet: the wishes without a molecule, from 1, with the reason; None if there are no wishes.
        passport: how they were made.
    """
    properties = molecules.properties
    ids, nfe = properties["id"].tolist(), properties["nfe"].tolist()
    warnings = properties.get("warning", [""] * len(molecules))
    nobodys = [None] * len(molecules)
    wishes, distances = (properties.get(name, np.array(nobodys)).tolist() for name in (WISH, DISTANCE))
    made = []
    for index, record in enumerate(sdf_records(molecules)):
        charges, positions = molecules.molecule(index)
        made.append(
            Molecule(
                id=ids[index],
                smiles=record.identity.smiles or None,
                elements=[element_symbol(number) for number in charges],
                positions=positions.astype(np.float64).round(6).tolist(),
                sdf=record.text,
                nfe=nfe[index],
                targets=_values(properties, TARGET, index),
                predicted=_values(properties, PREDICTED, index),
                warning=str(warnings[index]) or None,
                wish=wishes[index],
                distance=distances[index],
            )
        )
    without = None if unmet is None else [Unmet(wish=wish, reason=reason) for wish, reason in unmet.items()]
    own = passport and passport.to_json()
    return Molecules(molecules=made, model=model, diverged=list(missing), ledger=ledger, unmet=without, passport=own)


def as_text(
    molecules: MoleculeSet, kind: Literal["sdf", "xyz", "smiles"], about: Mapping[str, str] | None = None
) -> bytes:
    """An SDF, an XYZ file (both say in their first record what they are `about`), or lines `SMILES<TAB>id`."""
    if kind != "smiles":
        return encode_molecules(molecules, f".{kind}", about)
    rows = zip(perceived_smiles(molecules), molecules.properties["id"].tolist(), strict=True)
    return "".join(f"{smiles}\t{number}\n" for smiles, number in rows).encode()


def _values(properties: Mapping[str, NDArray[Any]], prefix: str, index: int) -> dict[str, float | None]:
    """What a molecule has of the properties that begin so, by what follows."""
    return {
        name.removeprefix(prefix): _finite(column[index])
        for name, column in properties.items()
        if name.startswith(prefix)
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
