"""What `ead sample --best-of` and `ead evaluate --conditional` do with judges."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ead_core.cli.tables import write_table
from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError

if TYPE_CHECKING:
    from ead_core.checkpoints.checkpoint import Checkpoint
    from ead_core.config import SamplerConfig
    from ead_core.prediction.judge import Judge


def selector_for(
    best_of: int | None,
    sampler: "SamplerConfig",
    name: str | None,
    model: "Checkpoint",
    properties: tuple[str, ...],
    needed: bool = False,
) -> "Judge | None":
    """Who predicts properties; None if nobody has to, or if counting atoms is enough.

    Args:
        best_of: whole candidates for each molecule.
        sampler: how each is made.
        name: of the selector; None takes the bundled one.
        model: the generator.
        properties: asked for.
        needed: whether molecules are matched with a table or accepted in ranges.

    Raises:
        ConfigError: a selector with nothing to predict for, no targets, or one that may not choose.
    """
    chooses = best_of is not None or sampler.branches > 1
    if not chooses and not sampler.predicts and not needed:
        if name is not None:
            raise ConfigError(
                "--selector predicts for --best-of, --match, sampler.branches, sampler.property_guidance or --accept "
                "in_range; give one of these."
            )
        return None
    if not chooses and not properties:
        return None  # nothing to pull to; whoever needs some says that there are none
    if not properties:
        option = "sampler.branches" if best_of is None else "--best-of"
        raise ConfigError(f"{option} keeps what is nearest to its targets; give some with --target or --targets.")
    from ead_core.prediction.judge import load_judge
    from ead_core.sampling.choice import selector_of

    return selector_of(model, properties, load_judge(name) if name else None)


def judge_file(molecules: MoleculeSet, name: str, out: Path | None) -> tuple[str, dict[str, Any]]:
    """Write a row per molecule, and report how near they are to their targets, as a table and as plain figures.

    Args:
        molecules: with their targets.
        name: of the judge.
        out: `.parquet` or `.csv` (`check_table`); None for none.

    Raises:
        DataError: see `judged`.
    """
    from ead_core.judge.verdict import judged, per_molecule, table, to_json
    from ead_core.prediction.judge import load_judge

    judge = load_judge(name)
    verdicts = judged(molecules, judge)
    if out is not None:
        write_table(per_molecule(molecules, verdicts), out)
    return table(verdicts), to_json(verdicts, judge)
