"""Random graphs with their placements and frames, half of them with cycles."""

from __future__ import annotations

import numpy as np
from random_cases import Case, depths
from random_graphs import SMALL, graph, has_cycle
from random_networks import Options, frames

from gradrtl.rtl.mapping import refusal

MANY = Options(largest=12, most_layers=8, most_steps=5)  # small populations, many of them
OPTIONS = (SMALL, SMALL, SMALL, MANY)  # by pairs of cases: one without a cycle and one with
LEAST = 2  # entries of a row queue: graphs get at least as many as the rule asks for, and most here no more


def case(seed: int, count: int = 6, *, built: bool = False) -> Case:
    """Case number `seed`: the first graph of its row that has a cycle if `seed` is odd, or else none.

    It has few PEs, and mostly short queues. `built`: the first that there is hardware for.
    """
    options = OPTIONS[seed // 2 % len(OPTIONS)]
    row = (graph(1000 * seed + number, options) for number in range(1000))
    made = next(
        one for one in row if has_cycle(one) == bool(seed % 2) and not (built and refusal(one) is not None)
    )  # fmt: skip
    generator = np.random.default_rng([seed, 9])
    return Case(
        made,
        frames(made, count, seed),
        tuple(int(pes) for pes in generator.choice([1, 2, 3, 4], len(made.populations))),
        int(generator.choice([1, 2, 4])),
        *depths(seed, int(generator.integers(2, 10)), int(generator.choice([LEAST, LEAST, LEAST, 3, 6]))),
    )
