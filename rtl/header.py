"""The header comment of a generated Verilog file: written and read here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .. import __version__
from ..errors import UserError
from ..quantize.placement import Placement
from .mapping import Mapping

LINES, LONGEST = 20, 10_000  # lines and characters in which the header must end


@dataclass(frozen=True)
class Header:
    """The fields of a Verilog header; empty or None if missing.

    Digests in hexadecimal: `network`'s, and `mapping`'s with its placement. Files of version 0.1 have no `placement`.
    """

    version: str = ""
    network: str = ""
    mapping: str = ""
    placement: Placement | None = None
    command: str = ""


def write(mapping: Mapping, command: str) -> str:
    """The header of a file made from `mapping` by `command`."""
    return "".join(
        f"// {line}\n"
        for line in (
            f"GradRTL {__version__}: sparse event-driven accelerator for a spiking neural network.",
            f"network: {mapping.network.digest}",
            f"mapping: {mapping.digest}",
            f"placement: {mapping.placement.line}",
            f"memory bits: {mapping.memory_bits}",
            f"command: {' '.join(command.split())}",
        )
    )


def read(verilog: str) -> Header:
    """The header of a Verilog text; missing fields are empty. Raises `UserError` if its placement is damaged."""
    text = "\n".join(verilog[:LONGEST].split("\n")[:LINES])
    fields = dict(re.findall(r"^// (network|mapping|placement|command): (.*?)\s*$", text, re.M))
    if "placement" in fields:
        fields["placement"] = Placement.from_line(fields["placement"])
    version = re.search(r"^// GradRTL (\S+?):", text, re.M)
    return Header(version=version[1] if version else "", **fields)


def differences(header: Header, mapping: Mapping) -> list[str]:
    """The differences between the file with `header` and `mapping`, as texts; empty if there are none."""
    found = []
    if header.network and header.network != mapping.network.digest:
        found.append(
            f"the file was made from network {header.network[:12]}, the one given is {mapping.network.digest[:12]}"
        )
    if header.placement is not None and header.placement != mapping.placement:
        for name in Placement.__dataclass_fields__:
            theirs, ours = getattr(header.placement, name), getattr(mapping.placement, name)
            if theirs != ours:
                found.append(f"{name} is {_shown(theirs)} in the file, {_shown(ours)} is asked for")
    if not found and header.mapping and header.mapping != mapping.digest:
        if header.version != __version__:
            found.append(f"the file was made by version {header.version or 'unknown'}, this is {__version__}")
        if header.placement is None:
            found.append("the file does not tell its placement; give the options with which it was made")
        else:
            found.append("its neurons sit elsewhere: it was made with other event rates than the network file has now")
    return found


def check(header: Header, mapping: Mapping) -> None:
    """Raise `UserError` with the differences unless the file with `header` was made from `mapping`."""
    found = differences(header, mapping)
    if found:
        raise UserError(f"the Verilog does not belong to this network and placement: {'; '.join(found)}")


def _shown(value: object) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
