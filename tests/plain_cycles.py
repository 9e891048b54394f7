"""The timing model once more, in plain Python: numbers of any size, one PE after another, no base, no vectors.

Written from the docstrings of `rtl/`, with their numbers; only the work of the frames is taken from `Events`.
"""

from __future__ import annotations

import numpy as np

from gradrtl.rtl.mapping import LayerMapping, Mapping
from gradrtl.sim.events import Events

LONG_AGO = -(10**9)


class Queue:
    """When the newest `depth` entries left: an entry is taken in the cycle after the one `depth` before it left."""

    def __init__(self, depth: int):
        self.left = [LONG_AGO] * depth

    def space(self) -> int:
        return self.left[0] + 1

    def leave(self, cycle: int) -> None:
        self.left = [*self.left[1:], cycle]


class Core:
    def __init__(self, layer: LayerMapping):
        self.layer = layer
        self.queue = Queue(layer.queue_depth)
        self.taken = layer.rows  # both banks are cleared first
        self.moved, self.waited, self.free = ([LONG_AGO] * layer.pes for _ in range(3))
        self.released = [LONG_AGO, LONG_AGO]
        self.credits = [LONG_AGO] * layer.row_queue_depth
        self.issued = LONG_AGO

    def begin(self) -> None:
        """What comes next goes into a bank that is free from the cycle after its release on."""
        self.free = [max(free, self.released[0] + 1) for free in self.free]

    def take(self, offered: int, address: int | None) -> int:
        taken = self.taken = max(offered, self.taken + 1, self.queue.space())
        pops = []
        for p in range(self.layer.pes):
            cost = 1 if address is None else int(self.layer.counts[p, self.layer.lists[address]])
            pops.append(max(taken + 1, self.moved[p]))
            self.moved[p] = max(pops[-1] + 1, self.waited[p])
            if cost:
                self.waited[p] = max(self.moved[p] + 1, self.free[p])
                self.free[p] = self.waited[p] + cost
        self.queue.leave(max(pops))
        return taken

    def full(self) -> int:
        return max(self.waited) + (5 if self.layer.kernel is None else 7)

    def release(self) -> None:
        self.released = [self.released[1], self.issued + 2]


def times(
    mapping: Mapping,
    events: tuple[Events, ...],
    offered: np.ndarray | None = None,
    taken: np.ndarray | None = None,
) -> list[list[int]]:
    """First beat, last beat and result of each frame, as `Cycles` has them."""
    static, steps, classes = mapping.network.input.kind == "static", mapping.network.steps, mapping.network.classes
    cores = [Core(layer) for layer in mapping.layers]
    rows = [iter(_rows(sent)) for sent in events]
    beats, waiting, passed, beat = Queue(2), Queue(2), LONG_AGO, -1
    finished = [LONG_AGO] * len(events)
    output, sent, read = Queue(2), LONG_AGO, LONG_AGO  # `read`: a frame's last token, by the read-out
    is_largest = mapping.network.readout.kind == "largest"  # then the token has passed a stage in front of it
    is_first = mapping.network.readout.kind == "first"  # then the token of the first step with a spike counts
    found: list[list[int]] = [[], [], []]

    def next_beat(number: int, n: int) -> int:
        at = 0 if offered is None else int(offered[n, number])
        return max(beat + 1, beats.space(), at)

    held = LONG_AGO
    for n in range(len(events[0].counts)):
        number, decided, spiked = 0, False, False
        for t in range(steps):
            first = cores[0]
            if not static:
                first.begin()
                for address in [*next(rows[0]), None]:
                    beat = next_beat(number, n)
                    if number == 0:
                        found[0].append(beat)
                    number += 1
                    beats.leave(first.take(beat + 1, address))
            elif t == 0:
                first.begin()
                for r in range(mapping.beats):
                    beat = next_beat(r, n)
                    if r == 0:
                        found[0].append(beat)
                    passed = max(beat + 1, passed + 1, waiting.space())
                    beats.leave(passed)
                    row = [*next(rows[0]), *([None] if r == mapping.beats - 1 else [])]
                    if row:
                        left = max(passed + 1, finished[0])
                        waiting.leave(left)
                        for address in row:
                            left = first.take(left + 1, address)
                        finished[0] = left
            if not static or t == 0:
                held = first.full()
            full = held
            for index, core in enumerate(cores):
                behind = cores[index + 1] if index + 1 < len(cores) else None
                if behind is not None:
                    behind.begin()
                for r in range(core.layer.rows):
                    last_row = r == core.layer.rows - 1
                    row = [*next(rows[index + 1]), *([None] if last_row else [])]
                    core.issued = max(core.issued + 1, full + 1, min(core.credits))
                    core.credits.remove(min(core.credits))
                    current = core.layer.population.neuron.current
                    put_out = core.issued + (6 if current is not None and current.enters == "new" else 5)
                    if not row:
                        core.credits.append(put_out + 1)
                        continue
                    left = max(put_out + 1, finished[index + 1])
                    core.credits.append(left + 2)
                    for address in row:
                        left = max(left + 1, read) if behind is None else behind.take(left + 1, address)
                    spiked |= behind is None and row[0] is not None
                    ends = behind is None and last_row
                    if ends and not decided and (t == steps - 1 or (is_first and spiked)):
                        decided = True
                        read = max(left + is_largest, sent + 1)
                        left = left if is_largest else read
                    finished[index + 1] = left
                if index or not static or t == steps - 1:
                    core.release()
                if behind is not None:
                    full = behind.full()
        found[1].append(beat)
        sent = read + classes
        for b in range(classes + 1):
            sent = max(sent + 1, output.space())
            out = sent + 1 if taken is None else int(taken[n, b])
            output.leave(out)
        found[2].append(out)
    return found


def _rows(sent: Events) -> list[list[int]]:
    """Addresses of each row, frame after frame, step after step."""
    ends = np.cumsum(sent.counts.ravel(), dtype=np.int64)
    begins = np.concatenate([[0], ends[:-1]])
    return [sent.addresses[begin:end].tolist() for begin, end in zip(begins, ends, strict=True)]
