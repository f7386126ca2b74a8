"""The difference of a share between two sets of molecules, with its significance."""

from dataclasses import dataclass

from ead_core.common.intervals import Interval


@dataclass(frozen=True)
class Difference:
    """The difference of a share, second minus first; `pairs` is 0 where the runs are taken as independent."""

    difference: float
    interval: Interval
    p_value: float
    pairs: int

    def points(self) -> str:
        """In percentage points, with its interval: `+5.2 (+3.1 to +7.3)`."""
        low, high = self.interval
        return f"{100 * self.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"

    def metrics(self, name: str) -> dict[str, float]:
        """Flat values, by names that begin with that of the figure."""
        low, high = self.interval
        return {
            f"{name}_difference": self.difference,
            f"{name}_difference_low": low,
            f"{name}_difference_high": high,
            f"{name}_p_value": self.p_value,
        }
