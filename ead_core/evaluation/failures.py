"""Why molecules were not measured or have no perceived bonds, counted by reason."""

import re
from collections import defaultdict

from ead_core.evaluation.columns import Columns

_MOST_REASONS = 20  # named in a card; the rest is summed up
_DETAIL = re.compile(r" \(([^()]*)\)")


def failures(columns: Columns) -> dict[str, int]:
    """How many molecules there are for each reason, the most frequent first.

    Reasons that differ by numbers, or by the details that they give in parentheses, count together under one example.
    """
    reasons = [text for text in columns.texts("failure") if text]
    reasons += [f"no bonds: {text}" for text in columns.texts("reason") if text]
    groups: dict[str, list[str]] = defaultdict(list)
    for reason in reasons:
        groups[re.sub(r"-?\d+", "#", _DETAIL.sub("", reason))].append(reason)
    ranked = sorted(groups.items(), key=lambda group: -len(group[1]))
    named = {_title(pattern, alike): len(alike) for pattern, alike in ranked[:_MOST_REASONS]}
    others = len(reasons) - sum(named.values())
    return named | ({"other reasons": others} if others else {})


def _title(pattern: str, alike: list[str]) -> str:
    """The reason itself if all are equal, else what they share, with the first one's details as an example."""
    first = alike[0]
    if len(set(alike)) == 1:
        return first
    details = _DETAIL.findall(first)
    return f"{pattern} (e.g. {'; '.join(details)})" if details else pattern
