"""What the pages say is so: commands parse, programs run, tables are as printed, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gradrtl import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
TEXT = {page.name: page.read_text() for page in PAGES}
README = TEXT["README.md"]
CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def commands(program: str) -> list[str]:
    """Every command line of the pages that begins with `program`, comments left out."""
    found = set()
    for text in TEXT.values():
        for block, span in CODE.findall(text):
            for line in (block or span).splitlines():
                words = line.partition(" #")[0].strip()
                if re.match(rf"{program} [a-z-]", words) and "..." not in words and not words.endswith("("):
                    found.add(words)
    return sorted(found)


@pytest.mark.parametrize("line", commands("gradrtl"))
def test_gradrtl_command_exists_with_these_options(line):
    name, *words = shlex.split(line)[1:]
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command is not None, name
    complete = any("/" in word for word in words) and not any(word.isupper() for word in words)
    if complete:
        command.make_context(name, words)
    else:  # a mention: the options that it names exist
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("line", commands("make"))
def test_make_target_exists(line):
    subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("line", commands("python"))
def test_program_exists(line):
    words = shlex.split(line)
    if words[1] == "-m":
        package, _, rest = words[2].partition(".")
        folder = ROOT / ("" if package == "gradrtl" and rest else package) / rest.replace(".", "/")
        assert folder.is_dir() or folder.with_suffix(".py").is_file() or package in ("pip", "venv", "http"), folder
    else:
        path = Path(words[1])
        if path.parts[:2] == ("build", "package"):  # written by `gradrtl package`
            own = Path("gradrtl/templates/package", "_".join(path.parts[2:]))  # of one kit; or of all
            path = own if (ROOT / own).is_file() else own.with_name(path.name)
        assert (ROOT / path).is_file()


def test_the_two_commands_are_the_makefile_and_ci_runs_the_check():
    assert "make test" in README
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "exec make check"
    assert re.search(r"^check: lint docs test\b", (ROOT / "Makefile").read_text(), re.MULTILINE)  # the tests last


def test_python_of_the_readme_runs(tmp_path):
    tour, graph = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    result = subprocess.run([sys.executable, "-c", tour], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "(100, 8, 800)" in result.stdout
    file = str(tmp_path / "graph.npz")
    subprocess.run([sys.executable, "-c", graph.replace("build/graph.npz", file)], check=True)
    info = [sys.executable, "-m", "gradrtl", "info", file]
    result = subprocess.run(info, check=True, capture_output=True, text=True)
    assert "hidden: dense, 24 of 25 weights of 8 bit, delay 1, from itself" in result.stdout


@pytest.mark.rtl
def test_own_network_is_proven(tmp_path):
    words = [sys.executable, "examples/own_network.py", "--out", str(tmp_path), "--images", "10"]
    result = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "equal: 10 frames" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"network.npz", "gradrtl.v"}


@pytest.mark.parametrize(
    ("program", "page"),
    [("examples/arithmetic_tables.py", "arithmetic.md"), ("examples/networks_table.py", "README.md")],
)
def test_table_is_what_its_command_prints(program, page):
    result = subprocess.run([sys.executable, program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert result.stdout.strip() in TEXT[page]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_table_was_forgotten(page):
    assert not re.search(r"begin -->\s*<!--|^@\w+@$", page.read_text(), re.MULTILINE)
