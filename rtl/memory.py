"""Memory ports with names of their own.

Amaranth takes a port's name from the bytecode of its caller, so that it differs from one Python to the next.
"""

from __future__ import annotations

from amaranth.lib.memory import Memory, ReadPort, WritePort


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
