"""Functional coverage: named cases, and how often a run came across each."""

from __future__ import annotations

from collections import Counter


class Coverage:
    """Counts hits of `cases`; a case that nobody named is a mistake of the test bench."""

    def __init__(self, *cases: str) -> None:
        self.hits = Counter(dict.fromkeys(cases, 0))

    def hit(self, case: str) -> None:
        if case not in self.hits:
            raise KeyError(f"{case} is not one of {sorted(self.hits)}")
        self.hits[case] += 1

    @property
    def missed(self) -> list[str]:
        return sorted(case for case, hits in self.hits.items() if not hits)

    def table(self) -> str:
        return "\n".join(f"{hits:6d}  {case}" for case, hits in sorted(self.hits.items()))
