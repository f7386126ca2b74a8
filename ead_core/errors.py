"""The errors a user can cause; each carries one sentence that names what was wrong and what is accepted."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ead_core.notes import noted


class EADError(Exception):
    """A mistake in what came from outside; the command line prints the sentence and exits with code 2."""


class ConfigError(EADError):
    """An unknown key or a value outside its range in a recipe or an override."""


class DataError(EADError):
    """A data file that is missing, corrupt, or holds what the model cannot represent."""


class VersionError(DataError):
    """A document of a version that this program does not read."""


class CheckpointError(EADError):
    """A checkpoint directory that is missing, incomplete, or of another version."""


class DamagedFileError(EADError):
    """A file whose content is no longer what was written."""


class TrainingError(EADError):
    """A training that cannot go on: its numbers are no longer finite."""


class OutputError(EADError):
    """A place where results cannot be written."""


def one_line(error: Exception) -> str:
    """Another library's message as part of our sentence: YAML's have several lines."""
    return " ".join(str(error).split()).rstrip(".")


@contextmanager
def report_user_errors(program: str) -> Iterator[None]:
    """Around a program's body: a user's mistake becomes its sentence on standard error and exit code 2."""
    try:
        with noted(lambda sentence: print(f"note: {sentence}", file=sys.stderr)):
            yield
    except EADError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        shown = error.object.encode(errors="replace").decode()  # Arrow, for one, takes no such name
        print(f"{program}: '{shown}' is not UTF-8, as this name must be; rename it.", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        shortened = f"{os.fsdecode(error.filename or '')[:40]}…"
        print(f"{program}: '{shortened}' cannot be a file, its name is too long.", file=sys.stderr)
        sys.exit(2)
