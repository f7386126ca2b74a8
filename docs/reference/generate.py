"""Writes the configuration reference beside it: `python docs/reference/generate.py`."""

from dataclasses import replace
from pathlib import Path

from ead_platform.registry.gate import SECTION, GateConfig
from ead_platform.training.recipe import Recipe

from ead_core.config import Section
from ead_core.config.conditions import Condition
from ead_core.config.reference import entries, markdown
from serve.settings import ServeSettings

PAGE = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration reference

<!-- Made by `python docs/reference/generate.py` from the fields of the sections; do not edit. -->

A recipe is a YAML file of sections. Every key can be changed on the command line as `section.key=value`, and
`ead config section.key` explains it. A key that has no effect with the other settings is refused where it is given.
"""


def page() -> str:
    """The reference of all sections of a recipe, of the gate, and of the service."""
    keys = entries(Recipe).values()
    parts = [
        markdown(f"`{name}:`", _meaning(name), [entry for entry in keys if entry.section == name])
        for name in Recipe.model_fields
    ]
    conditions = [replace(entry, section=SECTION) for entry in entries(GateConfig).values()]
    gate = markdown(f"`{SECTION}:`", _sentence(GateConfig), conditions)
    service = markdown("Arguments of `python -m serve`", _sentence(ServeSettings), entries(ServeSettings).values())
    return "\n".join([HEAD, *parts, gate, service])


def _meaning(section: str) -> str:
    """What a section is about, and what it needs."""
    field = Recipe.model_fields[section]
    needs = [f"Only with {each}." for each in field.metadata if isinstance(each, Condition)]
    return " ".join([_sentence(field.annotation), *needs])


def _sentence(section: type[Section] | None) -> str:
    return ((section and section.__doc__) or "").partition("\n")[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
