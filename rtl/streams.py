"""Payloads of the streams between the parts of the accelerator (`amaranth.lib.stream`: valid, ready, payload)."""

from __future__ import annotations

from amaranth.hdl import ShapeLike, unsigned
from amaranth.lib import data, stream

from .mapping import Mapping


def event_layout(address_bits: int, value: ShapeLike) -> data.StructLayout:
    """One event, or one end-of-step token.

    `source` is an address in the scan order of the producer; `value` is a pixel, a 1, or a membrane. With
    `end` set the event is a token: source and value have no meaning, and `bad` says that the frame was malformed.
    """
    return data.StructLayout({"source": address_bits, "value": value, "end": 1, "bad": 1})


def source_layout(address_bits: int, value: ShapeLike, is_mixed: bool) -> data.StructLayout:
    """`event_layout` of what comes from a network's inputs.

    If it has static inputs beside others (`is_mixed`), `held` says that an event or a token is of the static ones.
    """
    event = event_layout(address_bits, value)
    return data.StructLayout(event.members | {"held": 1}) if is_mixed else event


def source_signature(mapping: Mapping) -> stream.Signature:
    """Stream of the inputs' events."""
    return stream.Signature(source_layout(mapping.source_bits, unsigned(mapping.value_bits), mapping.input.is_mixed))


def row_layout(row_bits: int, lanes: int, value: ShapeLike) -> data.StructLayout:
    """Up to `lanes` events of a row: lane `i` of row `r` has the address `r * 2**ceil(log2(lanes)) + i`.

    `mask` marks the lanes with an event; `end` says that a token follows.
    """
    return data.StructLayout(
        {"row": row_bits, "mask": lanes, "values": data.ArrayLayout(value, lanes), "end": 1, "bad": 1}
    )


def credit_layout() -> data.StructLayout:
    """Credits that return from a row queue: `loaded`, for a row that left it; `empty`, for one without events."""
    return data.StructLayout({"loaded": 1, "empty": 1})


def beat_layout(lanes: int, index_bits: int) -> data.StructLayout:
    """One input beat: `lanes` 8-bit pixels, its number in the frame, `last` of its frame, `bad` if malformed.

    A frame has exactly one beat with `last`; `bad` counts on that beat alone.
    """
    return data.StructLayout({"pixels": data.ArrayLayout(8, lanes), "index": index_bits, "last": 1, "bad": 1})
