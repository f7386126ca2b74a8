"""Places for what has not arrived in full: when all are taken, the one that has waited longest makes room."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Places(Generic[T]):
    """A limited number of places, in all and per client; a newcomer always gets one.

    So whoever sends a whole request is served, however many connections are kept open without sending anything.

    Args:
        in_all: most places.
        per_client: most places of one client.
    """

    def __init__(self, in_all: int, per_client: int) -> None:
        self._in_all, self._per_client = in_all, per_client
        self._taken: dict[str, dict[int, T]] = {}  # by client, oldest first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, client: str, item: T) -> T | None:
        """Take a place; returns the item that loses its own for it, if any.

        That is the oldest of the client's, or of the client with the most places.
        """
        own = self._taken.setdefault(client, {})
        own[id(item)] = item
        self._count += 1
        if len(own) > self._per_client:
            return self._take_back(client)
        if self._count > self._in_all:
            return self._take_back(max(self._taken, key=lambda name: len(self._taken[name])))
        return None

    def leave(self, client: str, item: T) -> None:
        """Give a place back; nothing happens if it has been lost already."""
        own = self._taken.get(client, {})
        if own.pop(id(item), None) is not None:
            self._count -= 1
        if not own:
            self._taken.pop(client, None)

    def _take_back(self, client: str) -> T:
        oldest = next(iter(self._taken[client].values()))
        self.leave(client, oldest)
        return oldest
