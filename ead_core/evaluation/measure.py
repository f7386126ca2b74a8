"""Everything that is measured on molecules one by one: a row of the table each, and their tally.

This runs in other processes, a chunk of molecules at a time (contained.py).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.data.store import MoleculeSet
from ead_core.elements import element_symbol
from ead_core.evaluation.chunk import Chunk, Measured, Measures, Row
from ead_core.evaluation.contained import time_limit
from ead_core.evaluation.druglike import druglike
from ead_core.evaluation.perception import PerceptionError, perceive
from ead_core.evaluation.plausibility import FAST, FULL, failed_checks
from ead_core.evaluation.shapes import shapes_of
from ead_core.evaluation.strain import relax
from ead_core.evaluation.tally import Tally
from ead_core.evaluation.valency import Valency, unusual_atoms, valencies
from ead_core.metrics.chemistry import assess

CARRIED = ("id", "seed", "nfe", "seconds", "molecule", "index", "name")  # properties that the table takes over


def measure_chunk(chunk: Chunk, measures: Measures) -> Measured:
    """Rows in the order of the chunk."""
    molecules = chunk.molecules
    if not len(molecules):
        return Measured([])
    with time_limit(measures.seconds + len(molecules)):
        stable_atoms, smiles = assess(molecules, workers=1)
    found = Measured([])
    for index in range(len(molecules)):
        row: Row = {
            "number": chunk.first + index,
            "sampled": bool(chunk.sampled[index]),
            **_carried(molecules, index),
            "stable_atoms": int(stable_atoms[index]),
            "stable": bool(stable_atoms[index] == molecules.num_atoms[index]),
            "valid": smiles[index] is not None,
            "smiles": smiles[index],
        }
        with time_limit(measures.seconds):
            row |= _measure(*molecules.molecule(index), net_charge(molecules, index), row["sampled"], measures, found)
        found.rows.append(row)
    return found


def _measure(
    charges: NDArray[Any],
    positions: NDArray[Any],
    net_charge: int,
    sampled: bool,
    measures: Measures,
    found: Measured,
) -> Row:
    """Columns of one molecule that rest on its perceived bonds; it is added to the tally."""
    symbols = Counter(element_symbol(int(number)) for number in charges)
    found.tally.add(Tally(1, 0, Counter([len(charges)]), symbols))
    row: Row = {"atoms": len(charges), "formula": _formula(symbols)}
    try:
        mol = perceive(charges, positions, net_charge)
    except PerceptionError as error:
        return row | {"perceived": False, "reason": str(error), "strict_valid": False}
    kinds = valencies(mol)
    found.tally.add(Tally(perceived=1, valencies=Counter(kinds)))
    return row | _strict(mol, measures, kinds) | _parts(mol, measures.parts, sampled, found.tally)


def _strict(mol: Chem.Mol, measures: Measures, kinds: list[tuple[str, Valency]]) -> Row:
    pieces, radicals = len(Chem.GetMolFrags(mol)), sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    unusual = None if measures.valencies is None else unusual_atoms(kinds, measures.valencies)
    return {
        "perceived": True,
        "pieces": pieces,
        "radicals": radicals,
        "charged_atoms": sum(atom.GetFormalCharge() != 0 for atom in mol.GetAtoms()),
        "unusual_atoms": unusual,
        "strict_valid": pieces == 1 and not radicals and not unusual,
        "inchikey": Chem.MolToInchiKey(mol),
        "strict_smiles": Chem.MolToSmiles(Chem.RemoveHs(mol)),
    }


def _parts(mol: Chem.Mol, parts: frozenset[str], sampled: bool, tally: Tally) -> Row:
    row: Row = {}
    if "geometry" in parts:
        tally.add(Tally(shapes=shapes_of(mol)))
    if "chemistry" in parts:
        row |= druglike(Chem.RemoveHs(mol))
    if sampled:
        row |= _dear_parts(mol, parts)
    return row


def _dear_parts(mol: Chem.Mol, parts: frozenset[str]) -> Row:
    row: Row = {}
    for part, config in (("posebusters", FAST), ("posebusters_full", FULL)):
        if part in parts:
            row |= {part: not (failed := failed_checks(mol, config)), f"{part}_failed": ", ".join(failed)}
    if "strain" in parts and (relaxed := relax(mol)):
        row |= {"strain": relaxed.strain, "strain_rmsd": relaxed.rmsd, "strain_method": relaxed.method}
    if "gfn2" in parts:
        from ead_core.evaluation.gfn2 import relax_gfn2

        if quantum := relax_gfn2(mol):
            row |= {"gfn2_gain": quantum.strain, "gfn2_rmsd": quantum.rmsd}
    return row


def _carried(molecules: MoleculeSet, index: int) -> Mapping[str, Any]:
    return {name: molecules.properties[name][index].item() for name in CARRIED if name in molecules.properties}


def net_charge(molecules: MoleculeSet, index: int) -> int:
    """What the file says, else 0."""
    values = molecules.properties.get("formal_charge")
    return 0 if values is None or not np.isfinite(values[index]) else int(values[index])


def _formula(counts: Mapping[str, int]) -> str:
    """In Hill's order: C and H first where there is carbon, the rest by the alphabet."""
    first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
    order = first + sorted(set(counts) - set(first))
    return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in order)
