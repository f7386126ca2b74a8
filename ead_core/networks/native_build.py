"""Compiling a C++ file of the package once per machine, for speed where a compiler is at hand.

The library is kept in the user's cache under a name made of everything that it depends on: the source, the flags, and
what the compiler defines under them, which tells its version and the instructions of this CPU. Processes that build at
the same time do so aside; the last one's file stays.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from ead_core.errors import OutputError
from ead_core.files import write_aside

# The two about numbers let a comparison become a minimum; products still hand on what is not a number.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffinite-math-only", "-fno-signed-zeros", "-fPIC", "-shared")
COMPILERS = ("c++", "g++", "clang++")
SECONDS = 120


class BuildError(Exception):
    """There is no library; the message says why, as the rest of a sentence."""


def shared_library(source: Path) -> Path:
    """The compiled `source`, from the cache if it is there.

    The compiler is that of the environment variable CXX, else the first of c++, g++, clang++; the cache is
    $XDG_CACHE_HOME/ead, else ~/.cache/ead.

    Raises:
        BuildError: there is no compiler, it fails, or the cache cannot be written.
    """
    compiler = _compiler()
    defined = _run([*compiler, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull])
    digest = hashlib.sha256("\n".join((source.read_text("utf-8"), *FLAGS, defined)).encode()).hexdigest()
    library = _cache() / f"{source.stem}-{digest[:16]}.so"
    if not library.exists():
        try:
            with write_aside(library) as aside:
                _run([*compiler, *FLAGS, str(source), "-o", str(aside)])
        except OutputError as error:
            raise BuildError(str(error).rstrip(".")) from error
    return library


def _compiler() -> list[str]:
    if given := shlex.split(os.environ.get("CXX", "")):
        return given
    for name in COMPILERS:
        if found := shutil.which(name):
            return [found]
    raise BuildError("there is no C++ compiler")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "ead"


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} cannot be run ({error})") from error
    if done.returncode:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise BuildError(f"{command[0]} cannot compile it ({said})")
    return done.stdout
