"""How much energy a molecule loses when a force field relaxes it: MMFF94, or UFF where MMFF94 lacks parameters."""

from dataclasses import dataclass
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem import rdForceFieldHelpers, rdMolAlign

from ead_core.evaluation.figure import Section, medians
from ead_core.evaluation.part import Cost, Evidence, Part
from ead_core.evaluation.tally import Tally

MOST_STEPS = 5000  # of the minimiser


@dataclass(frozen=True)
class Relaxed:
    """A molecule relaxed to a local minimum.

    Attributes:
        mol: with the relaxed conformer.
        method: "MMFF94" or "UFF".
        strain: energy before minus energy after, kcal/mol.
        rmsd: of the heavy atoms (of all, without heavy ones) after superposition, Å.
        converged: whether the minimiser finished within `MOST_STEPS`.
    """

    mol: Chem.Mol
    method: str
    strain: float
    rmsd: float
    converged: bool


def relax(mol: Chem.Mol) -> Relaxed | None:
    """Minimise a sanitised molecule with all hydrogens; None if no force field knows its atoms."""
    moved = Chem.Mol(mol)
    with rdBase.BlockLogs():
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(moved):
            properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(moved)
            method, field = "MMFF94", rdForceFieldHelpers.MMFFGetMoleculeForceField(moved, properties)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(moved):
            method, field = "UFF", rdForceFieldHelpers.UFFGetMoleculeForceField(moved)
        else:
            return None
        before = field.CalcEnergy()
        unfinished = field.Minimize(maxIts=MOST_STEPS)
    return Relaxed(moved, method, before - field.CalcEnergy(), displacement(mol, moved), not unfinished)


def displacement(mol: Chem.Mol, moved: Chem.Mol) -> float:
    """RMSD in Å of the same atoms in two conformers, after superposition of the heavy ones, neither being changed."""
    atoms = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1] or range(mol.GetNumAtoms())
    return float(rdMolAlign.AlignMol(Chem.Mol(moved), mol, atomMap=[(atom, atom) for atom in atoms]))


_TITLES = {
    "strain": ("force-field strain, median", "kcal/mol"),
    "strain_rmsd": ("… moves heavy atoms by, median", "Å"),
}


def _rows(evidence: Evidence) -> Section:
    return medians(evidence.columns, _TITLES, int(evidence.columns.sampled.sum()))


def _measure(mol: Chem.Mol, tally: Tally) -> dict[str, Any]:
    relaxed = relax(mol)
    if relaxed is None:
        return {}
    return {"strain": relaxed.strain, "strain_rmsd": relaxed.rmsd, "strain_method": relaxed.method}


STRAIN = Part(
    name="strain",
    section="plausibility",
    cost=Cost.SAMPLED,
    summarise=_rows,
    columns={"strain": float, "strain_rmsd": float, "strain_method": str},
    measure=_measure,
    default=True,
)
