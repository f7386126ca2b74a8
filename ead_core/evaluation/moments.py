"""Mean and covariance of vectors: of parts that add up, and in the form in which a reference keeps them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """First and second moments of vectors.

    Attributes:
        count: of the vectors.
        mean: [D].
        scatter: [D, D] sum of the outer products of their deviations from the mean.
    """

    count: int
    mean: Values
    scatter: Values

    @classmethod
    def of(cls, vectors: NDArray[Any], counts: NDArray[np.int64] | None = None) -> "Moments":
        """Of vectors [K, D], each of which stands for `counts` [K] equal ones (one if None)."""
        counts = np.ones(len(vectors), dtype=np.int64) if counts is None else counts
        vectors = np.asarray(vectors, dtype=np.float64)
        mean = np.average(vectors, axis=0, weights=counts)
        apart = vectors - mean
        return cls(int(counts.sum()), mean, (apart * counts[:, None]).T @ apart)

    def __add__(self, other: "Moments") -> "Moments":
        """Those of both sets together (Chan, Golub and LeVeque 1983)."""
        count, apart = self.count + other.count, other.mean - self.mean
        between = np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, self.mean + apart * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Values:
        """[D, D] without bias; of two vectors at least."""
        return self.scatter / (self.count - 1)

    def halved(self) -> NDArray[np.float32]:
        """[D (D + 1) / 2] the upper triangle of the covariance, in the precision in which it is kept."""
        return self.covariance[np.triu_indices(len(self.mean))].astype(np.float32)

    @classmethod
    def restored(cls, count: int, mean: NDArray[Any], half: NDArray[Any]) -> "Moments":
        """From a count, a mean and what `halved` gave (ValueError if they do not go together)."""
        rows, columns = np.triu_indices(len(mean))
        if count < 2 or half.shape != rows.shape:
            raise ValueError("a mean and a covariance of different sizes")
        scatter = np.zeros((len(mean), len(mean)))
        scatter[rows, columns] = scatter[columns, rows] = half.astype(np.float64) * (count - 1)
        return cls(count, mean.astype(np.float64), scatter)
