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
        ("usual beyond the set", "return min(whole, usual or whole)", "return usual or whole", "frames that are none"),
        ("first bytes ignored", 'return head in (b"\\0\\0", b"\\x1f\\x8b")', "return False", "IDX files are refused"),
    ),
}
KIT = tuple(Mutant(name, file, *fault) for file, faults in _FAULTS.items() for name, *fault in faults)
