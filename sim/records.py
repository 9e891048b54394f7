"""The records between Python and the C++ driver, with one definition for both sides.

Each record is a NumPy dtype; `header` writes the same fields as C++ structs, in `records.h`. All numbers are
little-endian.
"""

from __future__ import annotations

import numpy as np


def _integers(names: str) -> np.dtype:
    return np.dtype([(name, "<i8") for name in names.split()])


# Parameters of a run. `first`: number of the first frame, for messages. `words`: of a packet. `beats`: input beats
# recorded of a frame, 0 for no times of beats. `ahead`: frames by which a core may be ahead of the input; if there
# are any, cores may also come after the packet. `early`: a packet may leave before its frame is in. `stall_in`,
# `stall_out`: probability in 65536ths. `gap`: cycles without a beat or a row before each frame but the first, -1 for
# back to back. `patience`: cycles without progress after which a run ends. `wave`: an open descriptor for a VCD file
# of the cycles `wave_first` to `wave_last`, after which the run ends; -1 for none. Then the confinement: see
# `sim/confinement.py`.
SETUP = _integers(
    "nonce frames first words steps layers compare record beats ahead early seed stall_in stall_out gap patience "
    "wave wave_first wave_last "
    "parent confined memory seconds output cycle_seconds"
)
# One layer: its size, the rows of a scan, its processing elements, bits of a membrane. `slots` follow, int32
# `[rows, pes]`: neuron or -1.
LAYER = _integers("neurons rows pes bits")
# The head of a frame's result; the words of the packet follow as int64, then times and traces if asked for.
RESULT = _integers("first_beat last_beat packet user")
# How the run ended. `kind` is an index into `KINDS`; the fields from `frame` on belong to a difference. `walls`: a bit
# for each of `WALLS` that is in force. `seen`: the cycle of the difference or fault, -1 if it has none.
VERDICT = np.dtype(
    [
        *_integers("nonce kind frames cycles spikes membranes walls").descr,
        *_integers("frame step layer neuron quantity expected got seen").descr,
        ("message", "S256"),
    ]
)
# `failed`: not the design's fault, the run could not be done. `recorded`: the wave is complete.
KINDS = ("done", "difference", "fault", "failed", "recorded")
QUANTITIES = ("spike", "membrane")
WALLS = ("limits", "network", "files", "calls")

_RECORDS = {"Setup": SETUP, "LayerHead": LAYER, "ResultHead": RESULT, "VerdictRecord": VERDICT}
_TYPES = {"<i8": "int64_t {};", "|S256": "char {}[256];"}


def header() -> str:
    """Text of `records.h`: the records as structs, `KINDS`, `QUANTITIES` and `WALLS` as constants."""
    lines = ["#pragma once", "#include <cstdint>"]
    for name, dtype in _RECORDS.items():
        assert dtype.names is not None
        fields = " ".join(_TYPES[dtype[field].str].format(field) for field in dtype.names)
        lines.append(f"struct {name} {{ {fields} }};")
        lines.append(f'static_assert(sizeof({name}) == {dtype.itemsize}, "{name} is packed");')
    for prefix, names in (("KIND", KINDS), ("QUANTITY", QUANTITIES)):
        lines += [f"constexpr int64_t {prefix}_{name.upper()} = {index};" for index, name in enumerate(names)]
    lines += [f"constexpr int64_t WALL_{name.upper()} = {1 << index};" for index, name in enumerate(WALLS)]
    return "\n".join(lines) + "\n"


def record(dtype: np.dtype, **fields: int) -> bytes:
    """One record with all of its fields given by name."""
    assert dtype.names is not None
    if set(fields) != set(dtype.names):
        raise ValueError(f"fields differ: {sorted(set(fields) ^ set(dtype.names))}")
    return np.array(tuple(fields[name] for name in dtype.names), dtype=dtype).tobytes()
