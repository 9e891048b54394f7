"""The header comment of a generated Verilog file: written and read here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .. import __version__
from ..errors import UserError
from ..quantize.frontend import FrontEnd
from ..quantize.placement import Placement
from .mapping import Mapping

LINES, LONGEST = 20, 10_000  # lines and characters in which the header must end


@dataclass(frozen=True)
class Header:
    """The fields of a Verilog header; empty or None if missing.

    Digests in hexadecimal: `network`'s, `mapping`'s with its placement, and `front_end`'s, of settings, where the file
    takes samples. Files of version 0.1 have no `placement`.
    """

    version: str = ""
    network: str = ""
    mapping: str = ""
    placement: Placement | None = None
    front_end: str = ""
    command: str = ""


def write(mapping: Mapping, command: str, front_end: FrontEnd | None = None) -> str:
    """The header of a file made from `mapping`, and of a `front_end` before it, by `command`."""
    sound = () if front_end is None else (f"front end: {front_end.digest}",)
    return "".join(
        f"// {line}\n"
        for line in (
            f"GradRTL {__version__}: sparse event-driven accelerator for a spiking neural network.",
            f"network: {mapping.network.digest}",
            f"mapping: {mapping.digest}",
            f"placement: {mapping.placement.line}",
            *sound,
            f"memory bits: {mapping.memory_bits}",
            f"command: {' '.join(command.split())}",
        )
    )


def read(verilog: str) -> Header:
    """The header of a Verilog text; missing fields are empty. Raises `UserError` if its placement is damaged."""
    text = "\n".join(verilog[:LONGEST].split("\n")[:LINES])
    found = re.findall(r"^// (network|mapping|placement|front end|command): (.*?)\s*$", text, re.M)
    fields = {name.replace(" ", "_"): value for name, value in found}
    if "placement" in fields:
        fields["placement"] = Placement.from_line(fields["placement"])
    version = re.search(r"^// GradRTL (\S+?):", text, re.M)
    return Header(version=version[1] if version else "", **fields)


def differences(header: Header, mapping: Mapping, front_end: FrontEnd | None = None) -> list[str]:
    """The differences between the file with `header` and `mapping`, with a `front_end` or without, as texts; empty if
    there are none.
    """
    found = []
    if header.front_end and front_end is None:
        found.append("it takes samples, which gradrtl hear sends")
    if front_end is not None and header.front_end != front_end.digest:
        found.append("its front end has other settings" if header.front_end else "it takes events, expected samples")
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


def check(header: Header, mapping: Mapping, front_end: FrontEnd | None = None) -> None:
    """Raise `UserError` with the `differences` unless the file with `header` was made from `mapping`."""
    found = differences(header, mapping, front_end)
    if found:
        raise UserError(f"the Verilog does not belong to this network and placement: {'; '.join(found)}")


def _shown(value: object) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
