"""What a mutant is: one fault, as a replacement of text. The lists: `mutant_list.py` and those that it adds up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """In `file`, the text `old`, which is there once, becomes `new`. `does`: the fault, in a line."""

    name: str
    file: str
    old: str
    new: str
    does: str


def applied(mutant: Mutant, text: str) -> str:
    """`text` with the fault; `ValueError` if its old text is not there exactly once, or is its new one."""
    count = text.count(mutant.old)
    if count != 1 or mutant.old == mutant.new:
        raise ValueError(f"{mutant.name}: its old text is {count} times in {mutant.file}, and must be there once")
    return text.replace(mutant.old, mutant.new)
