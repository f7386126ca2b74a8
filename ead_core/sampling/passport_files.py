"""One molecule of a file with the passport of how it was made.

In a table the passport stands in the footer or in an array of its own, in an SDF and an XYZ in the first record, in an
answer of the service beside the molecules. A shard says in its footer what was asked of its generation instead.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel
from rdkit import rdBase

from ead_core.chemistry.elements import atomic_number
from ead_core.chemistry.molecule import Molecule
from ead_core.common.documents import Document, parse_json
from ead_core.data.formats import read_molecules
from ead_core.data.parquet import parquet_entries
from ead_core.data.readers import is_text, unparsed_records
from ead_core.data.records import PASSPORT, Unparsed, assemble
from ead_core.data.sdf import unparsed_sdf
from ead_core.data.shard_folders import SHARD_ENTRY, ShardQuestion
from ead_core.data.sources import kind_of
from ead_core.data.store import npz_about
from ead_core.errors import DataError
from ead_core.sampling.passport import Passport

_ANSWER = ".json"


class Stored(NamedTuple):
    """A molecule as its file has it, and how it was made."""

    molecule: Molecule
    passport: Passport


class _Made(BaseModel):
    id: int
    elements: list[str]
    positions: list[tuple[float, float, float]]
    sdf: str


class _Answer(Document):
    kind: ClassVar[str] = "an answer of the service"

    version: Literal[1] = 1
    molecules: list[_Made]
    passport: dict[str, Any] | None = None


_Found = tuple[Molecule | None, Passport | None]


def stored_molecule(path: Path, number: int) -> Stored:
    """The molecule of a file with the `id` of this number.

    Raises:
        DataError: the file cannot be read, carries no passport, or holds no such molecule.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file.")
    if path.suffix.lower() == _ANSWER:
        molecule, passport = _of_answer(path, number)
    elif kind_of(path.name):
        molecule, passport = (_of_text if is_text(path) else _of_table)(path, number)
    else:
        molecule, passport = None, None
    if passport is None:
        raise DataError(
            f"{path} carries no passport, without which nobody knows how its molecules were made; those of `ead sample`"
            " (.sdf, .xyz, .npz, .parquet) and of the service (json, sdf, xyz) do, and so do shards as .parquet; SMILES"
            " and the .sdf.gz of shards cannot."
        )
    if molecule is None:
        raise DataError(f"{path} holds no usable molecule with the id {number}.")
    return Stored(molecule, passport)


def _of_table(path: Path, number: int) -> _Found:
    about = parquet_entries(path) if kind_of(path.name) == ".parquet" else npz_about(path)
    told, asked = about.get(PASSPORT), about.get(SHARD_ENTRY)
    if asked is not None:
        footer = ShardQuestion.parse(parse_json(asked, str(path)), str(path))
        passport = Passport.of_question(footer.question, str(path))
    elif told is not None:
        passport = _parsed(told, path)
    else:
        return None, None
    molecules = read_molecules(path).molecules
    rows = np.flatnonzero(np.asarray(molecules.properties.get("id", ())) == number)
    return molecules[int(rows[0])] if len(rows) else None, passport


def _of_text(path: Path, number: int) -> _Found:
    with rdBase.BlockLogs():
        return _among(unparsed_records(path), number, path)


def _of_answer(path: Path, number: int) -> _Found:
    """What JSON says of a molecule, with the properties that its SDF has."""
    answer = _Answer.load(path)
    passport = None if answer.passport is None else Passport.parse(answer.passport, str(path))
    for made in answer.molecules:
        if made.id == number:
            with rdBase.BlockLogs():
                found, _ = _among(unparsed_sdf(str(path), io.StringIO(made.sdf)), number, path)
            charges = np.array([atomic_number(symbol) for symbol in made.elements])
            return found and Molecule(charges, np.array(made.positions), found.properties), passport
    return None, passport


def _among(records: Iterable[Unparsed], number: int, path: Path) -> _Found:
    """The molecule, and the last passport up to it, since files may be joined."""
    passport: Passport | None = None
    for parse in records:
        name, record = parse()
        if isinstance(record, str):  # why it is none
            continue
        if told := record.properties.get(PASSPORT):
            passport = _parsed(str(told), path)
        if str(record.properties.get("id")) == str(number):
            return assemble([(name, record)]).molecules[0], passport
    return None, passport


def _parsed(text: str, path: Path) -> Passport:
    try:
        return Passport.parse(parse_json(text, str(path)), str(path))
    except ValueError as error:
        raise DataError(f"{path} carries a passport that is no JSON.") from error
