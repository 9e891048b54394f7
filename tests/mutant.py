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
