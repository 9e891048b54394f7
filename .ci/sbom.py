"""The software bill of materials, `sbom.json`: each pinned package with version, licence and SHA-256 (CycloneDX 1.6).

    make sbom

pip resolves the project with its constraints and names the files it would install (`--dry-run --report`); licences are
read from the installed packages. The file has no times and no addresses, so it changes only with the packages.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SBOM = ROOT / "sbom.json"
# What packages write in place of an SPDX expression.
SPDX = {
    "mit": "MIT",
    "mit license": "MIT",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "isc license (iscl)": "ISC",
}
# Packages whose field is a whole text, or lists the licences of all the files that they bundle: their own licence.
OWN = {"amaranth-boards": "BSD-2-Clause", "torch": "BSD-3-Clause"}


def licence_of(package: str) -> str:
    """The SPDX expression of an installed package: its field, else its short text, else its classifier."""
    if package in OWN:
        return OWN[package]
    about = metadata.metadata(package)
    text = about.get("License") or ""
    classifiers = [value.rpartition(" :: ")[2] for value in about.get_all("Classifier") or [] if "License ::" in value]
    for found in (about.get("License-Expression"), text, *classifiers):
        if found and "\n" not in found and len(found) < 60 and found not in ("UNKNOWN", "OSI Approved"):
            return SPDX.get(found.lower(), found)
    raise SystemExit(f"error: licence of {package} is not stated, expected an expression, a text or a classifier")


def component(installed: dict[str, Any]) -> dict[str, Any]:
    name, version = installed["metadata"]["name"], installed["metadata"]["version"]
    hashes = installed["download_info"]["archive_info"]["hashes"]
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
        "licenses": [{"expression": licence_of(name)}],
        "hashes": [{"alg": "SHA-256", "content": hashes["sha256"]}],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = ["install", "--quiet", "--dry-run", "--ignore-installed", "--report", str(report)]
        pip = [sys.executable, "-m", "pip", *words, "--constraint", "constraints.txt", ".[dev]"]
        subprocess.run(pip, cwd=ROOT, check=True)
        found = json.loads(report.read_text())["install"]
    parts = [component(entry) for entry in found if entry["metadata"]["name"] != "gradrtl"]
    [own] = [entry["metadata"] for entry in found if entry["metadata"]["name"] == "gradrtl"]
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "gradrtl",
                "version": own["version"],
                "licenses": [{"expression": "Apache-2.0"}],
            }
        },
        "components": sorted(parts, key=lambda part: part["name"].lower()),
    }
    SBOM.write_text(json.dumps(sbom, indent=1) + "\n")
    print(f"{SBOM.name}: {len(parts)} packages")


if __name__ == "__main__":
    main()
