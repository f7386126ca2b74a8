"""The errors a user can cause; each carries one sentence that names what was wrong and what is accepted."""

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class EADError(Exception):
    """A mistake in what came from outside; the command line prints the sentence and exits with code 2."""


class ConfigError(EADError):
    """An unknown key or a value outside its range in a recipe or an override."""


class DataError(EADError):
    """A data file that is missing, corrupt, or holds what the model cannot represent."""


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


class Note(UserWarning):
    """Something that is no mistake but that a user should know, such as files that were not read."""


def note(sentence: str) -> None:
    """Tell the user a sentence: a Python warning, which the programs print on standard error, each once."""
    warnings.warn(sentence, Note, stacklevel=2)


@contextmanager
def report_user_errors(program: str) -> Iterator[None]:
    """Around a program's body: a user's mistake becomes its sentence on standard error and exit code 2."""
    try:
        with _notes_printed():
            yield
    except EADError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        shortened = f"{os.fsdecode(error.filename or '')[:40]}…"
        print(f"{program}: '{shortened}' cannot be a file, its name is too long.", file=sys.stderr)
        sys.exit(2)


@contextmanager
def _notes_printed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("default", Note)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, Note):
                print(f"note: {message}", file=sys.stderr)
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield
