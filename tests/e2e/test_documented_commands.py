"""The commands in the pages: their options and setting keys exist. Nothing runs but what takes a second or two."""

import argparse
import re
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
import typer

from ead_core.checkpoints.checkpoint import PRETRAINED
from ead_core.config import load_config, parse_overrides, validate

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / "platform").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
)
FENCED = re.compile(r"^(```+)(\w*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
ASSIGNMENT = re.compile(r"[A-Z_]+=")
DEMO = ROOT / "configs" / "demo.yaml"
SEPARATORS = {"&&", "||", "|", ";", "&"}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
OTHERS = ("make", "ray", "curl", "pip", "export", "chmod", "kill")
PROGRAM = re.compile(rf"([A-Z_]+=\S+ )*(ead|python|{'|'.join(OTHERS)}) ")


def commands(text):
    """The command lines of a page's shell blocks, fenced or indented, each as its words."""
    blocks = [block for _, language, block in FENCED.findall(text) if language == "sh"]
    blocks += INDENTED.findall(FENCED.sub("", text))
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        if PROGRAM.match(line.strip()):
            yield from simple_commands(shlex.split(line, comments=True))


def simple_commands(words):
    """The words between `&&`, pipes and the like, without assignments in front and redirections at the end."""
    command = []
    for word in [*words, ";"]:
        if word not in SEPARATORS:
            command.append(word)
            continue
        while command and ASSIGNMENT.match(command[0]):
            command.pop(0)
        if command:
            yield command[: command.index(">")] if ">" in command else command
        command = []


@cache
def program(*words):
    """What parses the arguments: a command of typer, or of argparse."""
    if words == ("ead",):
        from ead_core.cli.main import app

        return typer.main.get_command(app)
    if words == ("-m", "serve"):
        from serve.__main__ import app

        return typer.main.get_command(app)
    names = runpy.run_path(str(ROOT / words[0]))
    app = names.get("app")
    if app is None and "typer" in names:
        app = typer.Typer()
        app.command()(names["main"])
    return typer.main.get_command(app) if app else None


def check(words):
    """Parse a command with the parser of its program, and its settings with whatever reads them."""
    first, *rest = words
    if first == "make":
        assert {word for word in rest if "=" not in word} <= TARGETS
    elif first == "ead":
        check_typer(program("ead"), rest)
    elif words[:3] == ["python", "-m", "serve"]:
        check_typer(program("-m", "serve"), words[3:])
    elif first == "python":
        check_script(rest)
    elif words[:3] == ["ray", "job", "submit"]:
        check(rest[rest.index("--") + 1 :])
    else:
        assert first in OTHERS


def check_script(words):
    script, *arguments = words
    command = program(script)
    if command:
        check_typer(command, arguments, sets_any_key=script.startswith("benchmarks/"))
        return
    with pytest.MonkeyPatch.context() as patch:
        parse = argparse.ArgumentParser.parse_args

        def parse_and_stop(parser):
            parse(parser)
            raise SystemExit(0)

        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        assert end.value.code == 0


def check_typer(command, arguments, sets_any_key=False):
    """`sets_any_key`: a program whose own settings decide later which of those given have an effect."""
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    given = command.make_context(command.name, [*arguments]).params
    if command.name == "config":
        command.callback(**given)
    elif given.get("command"):  # of a job
        if given["command"] != ["…"]:
            check(given["command"])
    elif sets_any_key:
        load_config(DEMO).override(parse_overrides(given.get("overrides") or []))
    else:
        read_settings(given)


def read_settings(given):
    """Read the settings as the program does that has these options."""
    overrides = given.get("overrides") or []
    if "host" in given:
        from serve.settings import ServeSettings

        validate(ServeSettings, parse_overrides(given["settings"] or []))
    elif "gate" in given:
        from ead_platform.registry.gate import load_gate

        load_gate(given["gate"], overrides)
    elif given.get("arguments"):
        from ead_platform.training.recipe import Recipe

        recipe, *overrides = given["arguments"]
        Recipe.load(Path(recipe), overrides)
    else:
        bundled = PRETRAINED / str(given.get("checkpoint")) / "config.yaml"
        load_config(given.get("recipe", bundled if bundled.is_file() else DEMO), overrides)


def mistake(words):
    """What is wrong with a command, or an empty text."""
    try:
        check(words)
    except Exception as error:
        return f"{shlex.join(words)}: {error!r}"
    return ""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_to_run_can_be_run(page):
    assert [*filter(None, map(mistake, commands(page.read_text(encoding="utf-8"))))] == []


def test_the_commands_of_the_pages_are_found():
    found = [words for page in PAGES for words in commands(page.read_text(encoding="utf-8"))]
    assert len(found) > 100
    assert {"ead", "python", "make", "ray"} <= {words[0] for words in found}


@pytest.mark.parametrize(
    "line",
    [
        "make nothing",
        "ead nothing",
        "ead sample qm9-deep --nothing 3",
        "ead sample qm9-deep --num many",
        "ead sample qm9-deep sampler.nothing=3",
        "ead sample qm9-deep sampler.steps=-1",
        "ead train configs/nothing.yaml",
        "ead config sampler.nothing",
        "python -m serve nothing=1",
        "python platform/jobs/nothing.py",
        "python platform/jobs/train.py configs/demo.yaml platform.nothing=2",
        "python platform/jobs/promote.py qm9-deep promotion.nothing=2",
        "RAY_ADDRESS=auto python tune/sweep_async_ratio.py --nothing",
        "ray job submit -- python platform/jobs/generate.py --nothing",
        "python benchmarks/metrics.py --nothing",
        "python benchmarks/schedules.py qm9-deep sampler.nothing=1",
    ],
)
def test_what_is_wrong_is_found(line):
    (words,) = commands(f"    {line}    # a remark\n")
    assert mistake(words)


@pytest.mark.slow
def test_what_takes_a_second_or_two_does_what_the_page_says(clone, follow):
    quick = ("ead data prepare my_molecules", "ead data info mine", "ead models", "ead config")
    lines = [shlex.join(words) for page in PAGES for words in commands(page.read_text(encoding="utf-8"))]
    chosen = dict.fromkeys(line for line in lines if line.startswith(quick))
    assert len(chosen) >= 4
    follow("\n".join(["ead data demo --num 8 --out my_molecules.sdf", *chosen]))
    assert (clone / "mine.npz").exists()
