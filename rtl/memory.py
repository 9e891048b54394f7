"""Words of memories as Amaranth layouts; memory ports with names of their own.

Amaranth derives the name of a port from the bytecode of its caller, so it differs between versions of Python.
"""

from __future__ import annotations

from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory, ReadPort, WritePort

from .synapse_format import Word


def word_layout(word: Word) -> data.StructLayout:
    """The layout of `word`, field by field."""
    return data.StructLayout({field.name: (unsigned, signed)[field.signed](field.bits) for field in word.fields})


def read_port(memory: Memory, name: str, domain: str = "sync", transparent_for: tuple[WritePort, ...] = ()) -> ReadPort:
    """`memory.read_port()` with signals `<name>__addr`, `<name>__data`, `<name>__en`."""
    signature = ReadPort.Signature(addr_width=_address_bits(memory), shape=memory.shape)
    return ReadPort(signature, memory=memory, domain=domain, transparent_for=transparent_for, path=(name,))


def write_port(memory: Memory, name: str) -> WritePort:
    """`memory.write_port()` with signals `<name>__addr`, `<name>__data`, `<name>__en`."""
    signature = WritePort.Signature(addr_width=_address_bits(memory), shape=memory.shape)
    return WritePort(signature, memory=memory, domain="sync", path=(name,))


def _address_bits(memory: Memory) -> int:
    return (memory.depth - 1).bit_length()
