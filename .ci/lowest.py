"""The lowest declared version of each direct dependency, as constraints for pip: `make lowest`.

    python .ci/lowest.py core verify > constraints.txt

`core` is what the package always needs; the other names are extras of `pyproject.toml`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(groups: list[str]) -> list[str]:
    """Lines such as `numpy==1.26`, one for each dependency of `groups`."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = {"core": project["dependencies"], **project["optional-dependencies"]}
    lines = {}
    for group in groups:
        for requirement in extras[group]:
            found = re.fullmatch(r"([\w-]+)(\[[\w,-]+\])?>=([\d.]+)", requirement)
            if found is None:
                raise SystemExit(f"error: dependency {requirement} of {group} has no form NAME>=VERSION")
            # YoWASP's versions end in the number of a build
            lines[found[1]] = f"{found[1]}=={found[3]}{'.*' if found[1].startswith('yowasp') else ''}"
    return sorted(lines.values())


if __name__ == "__main__":
    print("\n".join(lowest(sys.argv[1:])))
