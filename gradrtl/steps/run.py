"""A run: a folder of artifacts, made by steps, and a manifest of what each was made from.

A step runs again if its file is missing or altered, or if its settings, its inputs, or the sources or libraries that it
depends on have changed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cache import libraries, sources
from ..files import write_text


@dataclass(frozen=True)
class Step:
    """One artifact of a run.

    Attributes
    ----------
    name, file
        Of the step, and of the file that it writes into the run's folder.
    settings
        JSON values that determine the result.
    inputs
        Files that are read.
    packages
        Modules and packages whose sources determine the result.
    work
        Writes the file, and returns the step's figures, JSON values.
    also
        Other files that it writes.
    """

    name: str
    file: str
    settings: dict[str, Any]
    inputs: tuple[Path, ...]
    packages: tuple[str, ...]
    work: Callable[[], dict[str, Any]]
    also: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return (self.file, *self.also)


class Run:
    """The folder of a run, and `manifest.json` in it. A damaged manifest counts as missing.

    What the manifest says of the whole run, and the report of it, are those of a complete run: they are removed as soon
    as a step runs again.
    """

    NAME, REPORT = "manifest.json", "report.html"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / self.NAME
        self.manifest: dict[str, Any] = {"steps": {}}
        try:
            kept = json.loads(self.path.read_text() if self.path.is_file() else "")
            steps = {name: step for name, step in kept["steps"].items() if isinstance(step["figures"], dict)}
            self.manifest = kept | {"steps": steps}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass

    def do(self, step: Step, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
        """Run `step` unless its file exists and was made from the same inputs; returns its figures."""
        outputs = [self.folder / name for name in step.files]
        made_from = {
            "settings": step.settings,
            "inputs": [sha256(path) for path in step.inputs],
            "sources": sources(*step.packages),
            "libraries": libraries(),
        }
        kept = self.manifest["steps"].get(step.name, {})
        whole = all(output.is_file() for output in outputs)
        if whole and kept.get("from") == made_from and kept.get("output") == [sha256(output) for output in outputs]:
            say(f"{step.name}: unchanged, {outputs[0]}")
            return kept["figures"]
        say(f"{step.name} ...")
        self._begin()
        start = time.monotonic()
        figures = step.work()
        self.manifest["steps"][step.name] = {
            "from": made_from,
            "output": [sha256(output) for output in outputs],
            "file": step.file,
            "seconds": round(time.monotonic() - start, 1),
            "figures": figures,
        }
        self.write()
        return figures

    def _begin(self) -> None:
        """Remove what was said of the whole run: if this process is killed, the folder counts as incomplete."""
        if self.manifest.keys() != {"steps"}:
            self.manifest = {"steps": self.manifest["steps"]}
            self.write()
        (self.folder / self.REPORT).unlink(missing_ok=True)

    def write(self) -> None:
        """Write the manifest."""
        write_text(self.path, json.dumps(self.manifest, indent=1, sort_keys=True) + "\n")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
