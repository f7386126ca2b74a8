"""Fragments of held-out molecules, completed: how often is the result valid, in one piece, and stable?

    python benchmarks/fragments.py qm9-small --data qm9.npz --num 100

A molecule that training has not seen is cut at a single bond outside of rings, chosen at random; the side with more
heavy atoms is kept, with its hydrogens, and as many atoms as were cut off are generated.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rdkit import Chem

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.chemistry.bare_molecules import molecule_by_table
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import wilson
from ead_core.data.dataset import resolve_data_path, split_indices
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet
from ead_core.errors import report_user_errors
from ead_core.evaluation.smiles import smiles_of
from ead_core.evaluation.stability import stability
from ead_core.sampling.engine import Engine
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.requests import Request, sampler_config

FEWEST = 3  # heavy atoms that are kept
FEW = {"steps": 50, "grid": "quadratic", "solver": "dpmpp_2m_sde"}
ROWS: dict[str, dict[str, object]] = {
    "adaptive": {"policy": "adaptive"},
    "synchronous": {"policy": "synchronous"},
    "synchronous, 50 steps of dpmpp_2m_sde": {"policy": "synchronous", **FEW},
}


def cut(mol: Chem.Mol, choice: float) -> list[int] | None:
    """Atoms of the larger side of a single bond outside of rings; None if there is none that leaves enough."""
    Chem.FastFindRings(mol)
    sides = []
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        if bond.IsInRing() or bond.GetBondType() != Chem.BondType.SINGLE or min(a.GetAtomicNum() for a in ends) == 1:
            continue
        open_bond = Chem.RWMol(mol)
        open_bond.RemoveBond(ends[0].GetIdx(), ends[1].GetIdx())
        pieces = Chem.GetMolFrags(open_bond)
        heavy = [sum(mol.GetAtomWithIdx(i).GetAtomicNum() > 1 for i in piece) for piece in pieces]
        if len(pieces) == 2 and max(heavy) >= FEWEST:
            sides.append(list(pieces[int(np.argmax(heavy))]))
    return sides[int(choice * len(sides))] if sides else None


def fragments(molecules: MoleculeSet, num: int) -> list[tuple[Fragment, int]]:
    """Fragments and the sizes of the molecules that they come from."""
    generator, found = np.random.default_rng(0), []
    for index in generator.permutation(len(molecules)):
        charges, positions = molecules.molecule(int(index))
        kept = cut(molecule_by_table(charges, positions), float(generator.random()))
        if kept is not None:
            found.append((Fragment(charges[kept], positions[kept].astype(np.float64)), len(charges)))
        if len(found) == num:
            return found
    return found


def in_one_piece(molecules: MoleculeSet) -> np.ndarray:
    """[M] whether all atoms are connected."""
    return np.array(
        [len(Chem.GetMolFrags(molecule_by_table(*molecules.molecule(m)))) == 1 for m in range(len(molecules))]
    )


def percent(hits: np.ndarray) -> str:
    low, high = wilson(int(hits.sum()), len(hits))
    return f"{100 * hits.mean():.0f} ({100 * low:.0f}–{100 * high:.0f})"


def main(
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-small",
    data: Annotated[Path, typer.Option(help="The data set of training; its test part is cut.")] = Path("qm9.npz"),
    num: Annotated[int, typer.Option(min=1, help="Fragments.")] = 100,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = None,
) -> None:
    """Print a table, a row per way of sampling."""
    tune_cpu(threads)
    model = load_checkpoint(checkpoint)
    molecules = read_molecules(resolve_data_path(str(data))).molecules
    wanted = fragments(molecules.select(split_indices(molecules).test), num)
    print("| sampling | valid % | in one piece % | valid and in one piece % | stable % | network calls | s/molecule |")
    print("|---" * 7 + "|")
    for name, settings in ROWS.items():
        config = sampler_config(model, settings)
        engine = Engine(model, 64, config.memory_budget)
        request_ids = [
            engine.submit(Request(1, config, first=number, sizes=(size,), fragment=kept))
            for number, (kept, size) in enumerate(wanted)
        ]
        made: dict[int, MoleculeSet] = {}
        with progress_bar(name, len(request_ids)) as progress:
            while engine.busy:
                done = engine.step()
                made |= done
                progress(len(done))
        results = MoleculeSet.concatenate([made[request_id] for request_id in request_ids])
        valid = np.array([text is not None for text in smiles_of(results)])
        whole, cost = in_one_piece(results), [results.properties[key].mean() for key in ("nfe", "seconds")]
        figures = [percent(valid), percent(whole), percent(valid & whole), percent(stability(results).stable)]
        print(f"| {name} | {' | '.join(figures)} | {cost[0]:.0f} | {cost[1]:.2f} |", flush=True)


if __name__ == "__main__":
    with report_user_errors("fragments"):
        typer.run(main)
