"""Random graphs that there is hardware for, with their placements and frames."""

from __future__ import annotations

import numpy as np
from random_cases import Case
from random_graphs import SMALL, graph
from random_networks import Options, frames

from gradrtl.errors import UserError
from gradrtl.rtl.mapping import map_network


def case(seed: int, options: Options = SMALL, count: int = 6) -> Case:
    """Case number `seed`: the first graph of its row that there is hardware for, on few PEs with short queues."""
    for number in range(1000):
        made = graph(1000 * seed + number, options)
        generator = np.random.default_rng([seed, 9])
        one = Case(
            made,
            frames(made, count, seed),
            tuple(int(pes) for pes in generator.choice([1, 2, 3, 4], len(made.populations))),
            int(generator.choice([1, 2, 4])),
            int(generator.integers(2, 10)),
            int(generator.integers(2, 6)),
        )
        try:
            map_network(made, one.pes)
        except UserError:
            continue
        return one
    raise AssertionError("no graph of a thousand")
