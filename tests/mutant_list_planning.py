"""Single faults in what places a network and tells of it: planning, headers, pages, sampled frames, notes, the host."""

from __future__ import annotations

from mutant import Mutant

_FAULTS = {
    "rtl/header.py": (
        ("command on two lines", "' '.join(command.split())", "command", "the header ends inside the command"),
        (
            "header without end",
            'verilog[:LONGEST].split("\\n")[:LINES]',
            "[verilog]",
            "comments of the design are read",
        ),
        (
            "placement unread",
            'fields["placement"] = Placement.from_line(fields["placement"])',
            'del fields["placement"]',
            "the file tells none",
        ),
        (
            "other network untold",
            "header.network != mapping.network.digest",
            "not header.network",
            "any network's file",
        ),
        ("other rates untold", "header.mapping != mapping.digest", "not header.mapping", "neurons that sit elsewhere"),
        (
            "other version untold",
            "if header.version != __version__:",
            "if not header.version:",
            "what differs is guessed",
        ),
        (
            "one difference is none",
            "    if found:\n        raise",
            "    if len(found) > 1:\n        raise",
            "one is let pass",
        ),
    ),
    "rtl/planning.py": (
        ("input not waited for", "bound = max(beats, *(", "bound = max((", "more PEs than the input feeds"),
        (
            "first layer not waited for",
            "bound = max(bound, _cycles(",
            "bound = min(bound, _cycles(",
            "others are too fast",
        ),
        ("no spare PEs", "load.synaptic * (spare if index else 1.0)", "load.synaptic", "bursts of spikes are not met"),
        (
            "scans of one step",
            "max(load.synaptic * rows / load.neurons, rows * steps)",
            "max(load.synaptic * rows / load.neurons, rows)",
            "the scans of the other steps",
        ),
        (
            "queues without memory",
            "layer.pes + 1 if device.queues_in_ram else 0",
            "0",
            "a design does not fit after all",
        ),
        (
            "loading without memory",
            "for layer in mapping.layers) + loads",
            "for layer in mapping.layers)",
            "words to load are not counted",
        ),
        (
            "wide words in LUTs",
            "if memory.words > words or memory.bits > bits:",
            "if memory.words > words:",
            "wide memories count as LUTs",
        ),
        ("multiplied bits", "layer.pes * layer.multipliers", "layer.multipliers", "multipliers of one PE are counted"),
        ("wide memories of any depth", "wide = device.wide_rams + 1", "pass", "a layer that a wide memory cannot hold"),
        ("the whole device", "taken <= share * available", "taken <= available", "no share is left free"),
        ("the fastest plan", "* (1 + NEARLY)", "* 1", "many PEs for a few cycles"),
        (
            "synapses in small memories",
            "strided = (0,) if device.wide_rams else ()",
            "strided = ()",
            "wide memories unused",
        ),
    ),
    "rtl/c_header.py": (
        ("bits by number", "0x{1 << i:X}u", "0x{i:X}u", "a mask is the number of its bit"),
        (
            "offsets in words",
            "0x{register.address:02X}u",
            "0x{register.address // 4:02X}u",
            "registers count, not bytes",
        ),
        ("header included twice", '"#ifndef {PREFIX}_REGS_H"', '"#undef {PREFIX}_REGS_H"', "no include guard"),
        ("errors exchanged", '("short_or_address", "long")', '("long", "short_or_address")', "the bits' names"),
        ("status exchanged", '("packet_waits", "frame_begun")', '("frame_begun", "packet_waits")', "the bits' names"),
        ("map of no layers", "require(layers >= 1", "require(layers >= 0", "a header for nothing"),
    ),
    "rtl/interface.py": (
        (
            "directions exchanged",
            '"in" if member.flow == In else "out"',
            '"out" if member.flow == In else "in"',
            "in and out",
        ),
        ("page always current", "return int(not current)", "return 0", "an old page passes"),
        ("page not written", 'if "--write" in arguments:', 'if "--write" not in arguments:', "asking renews the page"),
        ("clock unlisted", '*((name, "in", 1) for name in CLOCK), *made', "*made", "ports that the page leaves out"),
    ),
    "sim/sampling.py": (
        (
            "frames all as busy",
            "SPREAD * generator.standard_normal",
            "0 * generator.standard_normal",
            "queues never fill",
        ),
        ("busier than the rates", "activity /= activity.mean()", "activity *= 1 + SPREAD", "plans for more events"),
        ("rates of a step", "rate / steps * activity", "rate * activity", "as many events in each step"),
        (
            "windows side by side",
            ": height * size : size, : width * size : size",
            ":height, :width",
            "other windows fire",
        ),
        ("one seed", "default_rng(seed)", "default_rng(0)", "every seed gives the same"),
    ),
    "gradrtl/steps/place.py": (
        (
            "stored placement ignored",
            "base = network.placement or Placement(",
            "base = Placement(",
            "defaults for the file's",
        ),
        ("options of a device ignored", "    base = wanted.over(base)\n", "", "what is asked is dropped"),
        (
            "planned over what is asked",
            "if wanted.pes is not None:\n        return",
            "if wanted.pes is not None and wanted.device is None:\n        return",
            "a device's plan replaces the PEs",
        ),
        (
            "part of a beat",
            "return loads, -(-prod(network.inputs[0].shape) // max(1, pixels_a_beat))",
            "return loads, prod(network.inputs[0].shape) // max(1, pixels_a_beat)",
            "the last beat is not counted",
        ),
        (
            "auto over numbers",
            "return numbers + filled[len(numbers) :]",
            "return filled",
            "auto replaces given numbers",
        ),
        (
            "auto without the first",
            "numbers[0] if numbers else None",
            "None",
            "others keep up with a first layer that is not there",
        ),
        (
            "given PEs dropped",
            "            if wanted.pes is not None:\n                raise\n",
            "",
            "others than asked are told of",
        ),
        (
            "rates of all images",
            "values[:RATE_IMAGES] for",
            "values for",
            "minutes for 60,000",
        ),
        ("silent without rates", "np.ones(edge.sources)", "np.zeros(edge.sources)", "one PE for everything"),
        ("single frames free", " + apart.latency.mean())", ")", "plans for a stream alone"),
        ("resources that are full", "all(taken <= there for", "all(taken < there for", "what just fits does not"),
    ),
    "gradrtl/steps/notes.py": (
        (
            "a class too many",
            "require(largest < network.classes",
            "require(largest <= network.classes",
            "label 10 of 10",
        ),
        ("nearly one class", "if fraction < ONE_CLASS or", "if fraction <= ONE_CLASS or", "95 % get no note"),
        ("one class as labelled", " or expected >= ONE_CLASS:", ":", "a note on right answers"),
        ("few images judged", "if len(classes) < FEWEST_IMAGES:", "if not len(classes):", "one image is one class"),
        ("silent output", "if len(classes) and not sums.any():", "if not len(classes):", "sums of 0 get no note"),
        (
            "wrong layer silent",
            "{source} has gone silent",
            "{title} has gone silent",
            "the layer after is named",
        ),
        ("energy below", "if energy <= dense:", "if energy >= dense:", "a note on every good network"),
    ),
    "gradrtl/host.py": (
        (
            "session 0",
            "return 1 + secrets.randbelow((1 << SESSION_BITS) - 1)",
            "return secrets.randbelow(1 << SESSION_BITS)",
            "a board's state after reset",
        ),
        (
            "session kept in silence",
            "if attempts % REOPENED == 0:",
            "if False:",
            "a session that was taken is never reopened",
        ),
        (
            "repeated over a turn",
            "if _turn(self._used) != _turn(self._used + len(lost) - 1):",
            "if False:",
            "frames of two turns after a new session",
        ),
        (
            "silences add up",
            "attempts, deadline = 0, self._deadline",
            "deadline = self._deadline",
            "a long run on a bad line ends",
        ),
        ("strangers unsaid", "if self.statistics.stale:", "if False:", "another program on the line is not told"),
        (
            "version of another answer",
            "and (packet.sequence ^ request.sequence) & 0xFF == 0:",
            "and True:",
            "garbage ends the run",
        ),
        ("deadline without bytes", "bytes_due = 2 * sum(", "bytes_due = 0 * sum(", "slow lines are asked too soon"),
    ),
}
PLANNING = tuple(Mutant(name, file, *fault) for file, faults in _FAULTS.items() for name, *fault in faults)
