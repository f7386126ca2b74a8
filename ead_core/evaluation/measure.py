"""Everything that is measured on molecules one by one: a row of the table each, and their tally.

This runs in other processes, a chunk of molecules at a time (contained.py).
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rdkit import Chem

from ead_core.chemistry.elements import element_symbol, hill_formula
from ead_core.chemistry.identity import smiles_of
from ead_core.chemistry.perception import PerceptionError, perceive
from ead_core.chemistry.valency import in_ions, unusual_atoms, valencies
from ead_core.data.columns import fit_cell
from ead_core.data.electrons import even_electrons, net_charges
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.chunk import PUBLISHED, STRICT, Chunk, Measured, Measures, Row
from ead_core.evaluation.isolated_workers import time_limit
from ead_core.evaluation.part import Cost
from ead_core.evaluation.parts import PARTS
from ead_core.evaluation.smiles import Assessed, assess
from ead_core.evaluation.tally import Tally

CARRIED: dict[str, type[int] | type[float] | type[str]] = {  # properties that the table keeps, as far as they fit
    **dict.fromkeys(("id", "seed", "index", "best_of"), int),
    **dict.fromkeys(("nfe", "seconds"), float),
    **dict.fromkeys(("hardware", "molecule", "name"), str),
}


def measure_chunk(chunk: Chunk, measures: Measures) -> Measured:
    """Everything; rows in the order of the chunk."""
    found = measure_published(chunk, measures)
    _add_stages(found, chunk, measures, measures.stages)
    return found


def stages_of(measures: Measures) -> dict[str, Callable[[Chunk], Measured]]:
    """The work of `measure_chunk` in pieces, whose rows and tallies add up to those of `measure_chunk`."""
    pieces: dict[str, Callable[[Chunk], Measured]] = {
        PUBLISHED: functools.partial(measure_published, measures=measures)
    }
    return pieces | {
        stage: functools.partial(measure_stage, measures=measures, stage=stage) for stage in measures.stages
    }


def measure_published(chunk: Chunk, measures: Measures) -> Measured:
    """What the file says of the molecules, and what needs no perceived bonds."""
    with time_limit(measures.seconds + len(chunk)):
        assessed = assess(chunk.molecules, workers=1)
    return published_rows(chunk, assessed)


def published_rows(chunk: Chunk, assessed: Assessed) -> Measured:
    """Rows and tally of molecules whose stable atoms and SMILES are known."""
    molecules, (stable_atoms, smiles) = chunk.molecules, assessed
    stated, even = net_charges(molecules), even_electrons(molecules)
    found = Measured([])
    for index, (size, stable, text) in enumerate(zip(molecules.num_atoms, stable_atoms, smiles, strict=True)):
        symbols = Counter(element_symbol(int(number)) for number in molecules.molecule(index)[0])
        found.tally.add(Tally(1, 0, Counter([int(size)]), symbols))
        row: Row = {
            "number": chunk.first + index,
            "sampled": bool(chunk.sampled[index]),
            **carried(molecules, index),
            "atoms": int(size),
            "formula": hill_formula(symbols),
            "net_charge": int(stated[index]),
            "even_electrons": bool(even[index]),
            "stable_atoms": int(stable),
            "stable": bool(stable == size),
            "valid": text is not None,
            "published_smiles": text,
        }
        found.rows.append(row)
    return found


def measure_stage(chunk: Chunk, measures: Measures, stage: str) -> Measured:
    """One of `Measures.stages` by itself."""
    found = Measured([{} for _ in range(len(chunk))])
    _add_stages(found, chunk, measures, (stage,))
    return found


def _add_stages(found: Measured, chunk: Chunk, measures: Measures, stages: Sequence[str]) -> None:
    if not stages:
        return
    for index, row in enumerate(found.rows):
        with time_limit(measures.seconds):
            try:
                mol = perceive(*chunk.molecules.molecule(index), chunk.molecules[index].total_charge)
            except PerceptionError as error:
                row.update({"perceived": False, "reason": str(error), "strict_valid": False})
                continue
            for stage in stages:
                row.update(_measured(stage, mol, measures, found.tally, sampled=bool(chunk.sampled[index])))


def _measured(stage: str, mol: Chem.Mol, measures: Measures, tally: Tally, *, sampled: bool) -> Mapping[str, Any]:
    """What a stage finds of one molecule."""
    if stage == STRICT:
        return _strict(mol, measures, tally)
    part = PARTS[stage]
    return part.measure(mol, tally) if part.measure and (sampled or part.cost is not Cost.SAMPLED) else {}


def _strict(mol: Chem.Mol, measures: Measures, tally: Tally) -> Row:
    kinds = valencies(mol)
    tally.add(Tally(perceived=1, valencies=Counter(kinds)))
    pieces, radicals = len(Chem.GetMolFrags(mol)), sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    usual = in_ions(measures.valencies) if Chem.GetFormalCharge(mol) else measures.valencies
    unusual = unusual_atoms(kinds, usual)
    return {
        "perceived": True,
        "pieces": pieces,
        "radicals": radicals,
        "charged_atoms": sum(atom.GetFormalCharge() != 0 for atom in mol.GetAtoms()),
        "unusual_atoms": unusual,
        "strict_valid": pieces == 1 and not radicals and not unusual,
        "inchikey": Chem.MolToInchiKey(mol),
        "smiles": smiles_of(mol),
    }


def carried(molecules: MoleculeSet, index: int) -> Mapping[str, Any]:
    """What the table keeps of the properties of a molecule."""
    properties = molecules.properties
    return {name: fit_cell(properties[name][index], kind) for name, kind in CARRIED.items() if name in properties}
