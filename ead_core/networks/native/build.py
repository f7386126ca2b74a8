"""Compiling the C++ files of a folder once per machine, for speed where a compiler is at hand.

The library is kept in the user's cache under a name made of everything that it depends on: the files, the flags, and
what the compiler defines under them, which names its version and the instructions of this CPU. Processes that build at
the same time do so aside; the last one's file stays.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from ead_core.common.files import user_cache, write_aside
from ead_core.errors import OutputError

# Comparisons may become minima (products still hand on what is not a number), and loops with square roots vectors. All
# sums of products are fused, whatever GCC thinks best for the CPU: else they round by how many run side by side.
NUMBERS = ("-ffinite-math-only", "-fno-signed-zeros", "-fno-math-errno", "--param=avoid-fma-max-bits=0")
FLAGS = ("-std=c++17", "-O3", "-march=native", *NUMBERS, "-fPIC", "-shared")
COMPILERS = ("c++", "g++", "clang++")
SECONDS = 120


class BuildError(Exception):
    """There is no library; the message says why, as the rest of a sentence."""


def shared_library(folder: Path) -> Path:
    """All `*.cpp` of a folder as one library, from the cache if it is there and neither they nor `*.h` have changed.

    The compiler is that of the environment variable CXX, else the first of c++, g++, clang++; the cache is
    `user_cache`.

    Raises:
        BuildError: there is no compiler, it fails, or the cache cannot be written.
    """
    compiler = _compiler()
    defined = _run([*compiler, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull])
    sources, headers = sorted(folder.glob("*.cpp")), sorted(folder.glob("*.h"))
    texts = [path.read_text("utf-8") for path in (*sources, *headers)]
    digest = hashlib.sha256("\n".join((*texts, *FLAGS, defined)).encode()).hexdigest()
    library = user_cache() / f"{folder.name}-{digest[:16]}.so"
    if not library.exists():
        try:
            with write_aside(library) as aside:
                _run([*compiler, *FLAGS, *map(str, sources), "-o", str(aside)])
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


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} cannot be run ({error})") from error
    if done.returncode:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise BuildError(f"{command[0]} cannot compile it ({said})")
    return done.stdout
