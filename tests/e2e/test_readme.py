"""The README as a newcomer follows it: its commands as written, in their order, in a fresh clone."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from ..in_this_process import in_this_process

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", README, flags=re.MULTILINE)
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")

# Not run here: what installs, what runs these very tests, and the sweep of seven minutes, whose script is run below.
LEFT_OUT = ("make setup", "make sweep", "make test")
# `ray start` takes ports that another cluster of this machine may have, and `ray stop` ends every Ray of the user:
# tests/platform_glue/test_submission.py submits to a cluster with ports and a home of its own.
NEEDS_A_MACHINE_OF_ITS_OWN = ("On a cluster",)
NEEDS_RAY = ("Many", "Over HTTP", "The sweep")


def title(section):
    return section.split("\n", 1)[0]


def script(sections):
    """The commands of these sections."""
    lines = []
    for language, text in (block for section in sections for block in BLOCK.findall(section)):
        if language == "python":
            lines += ["python - <<'END'", text, "END"]
        else:
            lines += [line for line in text.splitlines() if not line.startswith(LEFT_OUT)]
    return "\n".join(lines)


WITHOUT_RAY = script(section for section in SECTIONS if title(section) not in NEEDS_RAY + NEEDS_A_MACHINE_OF_ITS_OWN)
MADE = {"molecules.sdf", "molecules.png", "synchronous.npz", "card", "mine.sdf", "wanted.parquet", "whole.sdf"}
RUNNABLE = re.compile(r"^python - <<'END'\n(.*?)^END$|^ead ([^\n]*)$", re.MULTILINE | re.DOTALL)
FEW_CALLS = {"steps": 20, "grid": "quadratic", "policy": "synchronous"}


def shortened(commands):
    """The same commands with fewer molecules, network calls and training steps."""
    keys = " ".join(f"sampler.{key}={value}" for key, value in FEW_CALLS.items())
    for long, short in (
        (r"(--num|num=)( ?)12\b", r"\1\g<2>2"),
        (r"--num 200\b", "--num 40"),
        (r"training\.steps=\d+", "training.steps=2"),
        (r"sampler\.branches=\d+", "sampler.branches=2"),
        (r"sampler\.(steps|policy)=\w+", ""),
        (r"^(ead sample [^#\n]+)", rf"\1 {keys} "),
        (r"\bseed=0\)", f"seed=0, **{FEW_CALLS})"),
    ):
        commands, found = re.subn(long, short, commands, flags=re.MULTILINE)
        assert found, long
    return commands


def test_in_short_what_needs_no_cluster(ead, tmp_path):
    """In this process."""
    for name in ("configs", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    with in_this_process():
        for python, command in RUNNABLE.findall(shortened(WITHOUT_RAY)):
            if python:
                exec(python, {})
            else:
                code, _, told = ead(*shlex.split(command, comments=True))
                assert code == 0, f"{command}: {told}"
    assert {path.name for path in tmp_path.iterdir()} >= MADE


@pytest.mark.slow
def test_what_needs_no_cluster(clone, follow):
    follow(WITHOUT_RAY)
    assert {path.name for path in clone.iterdir()} >= MADE


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(not shutil.which("curl"), reason="curl, with which the README asks the service, is not installed")
def test_what_starts_a_cluster_of_its_own(clone, follow, free_port):
    port = free_port()
    commands = script(section for section in SECTIONS if title(section) in NEEDS_RAY)
    commands = commands.replace("make serve", f"python -m serve --port {port}")  # which it is, on a port that is free
    told = follow(commands.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    assert "NNC(=O)COC(N)=O\t0" in told  # the service's first molecule of seed 0
    assert len(list((clone / "many").glob("shard-*.parquet"))) == 2
    assert (clone / "best.sdf").exists()


def test_every_section_with_commands_is_followed_or_named():
    named = NEEDS_RAY + NEEDS_A_MACHINE_OF_ITS_OWN
    assert set(named) <= set(map(title, SECTIONS))
    assert "make serve" in script(SECTIONS)
    assert all(BLOCK.search(section) for section in SECTIONS if title(section) in named)


def test_it_is_one_page_and_its_links_lead_somewhere():
    assert len(README.splitlines()) <= 150
    links = LINK.findall(README)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
