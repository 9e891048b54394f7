"""The site is built without warnings and without anything from elsewhere; examples in docstrings and pages are true."""

from __future__ import annotations

import doctest
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gradrtl import cli
from gradrtl.locks import locked

pytest.importorskip("mkdocstrings")
ROOT = Path(__file__).parents[1]
GENERATE = runpy.run_path(str(ROOT / "docs/generate.py"))
MODULES = [module for package in (*GENERATE["PACKAGES"], "") for module in GENERATE["modules"](package)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site. Strict: a page outside the navigation or a link that leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    with locked(ROOT / "build/api.lock"):  # another test process builds it as well, from the same copies
        result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def test_site_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(MODULES)
    remote = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^\s\">]+")
    assert {found for page in pages for found in remote.findall(page.read_text())} == set()


def test_python_reference_has_the_docstrings(site):
    page = (site / "api/gradrtl.sim.engine.html").read_text()
    assert "equal to <code>reference</code> bit for bit" in page
    assert 'id="gradrtl.sim.engine.run"' in page


def test_commands_page_has_every_command_and_option():
    page = GENERATE["commands"]()
    context = click.Context(cli.main, info_name="gradrtl")
    for name in cli.main.list_commands(context):
        assert f"## gradrtl {name}\n" in page
        for parameter in cli.main.get_command(context, name).params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(option in page for option in parameter.opts), (name, parameter.opts)


def test_every_module_has_a_docstring():
    found = {
        path.relative_to(ROOT)
        for folder in ("gradrtl", *GENERATE["PACKAGES"])
        for path in (ROOT / folder).rglob("*.py")
        if "templates" not in path.parts
    }
    assert len(MODULES) == len([path for path in found if not path.stem.startswith("_") or path.stem == "__init__"])


def test_examples_in_docstrings_are_true():
    tried = 0
    for name in MODULES:
        result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
        assert result.failed == 0, name
        tried += result.attempted
    assert tried > 0


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_examples_in_pages_are_true(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS).failed == 0
