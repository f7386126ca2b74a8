"""Why a request is refused, and at which field of its body."""

import re

from ead_core.errors import EADError

Location = tuple[str | int, ...]


class RefusalError(EADError):
    """A request outside what is accepted; `location` names the field, as in FastAPI's own errors."""

    def __init__(self, location: Location, sentence: str) -> None:
        super().__init__(sentence)
        self.location = location


def place_of(sentence: str) -> Location:
    """The place of the key that a sentence of the core is about, which is the first it names."""
    if "the criterion " in sentence:
        return "body", "accept"
    if "must be predicted" in sentence:
        return "body", "targets"
    key = re.search(r"sampler\.\w+", sentence)
    return ("body", "sampler", key.group()) if key else ("body", "sampler")
