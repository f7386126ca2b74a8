"""`ead config`: what the keys of a recipe mean."""

from collections.abc import Iterable
from typing import Annotated

import typer

from ead_core.config import OUTER_SECTIONS, Config, unknown_key
from ead_core.config.conditions import as_yaml
from ead_core.config.reference import Entry, entries
from ead_core.errors import ConfigError

WIDTH = 30  # of the column of keys


def config(
    key: Annotated[str | None, typer.Argument(help="A key such as sampler.async_ratio, or a section.")] = None,
) -> None:
    """Explain the keys of a recipe: all of them, those of a section, or one."""
    known = entries(Config)
    if key in known:
        _explain(known[key])
        return
    sections = [key] if key in Config.model_fields else list(Config.model_fields)
    if key and key not in sections:
        raise ConfigError(_unknown(key))
    for section in sections:
        _list(section, (entry for entry in known.values() if entry.section == section))


def _unknown(key: str) -> str:
    section = key.partition(".")[0]
    if section in OUTER_SECTIONS:
        return f"the keys of `{section}:` belong to the platform and are explained in docs/reference/configuration.md."
    return unknown_key(key, [*Config.model_fields, *entries(Config)])


def _list(section: str, keys: Iterable[Entry]) -> None:
    typer.echo(f"\n{section}: {Config.model_fields[section].annotation.__doc__}")
    for entry in keys:
        typer.echo(f"  {entry.key:<{WIDTH}} {as_yaml(entry.default):<10} {entry.summary}")


def _explain(entry: Entry) -> None:
    typer.echo(f"{entry.key}: {entry.meaning}\n")
    typer.echo(f"  accepted   {entry.accepted}")
    own = "; when sampling, that of the checkpoint" if entry.section == "sampler" else ""
    typer.echo(f"  default    {as_yaml(entry.default)}{own}")
    if entry.needs:
        typer.echo(f"  only with  {entry.needs}; elsewhere it has no effect and is refused")
    if affected := [other.key for other in entries(Config).values() if _depends(other, entry)]:
        typer.echo(f"  affects    {', '.join(affected)}")


def _depends(other: Entry, entry: Entry) -> bool:
    return any(condition.key == entry.key for condition in other.conditions)
