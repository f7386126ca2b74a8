"""The files of a shard as bytes: its molecules with what the shard says about itself, and the same as SDF."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ead_core.data.formats import encode_molecules
from ead_core.data.parquet import load_parquet, write_parquet
from ead_core.data.store import MoleculeSet
from ead_core.data.usable import usable
from ead_platform.generation.shard_index import PARQUET, SDF

NULLS = ("smiles", "inchikey", "molblock", "checks")  # null where there is none


def encode_shard(molecules: MoleculeSet, about: Mapping[str, str]) -> bytes:
    """A parquet file with what it says `about` itself (see `own_entry`)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"shard{PARQUET}")
        nulls = [name for name in NULLS if name in molecules.properties]
        write_parquet(molecules, path, about, nulls, compression="zstd")
        return path.read_bytes()


def decode_shard(parquet: bytes) -> MoleculeSet:
    """The molecules of a parquet file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"shard{PARQUET}")
        path.write_bytes(parquet)
        return load_parquet(path).molecules


def sdf_of(parquet: bytes) -> bytes:
    """The usable molecules of a shard as SDF; always from its parquet file, so that it does not matter when."""
    return encode_molecules(usable(decode_shard(parquet))[0], SDF)
