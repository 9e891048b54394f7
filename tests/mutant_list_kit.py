"""Single faults in what hands frames and hardware to others: loaders of frames, waves, packages."""

from __future__ import annotations

from mutant import Mutant

_FAULTS = {
    "quantize/frames.py": (
        ("any order of axes", "frames.shape[1:] in shapes, f", "frames[0].size == prod(shapes[0]), f", "axes swapped"),
        ("values cut to a byte", "for what, value in (", "for what, value in () and (", "256 becomes 0"),
        ("fractions cut", 'require(frames.dtype.kind in "bui"', 'require(frames.dtype.kind in "buif"', "0.9 becomes 0"),
    ),
    "gradrtl/steps/frames.py": (
        ("too few labels", "len(labels) == number_of(found)", "True", "labels of other frames are compared"),
        ("labels of all", "else labels[:count]", "else labels", "more labels than frames"),
        ("gzipped files ignored", ', b"\\x1f\\x8b")  # starts', ")  # starts", "gzipped IDX files are refused"),
        (
            "arrays in any order",
            "zip(network.inputs, arrays, strict=True)",
            "zip(network.inputs, arrays[::-1], strict=True)",
            "frames of one input become those of another",
        ),
        ("one name for all", 'f"frames of {given.name}" if several else "frames"', '"frames"', "no input is named"),
    ),
    "gradrtl/steps/named_arrays.py": (
        ("more arrays than inputs", "found == sorted(names) and", "set(found) >= set(names) and", "others are ignored"),
        ("large contents", "and size <= LARGEST", "", "a small file that unpacks to a large one is read"),
        ("members of any kind", 'raise TypeError("no array")', "pass", "bytes are taken for an array"),
    ),
    "gradrtl/steps/picture.py": (
        (
            "lines by their looks",
            "@dataclass(eq=False)",
            "@dataclass",
            "connections that look alike end in a traceback",
        ),
        (
            "rows in the order of the file",
            "for number in network.order:",
            "for number in range(len(network.populations)):",
            "a connection without delay leads upwards",
        ),
        (
            "loops on the right",
            "-1 if down <= 0 else int(down > 1)",
            "int(down != 1)",
            "what comes back is not told apart",
        ),
        ("delays as others", "title, given.delay > 0,", "title, False,", "connections with a delay are not dashed"),
        ("one lane for all", "number = next(free, len(taken))", "number = 0", "lines of several sources in one lane"),
        (
            "names as markup",
            "{escape(_short(name, LONGEST))}",
            "{_short(name, LONGEST)}",
            "a name becomes part of the SVG",
        ),
        ("no text", 'escape("\\n".join(drawing(network)))', "''", "no text for screen readers"),
        ("one track for all", "own.index(track))", "0)", "horizontal lines on top of each other"),
    ),
    "gradrtl/steps/explore.py": (
        (
            "cycles of other frames",
            "[1][: of.images])",
            "[1][-of.images :])",
            "the last images are timed, not the first",
        ),
    ),
    "rtl/contents.py": (
        ("any memory file", "not all(DIGITS.fullmatch(word) for word in words)", "False", "code from a memory file"),
        ("escaped memory names", ' + " " * line[2].startswith("\\\\")', "", "an escaped name swallows what follows"),
        ("all words but one", "0, {len(words) - 1});", "0, {len(words) - 2});", "the last word is not read"),
    ),
    "rtl/wrapper.py": (
        (
            "active in reset",
            "= inner_{port.name} & {RESET_PORT}{closed};",
            "= inner_{port.name}{closed};",
            "valid during reset",
        ),
        ("reset active high", '".rst(~aresetn)"', '".rst(aresetn)"', "the reset is active high"),
        ("missing pixels unseen", "spoilt = s_axis_tlast & at_end & lacks;", "spoilt = 0;", "no flag for lost pixels"),
        ("noise for pixels", "{{8{{keep[{lane}]}}}}", "{{8{{1'b1}}}}", "a pixel that is not kept is not 0"),
        ("padding needed", "= at_end ? {lanes}'d{tail} : {ones};", "= {ones};", "padding has to be kept"),
        (
            "earlier pixels forgotten",
            "lacks = lacking | |(",
            "lacks = |(",
            "the last beat alone counts",
        ),
        ("beat swallowed", '" & ~closing" if port', '"" if port', "the next frame's first beat is lost"),
        (
            "lacking over reset",
            '"      lacking <= 0;",',
            '"      lacking <= lacking;",',
            "flagged after reset",
        ),
        ("words in part", "whole ? s_axis_tdata :", "1'b1 ? s_axis_tdata :", "an address of which bytes are missing"),
        ("TKEEP of words always", "{PARAMETER} ? &s_axis_tkeep : 1'b1;", "&s_axis_tkeep;", "USE_TKEEP is ignored"),
        ("TKEEP of pixels always", "{PARAMETER} ? s_axis_tkeep : {ones};", "s_axis_tkeep;", "USE_TKEEP is ignored"),
    ),
    "gradrtl/steps/package.py": (
        ("last beat unmarked", "index == len(words) - 1", "index == len(words)", "no TLAST in the bench"),
    ),
    "gradrtl/steps/ipxact.py": (
        ("open TKEEP is 0", 'if port.signal == "TKEEP" else 0', "if False else 0", "no byte counts"),
        ("masters as slaves", "_node(one.mode, registers)", '_node("slave", registers)', "no result stream"),
        ("files of the dialogue", "[xgui()] if view == GUI else files", "files", "Vivado finds no dialogue"),
    ),
    "gradrtl/steps/vivado.py": (
        ("narrow memory", "max(32, data_bits)", "32", "the DMA's memory port is narrower than its stream"),
    ),
    "gradrtl/steps/litex.py": (
        (
            "words swapped",
            "for low in range(0, bits, WORD)]",
            "for low in range(bits - WORD, -1, -WORD)]",
            "high first",
        ),
        ("any beat", "require(8 * size >= WORD,", "require(True,", "beats that are no whole words"),
    ),
    "gradrtl/templates/package/litex_module.py": (
        ("bytes reversed", 'WishboneDMAReader(port(), endianness="big"', "WishboneDMAReader(port()", "pixels swapped"),
        ("packets dropped", "ready_on_idle=0", "ready_on_idle=1", "a packet before its writer is lost"),
    ),
    "gradrtl/templates/package/build.tcl.j2": (
        ("clock unmet", "if { $slack < 0 } {", "if { 0 } {", "a bitstream that misses its clock"),
        ("unclocked", "axi_dma/m_axi_s2mm_aclk gradrtl/aclk", "axi_dma/m_axi_s2mm_aclk", "no clock"),
    ),
    "gradrtl/templates/package/pynq_driver.py": (
        ("any network", 'if digest != FACTS["digest"]:', "if False:", "a bitstream of another network"),
        ("errors unseen", "        if errors:", "        if False:", "malformed frames are not told"),
        ("old errors", '["registers"]["errors"], 3)', '["registers"]["errors"], 0)', "errors of earlier frames"),
        (
            "graded as spikes",
            '(frames, FACTS["input"] == "graded", dropped)',
            "(frames, False, dropped)",
            "counts are lost",
        ),
        ("whole buffer", "transfer(buffer, nbytes=len(data))", "transfer(buffer)", "rests of longer frames are sent"),
        ("memory kept", "            buffer.freebuffer()\n", "", "contiguous memory runs out"),
        ("no end", "if time.monotonic() > deadline:", "if False:", "it waits for ever"),
    ),
    "gradrtl/steps/kit.py": (
        ("any part", "require(part is not None,", "require(True,", "code in the script by its part"),
        (
            "classes of the first alone",
            "outcome.decided, outcome.counts",
            "outcome.decided[:, [0] * len(kit.network.readouts)], outcome.counts",
            "the bench expects the class of the first read-out for all",
        ),
    ),
    "sim/waves.py": (
        (
            "marker out of view",
            "time_of(wave.marked - BEFORE)",
            "0",
            "GTKWave shows the begin of the window, not the difference",
        ),
        (
            "dividers of several words",
            're.sub(r"\\W+", "_", name)',
            "name",
            "Surfer refuses the name of a core as a divider",
        ),
        ("another share", "found.shares, frame, side", "found.shares, frame + 1, side", "frames of another driver"),
        ("stalls of another share", "stalls=stalls.of_part(moment.number)", "stalls=stalls", "another run is recorded"),
        ("aliases apart", "alias = handles.get(one.code, 0)", "alias = 0", "wires of one net lack their values in FST"),
        ("short values", 'value.rjust(bits[code], "0" if', 'value.ljust(bits[code], "0" if', "values shifted in FST"),
        ("scopes stay open", "for _ in open_scopes[same:]:", "for _ in open_scopes[same + 1 :]:", "other paths in FST"),
    ),
}
KIT = tuple(Mutant(name, file, *fault) for file, faults in _FAULTS.items() for name, *fault in faults)
