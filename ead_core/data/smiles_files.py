"""Lists of SMILES as users have them: `.smi` files, and tables with a column of SMILES.

What cannot be a molecule of these models (no SMILES, several pieces, a charge, an unpaired electron, a repetition) is
left out with a reason, as records of any file are.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rdkit import Chem, rdBase

from ead_core.common.limits import DOCUMENT
from ead_core.data.records import Skipped
from ead_core.data.structures import Candidate
from ead_core.data.texts import at_most, open_text, packing_of
from ead_core.errors import DataError, one_line

LISTS, TABLES = (".smi", ".smiles"), {".csv": ",", ".tsv": "\t"}
COLUMN = "smiles"
Row = tuple[int, str]  # the number of a line, and its SMILES


def is_smiles_file(path: Path) -> bool:
    """Whether a file is a list of SMILES by its name, packed or not."""
    return _ending(path) in (*LISTS, *TABLES)


def read_smiles(path: Path) -> tuple[list[Candidate], list[Skipped]]:
    """The molecules of a list, each once, under the numbers of their lines; and the lines that are left out.

    Args:
        path: `.smi` or `.smiles` with a SMILES at the beginning of each line; or `.csv` or `.tsv` with a column
            `smiles`, or with a single column.

    Raises:
        DataError: the file cannot be read, or has no such column.
    """
    if not path.exists():
        raise DataError(f"data file {path} does not exist.")
    ending = _ending(path)
    with open_text(path) as lines:
        text = at_most(DOCUMENT, lines, str(path))
        rows = list(_of_table(text, TABLES[ending], path) if ending in TABLES else _of_list(text))
    return _checked(rows)


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(packing_of(path.name))).suffix


def _of_list(lines: Iterable[str]) -> Iterator[Row]:
    """The first word of every line but a heading."""
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words and not (number == 1 and words[0].lower() == COLUMN):
            yield number, words[0]


def _of_table(lines: Iterable[str], separator: str, path: Path) -> Iterator[Row]:
    cells = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        header = next(cells, [])
        place = _column(header, path)
        if header[place].strip().lower() != COLUMN:  # a single column without a heading
            yield 1, header[place].strip()
        for row in cells:
            if place < len(row) and row[place].strip():
                yield cells.line_num, row[place].strip()
    except csv.Error as error:
        raise DataError(f"table {path} cannot be read ({one_line(error)}).") from error


def _column(header: Sequence[str], path: Path) -> int:
    names = [name.strip().lower() for name in header]
    if COLUMN in names:
        return names.index(COLUMN)
    if len(names) == 1:
        return 0
    shown = ", ".join(repr(name.strip()) for name in header[:10]) or "no column at all"
    raise DataError(f"{path} needs a column 'smiles' and has {shown}.")


def _checked(rows: Sequence[Row]) -> tuple[list[Candidate], list[Skipped]]:
    found: dict[str, Candidate] = {}
    skipped = []
    with rdBase.BlockLogs():
        for number, text in rows:
            smiles, fault = _canonical(text)
            if not fault and smiles in found:
                fault = f"repeats the molecule of line {found[smiles].number}"
            if fault:
                skipped.append(Skipped(f"line {number}", f"'{text}' {fault}."))
            else:
                found[smiles] = Candidate(number, smiles, "line")
    return list(found.values()), skipped


def _canonical(text: str) -> tuple[str, str]:
    """The canonical SMILES, or what is wrong with it."""
    mol = Chem.MolFromSmiles(text)
    if mol is None or not mol.GetNumAtoms():
        return "", "is no SMILES that RDKit reads"
    if len(Chem.GetMolFrags(mol)) > 1:
        return "", "consists of several pieces"
    if Chem.GetFormalCharge(mol):
        return "", "has a charge, and these models make neutral molecules"
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return "", "has an unpaired electron"
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
    return Chem.MolToSmiles(Chem.RemoveHs(mol)), ""
