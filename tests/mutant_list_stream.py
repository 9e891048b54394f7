"""Single faults in streams, which have no frames; see `mutant.py`."""

from __future__ import annotations

from mutant import Mutant

STREAM = tuple(
    Mutant(name, file, old, new, does)
    for file, faults in {
        "quantize/network.py": (
            (
                "digest of one step",
                "framed = replace(self, steps=self.frame_steps",
                "framed = replace(self, steps=1",
                "a stream is another network",
            ),
            (
                "membranes without bound",
                "require(ranges.settled,",
                "require(True,",
                "widths of some steps are those of all",
            ),
            ("widths of one step", "None if self.stream else self.steps", "self.steps", "membranes of a stream wrap"),
        ),
        "quantize/placement.py": (
            (
                "stream not in the header",
                'for name in ("stream", "cancel") if getattr',
                'for name in ("cancel",) if getattr',
                "the header does not tell a stream",
            ),
        ),
        "sim/kernels.py": (
            (
                "counts of all steps",
                "        block.sums[:] = 0\n        _turn(program, block, begin",
                "        _turn(program, block, begin",
                "spikes are counted from the beginning on",
            ),
            (
                "each piece begins anew",
                "    if begin == 0:\n        _start(",
                "    if begin >= 0:\n        _start(",
                "state is lost between calls",
            ),
            (
                "delays of a piece",
                "_turn(program, block, begin + step)",
                "_turn(program, block, step)",
                "what is late is read where it is not",
            ),
        ),
        "sim/reference.py": (
            ("largest of a step", '"largest": until', '"largest": own', "the largest membrane of one step"),
        ),
        "sim/operations.py": (
            (
                "arrivals of a block",
                "kept.get(number, np.zeros(",
                "kept.get(-1, np.zeros(",
                "what arrives with the next block is not counted",
            ),
        ),
        "rtl/pruning.py": (
            (
                "pruned by one step",
                "steps = None if network.stream else network.steps",
                "steps = network.steps",
                "a neuron that fires late is not there",
            ),
        ),
        "rtl/issue.py": (
            (
                "every step is the first",
                "following = Const(1) if self.steps is None",
                "following = Const(0) if self.steps is None",
                "a stream forgets",
            ),
            (
                "rows masked in a stream",
                "if edge.delay and self.steps:",
                "if edge.delay:",
                "there is no stream with a delay",
            ),
        ),
        "rtl/edge.py": (
            (
                "late input masked in a stream",
                "& ~event.end if self.steps else Const(0)",
                "& ~event.end",
                "late events are lost",
            ),
        ),
        "rtl/largest.py": (
            ("largest forgets", "Mux(first | (difference > 0), value, read.data)", "value", "the membrane of the step"),
            ("first for ever", "m.d.sync += first.eq(0)", "m.d.sync += first.eq(1)", "no largest membrane is kept"),
        ),
        "rtl/readout.py": (
            (
                "number goes on after a reset",
                "m.d.sync += number.eq(0)",
                "m.d.sync += number.eq(number)",
                "steps are counted through a reset",
            ),
            (
                "number of the next step",
                "number_sending.eq(number)",
                "number_sending.eq(number + 1)",
                "steps count from 1 on",
            ),
            (
                "number sent twice",
                "number_sent.eq(~self.packets.payload.last)",
                "number_sent.eq(1)",
                "one packet alone has its number",
            ),
        ),
        "rtl/framing.py": (
            (
                "mark without last",
                "last.eq(self.beats.payload.last | mark)",
                "last.eq(self.beats.payload.last)",
                "a step needs a packet of its own",
            ),
            (
                "rest of a step is kept",
                "m.d.sync += dropping.eq(self.open)",
                "m.d.sync += dropping.eq(0)",
                "after a reset the rest of a step is one",
            ),
        ),
        "rtl/top.py": (
            (
                "queue outlives a reset",
                "ResetInserter(abort)(taken) if self.mapping.steps is None else taken",
                "taken",
                "beats from before a reset come after it",
            ),
            (
                "steps begun as frames",
                "ends |= self.s_axis_tdata[MARK_BIT]",
                "ends |= 0",
                "steps in one packet count as one",
            ),
        ),
        "sim/timing/graph.py": (
            (
                "masks in a stream",
                "step >= work.steps - delay and not work.unmasked",
                "step >= work.steps - delay",
                "late events take no time",
            ),
        ),
        "sim/timing/readout.py": (
            (
                "number takes no time",
                "number + 1 + (numbered and i == 0)",
                "number + 1 + (numbered and i == 1)",
                "a packet of a stream is a beat short",
            ),
        ),
        "sim/verify.py": (
            (
                "numbers are not compared",
                'return Difference(frame, "number", int(expected[frame]), int(got[frame])) if unequal.any() else None',
                "return None",
                "a wrong number is not seen",
            ),
        ),
        "rtl/outputs.py": (
            (
                "number among the sums",
                "[*range(self.numbered), *self.firsts[:-1]]",
                "[*self.firsts[:-1]]",
                "a step's number is taken for a sum",
            ),
        ),
        "gradrtl/steps/streaming.py": (
            (
                "steps of one frame",
                'in ((1, "the steps"), (2, "the frames")):',
                'in ((1, "the steps"),):',
                "frames do not follow each other",
            ),
            (
                "any number of steps",
                "values[: _count(chosen, len(values), what)]",
                "values[: chosen.images]",
                "-1 images are all but the last, and 1000 those that are there",
            ),
            (
                "recordings as steps",
                " and not (has_events(path) or _is_recordings(path)):",
                ":",
                "a file of recordings is no file of frames in a stream",
            ),
            (
                "options for steps that are counted",
                "        chosen.counting.require_events(path)\n",
                "",
                "options of events are ignored for the steps of an array",
            ),
        ),
    }.items()
    for name, old, new, does in faults
)
