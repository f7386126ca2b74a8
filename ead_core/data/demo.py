"""Real molecules without any download: 3D structures of the NCI compounds whose SMILES come with RDKit.

The first 5,000 compounds of the NCI list are filtered (neutral, in one piece, only H, C, N, O and F, not larger than
`max_atoms`, no repetition; other elements where they are asked for) and built in 3D by `structures`.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from rdkit import Chem, RDConfig, rdBase

from ead_core.data.records import ReadReport
from ead_core.data.structures import Candidate, build
from ead_core.errors import DataError

ELEMENTS = frozenset({1, 6, 7, 8, 9})
MAX_ATOMS = 29  # with hydrogens, as in QM9


def build_demo(
    out_count: int | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    max_atoms: int = MAX_ATOMS,
) -> ReadReport:
    """Build 3D structures of the NCI compounds that qualify, in the order of the list; see `build`.

    The result depends on `seed`, `out_count` and `max_atoms`, not on `workers`.

    Args:
        out_count: stop after so many molecules; None builds all.
        seed, workers, progress: as of `build`.
        max_atoms: largest molecule, with hydrogens.

    Raises:
        DataError: RDKit comes without the list, or nothing could be built.
    """
    report = build(demo_candidates(max_atoms), out_count, seed, workers, progress)
    if not len(report.molecules):
        raise DataError(f"no NCI compound of at most {max_atoms} atoms could be built.")
    return report


def demo_candidates(max_atoms: int = MAX_ATOMS, elements: Collection[int] = ELEMENTS) -> list[Candidate]:
    """The compounds of the NCI list that qualify, each once; DataError if RDKit comes without the list."""
    path = Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"
    if not path.is_file():
        raise DataError(f"this RDKit comes without the NCI list ({path}); install the wheel from PyPI.")
    found: dict[str, int] = {}
    with rdBase.BlockLogs():  # a few of the compounds are not valid
        for line in path.read_text().splitlines():
            smiles, index = line.split()[:2]
            mol = Chem.MolFromSmiles(smiles)
            if mol is not None and _qualifies(mol, max_atoms, frozenset(elements)):
                found.setdefault(Chem.MolToSmiles(mol), int(index))
    return [Candidate(index, smiles) for smiles, index in found.items()]


def _qualifies(mol: Chem.Mol, max_atoms: int, elements: frozenset[int]) -> bool:
    hydrogens = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    return (
        len(Chem.GetMolFrags(mol)) == 1
        and Chem.GetFormalCharge(mol) == 0
        and elements.issuperset(atom.GetAtomicNum() for atom in mol.GetAtoms())
        and mol.GetNumAtoms() + hydrogens <= max_atoms
    )
