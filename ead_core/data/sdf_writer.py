"""Writing SDF: the perceived molecule, its title, its properties as data fields, and what is wrong with it.

A field ends at a blank line and a record at `$$$$`, and the name of a field stands on one line between < and >: what
does not fit is written in the nearest form that does, and reported. Coordinates have four decimals (V2000); molecules
that do not fit into V2000, by their number of atoms or the size of their coordinates, are written as V3000 with six.
"""

import contextlib
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from rdkit import Chem, rdBase

from ead_core.chemistry.identity import Identity, denotes, identify, kekulised
from ead_core.chemistry.molecule import Molecule
from ead_core.common.files import write_aside
from ead_core.data.names import fitting_names, renaming_notes
from ead_core.data.store import MoleculeSet

_END = "$$$$"
_WIDEST = 9999.0  # Å, of a coordinate in V2000's ten columns
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # all but tab and line feed


class SdfRecord(NamedTuple):
    """A molecule as text, and which one it is."""

    text: str
    identity: Identity


def write_sdf(molecules: MoleculeSet, path: Path) -> list[str]:
    """Write every molecule, perceived once.

    Returns:
        A sentence for each thing that the file does not hold as it was, and for what RDKit cannot read.

    Raises:
        OutputError: the file cannot be written.
    """
    kinds: Counter[tuple[bool, bool]] = Counter()
    with write_aside(path) as aside, _open_for_writing(aside) as file:
        for record in sdf_records(molecules):
            file.write(record.text)
            kinds[record.identity.perceived, record.identity.readable] += 1
    names = fitting_names(molecules.properties, _field_name)
    return [*renaming_notes(names), *_altered(molecules, names), *_badly_bonded(kinds)]


def sdf_records(molecules: MoleculeSet) -> Iterator[SdfRecord]:
    """The records one by one, each ending in `$$$$`."""
    names = fitting_names(molecules.properties, _field_name)
    for molecule in molecules:
        identity = identify(molecule)
        values = {names.get(name, name): value for name, value in _values(molecule, identity).items()}
        fields = "".join(f">  <{name}>\n{text}\n\n" for name, value in values.items() if (text := field_text(value)))
        title = title_of(str(molecule.known.get("name", "")))
        yield SdfRecord(f"{molblock(identity.mol, title)}{fields}{_END}\n", identity)


def _values(molecule: Molecule, identity: Identity) -> dict[str, str]:
    """Its known properties, with its SMILES and what is wrong with it; its name only if the title cannot hold it."""
    values = {name: str(value) for name, value in molecule.known.items()}
    known = values.pop("warning", "")
    doubts = [known] + [identity.warning] * (identity.warning not in known)
    if "name" in values and title_of(values["name"]) == values["name"]:
        del values["name"]
    given = values.get("smiles", "")
    if not denotes(given, molecule):
        values["smiles"] = identity.smiles
        doubts += [f"its SMILES was {given}, which has other atoms"] if given else []
    return {**values, "warning": "; ".join(filter(None, doubts))}


def molblock(mol: Chem.Mol, title: str = "") -> str:
    """A molecule with a conformer as a Kekulé structure; what has none is written with aromatic bonds."""
    mol = kekulised(mol)
    mol.SetProp("_Name", title)
    wide = bool(np.abs(mol.GetConformer().GetPositions()).max() > _WIDEST)
    with rdBase.BlockLogs():
        return str(Chem.MolToMolBlock(mol, kekulize=False, forceV3000=wide))


def title_of(name: str) -> str:
    """The nearest to a name that fits on the first line of a record."""
    title = " ".join(_CONTROL.sub(" ", name).split())
    return f" {title}" if title.startswith(_END) else title


def field_text(value: str) -> str:
    """The nearest to a text that a data field can hold: no blank lines, no line that ends the record."""
    lines = _CONTROL.sub(" ", re.sub(r"\r\n?", "\n", value)).split("\n")
    return "\n".join(f" {line}" if line.startswith((_END, ">")) else line for line in lines if line.strip())


def _field_name(name: str) -> str:
    """The nearest to a name that fits between < and > on one line."""
    return " ".join(re.sub(r"[<>\x00-\x1f\x7f]", " ", name).split()) or "unnamed"


def _altered(molecules: MoleculeSet, names: Mapping[str, str]) -> Iterator[str]:
    """What an SDF cannot hold as it is, besides names."""
    for name, field in names.items():
        values = np.asarray(molecules.properties[name])
        if values.ndim > 1:
            yield f"property {field!r} is left out: it has several values per molecule."
        elif values.dtype.kind in "UO":
            changed = sum(field_text(text).strip() != text for text in map(str, values.tolist()))
            if changed:
                yield (
                    f"{changed:,} texts of {field!r} are not as they were: a field holds no blank lines, no blanks at "
                    "its ends, and no lines that begin with `$$$$` or `>`."
                )


def _badly_bonded(kinds: Counter[tuple[bool, bool]]) -> Iterator[str]:
    """How many molecules, by whether they are perceived and readable, are not what a reader expects."""
    unreadable, readable = kinds[False, False], kinds[False, True]
    if unreadable or readable:
        lost = f"; RDKit cannot read {unreadable:,} of these" if unreadable else ""
        yield (
            f"of {kinds.total():,} molecules {unreadable + readable:,} have bonds of a distance table, because "
            f"perception failed{lost} (see the field 'warning')."
        )


@contextlib.contextmanager
def _open_for_writing(path: Path) -> Iterator[TextIO]:
    if path.suffix.lower() != ".gz":
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    # Neither time nor name in the header: equal molecules make equal files.
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        yield file
