"""Many random cases at once: what a case costs is mostly the starting of tools, and a batch starts them once.

One process of Yosys writes all Verilog: that of `gradrtl.rtl.verilog.generate`, but for the order of its assignments
and the numbers of Yosys's own registers, in which what it has read before shows. One run of the compiler makes one
program of all models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from random_cases import Case, Finding, agree, machines_differ

from gradrtl.errors import UserError
from gradrtl.rtl.mapping import Mapping
from gradrtl.rtl.top import Accelerator
from gradrtl.rtl.verilog import TOP, YosysFailed, converted, header, no_collection
from gradrtl.sim import verilated


def check_together(cases: dict[int, Case], folder: Path, cache: Path) -> dict[int, Finding | None]:
    """What `random_cases.check` finds in each of `cases`, by seed; None where it has to be asked, for something failed.

    `folder` is empty and takes the builds.
    """
    found: dict[int, Finding | None] = dict.fromkeys(cases)
    good = {seed: one for seed, one in cases.items() if machines_differ(one) is None}
    found |= {seed: Finding() for seed, one in good.items() if not one.built}
    good = {seed: one for seed, one in good.items() if one.built}
    if not good:
        return found
    try:
        mappings = {seed: one.mapping for seed, one in good.items()}
        texts = dict(zip(mappings, generate_together(list(mappings.values()), "tests/soak.py"), strict=True))
        designs = [(texts[seed], mapping) for seed, mapping in mappings.items()]
        models = verilated.build_together(designs, folder, cache=cache)
    except (UserError, YosysFailed):
        return found
    for (seed, one), model in zip(good.items(), models, strict=True):
        finding = agree(one, texts[seed], cache, seed, model)
        found[seed] = finding if finding.wrong is None else None
    return found


def generate_together(mappings: Sequence[Mapping], command: str) -> list[str]:
    """The Verilog of each mapping, by one process of Yosys."""
    with no_collection():
        bodies = converted([(Accelerator(mapping), TOP) for mapping in mappings])
    return [header(mapping, command) + body for mapping, body in zip(mappings, bodies, strict=True)]
