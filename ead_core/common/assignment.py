"""Who gets what, each thing once, at the least total cost.

Successive shortest augmenting paths: Jonker and Volgenant, Computing 38, 325 (1987), in the rectangular form of Crouse,
IEEE Trans. Aerosp. Electron. Syst. 52, 1679 (2016). It is exact, and needs little memory beside the costs.

Legend: R takers, C things.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NOTHING = -1  # what a taker gets who goes without


def assign(costs: NDArray[np.float64], without: float) -> NDArray[np.int64]:
    """The thing that each taker [R] gets, or −1, so that the sum of costs is the least.

    Args:
        costs: [R, C]; infinite where a taker cannot have a thing.
        without: what it costs that a taker goes without; above R times the largest finite cost, as many as possible are
            served.
    """
    market = _Market(costs, without)
    for taker in range(len(costs)):
        market.exchange(taker, market.search(taker))
    return market.thing_of


class _Search(NamedTuple):
    """What Dijkstra's search from a taker has found.

    Attributes:
        end: the nearest free thing; −1 if somebody had better go without.
        loser: who that is.
        giver: [C] the taker before each thing on the way to it.
    """

    end: int
    loser: int
    giver: NDArray[np.int64]


class _Market:
    """Who holds what, and the prices at which nobody would change."""

    def __init__(self, costs: NDArray[np.float64], without: float) -> None:
        takers, things = costs.shape
        self._costs, self._without = costs, without
        self._taker_of, self.thing_of = np.full(things, NOTHING), np.full(takers, NOTHING)
        self._taker_price, self._thing_price = np.zeros(takers), np.zeros(things)

    def search(self, taker: int) -> _Search:
        """The cheapest chain of exchanges that serves one more taker; the prices follow."""
        reach, giver = np.full(len(self._thing_price), np.inf), np.full(len(self._thing_price), taker)
        ahead = reach.copy()  # as `reach`, but infinite for what has been passed
        passed, now, far = list[int](), taker, 0.0
        resigned, loser, end = np.inf, taker, NOTHING
        while True:
            giving_up = far + self._without - self._taker_price[now]
            if giving_up < resigned:
                resigned, loser = giving_up, now
            through = far + self._costs[now] - self._taker_price[now] - self._thing_price
            through[passed] = np.inf
            nearer = through < reach
            reach[nearer], ahead[nearer], giver[nearer] = through[nearer], through[nearer], now
            nearest = int(ahead.argmin()) if len(ahead) else NOTHING
            if nearest == NOTHING or ahead[nearest] >= resigned:
                far = resigned
                break
            far = float(ahead[nearest])
            if self._taker_of[nearest] == NOTHING:
                end = nearest
                break
            passed.append(nearest)
            ahead[nearest], now = np.inf, int(self._taker_of[nearest])
        gains = far - reach[passed]
        self._taker_price[taker] += far
        self._taker_price[self._taker_of[passed]] += gains
        self._thing_price[passed] -= gains
        return _Search(end, loser, giver)

    def exchange(self, taker: int, found: _Search) -> None:
        """Hand things on along the chain."""
        thing = found.end
        if thing == NOTHING:
            thing, self.thing_of[found.loser] = int(self.thing_of[found.loser]), NOTHING
        while thing != NOTHING:
            receiver = int(found.giver[thing])
            self._taker_of[thing] = receiver
            thing, self.thing_of[receiver] = int(self.thing_of[receiver]), thing
