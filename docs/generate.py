"""Pages that MkDocs makes from the sources: the commands, the Python interface, CONTRIBUTING and CHANGELOG.

MkDocs loads this file as a hook (`mkdocs.yml`). The pages are made at each build and kept nowhere, so they cannot be
out of date. mkdocstrings reads the packages under their import names from `build/api`, where this file copies them.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build/api/gradrtl"
PACKAGES = ("model", "quantize", "rtl", "sim")
ROOT_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


# The command line


def commands() -> str:
    """The page of all commands, from the click objects that the program runs."""
    from gradrtl.cli import main

    parent = click.Context(main, info_name="gradrtl")
    parts = [
        "# Commands",
        "`gradrtl COMMAND --help` prints the same. A wrong option or file ends in one line on stderr and exit code 2; "
        "a difference between Verilog and simulator in exit code 1.",
    ]
    for name in main.list_commands(parent):
        command = main.get_command(parent, name)
        assert command is not None, name
        parts += list(_command(command, click.Context(command, parent=parent, info_name=name)))
    return "\n\n".join(parts) + "\n"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## gradrtl {context.info_name}"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield re.sub(r"\s*\x08\s*", "\n\n", command.help or "").replace("\f", "").strip()
    rows = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    if rows:
        body = [f"| `{_cell(options)}` | {_cell(text)} |" for options, text in rows]
        yield "\n".join(["| option | meaning |", "| --- | --- |", *body])


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


# The Python interface


def modules(package: str) -> list[str]:
    """Full names of the modules of `gradrtl.PACKAGE`, or of `gradrtl` itself for the empty name; without templates."""
    folder = ROOT / (package or "gradrtl")
    names = []
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).with_suffix("").parts
        inside = inside[:-1] if inside[-1] == "__init__" else inside
        if "templates" in inside or any(part.startswith("_") for part in inside):
            continue
        if ast.get_docstring(ast.parse(path.read_text())):
            names.append(".".join(part for part in ("gradrtl", package, *inside) if part))
    return names


def lay_out_packages() -> None:
    """Copies the sources to `build/api/gradrtl`, with `gradrtl.model` a folder inside, as setuptools maps it."""
    shutil.rmtree(COPY.parent, ignore_errors=True)
    shutil.copytree(ROOT / "gradrtl", COPY, ignore=shutil.ignore_patterns("__pycache__"))
    for package in PACKAGES:
        shutil.copytree(ROOT / package, COPY / package, ignore=shutil.ignore_patterns("__pycache__"))


def interface() -> dict[str, tuple[str, str]]:
    """`{path of the page: (title, text)}`, a page for each module."""
    return {
        f"api/{module}.md": (module, f"---\ntitle: {module}\n---\n\n::: {module}\n")
        for package in (*PACKAGES, "")
        for module in modules(package)
    }


# Pages that lie in the project's folder


def root_page(name: str) -> str:
    """A page beside the README, its links as they are seen from `docs/`."""
    text = (ROOT / name).read_text().replace("](docs/", "](")
    return re.sub(r"\]\((?!https?:|#)([A-Z]+)\.md", lambda found: f"]({found[1].lower()}.md", text)


# Hooks


def on_startup(command: str, dirty: bool) -> None:
    lay_out_packages()  # before the plugins are set up: mkdocstrings passes over folders that are not there


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    sections = {next(iter(section)): next(iter(section.values())) for section in config.nav or []}
    sections["Reference"].insert(0, {"Commands": "cli.md"})
    by_package: dict[str, list[dict[str, str]]] = {}
    for path, (title, _) in interface().items():
        package = title.split(".")[1] if title.count(".") > 0 else "gradrtl"
        by_package.setdefault(package if package in PACKAGES else "gradrtl", []).append({title: path})
    sections["Reference"].append({"Python": [{name: pages} for name, pages in by_package.items()]})
    project = [{"Contributing": "contributing.md"}]
    if (ROOT / "CHANGELOG.md").exists():
        project.append({"Changes": "changelog.md"})
    sections["Help"] += project
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    pages = {"cli.md": commands()} | {path: text for path, (_, text) in interface().items()}
    pages |= {page: root_page(name) for name, page in ROOT_PAGES.items() if (ROOT / name).exists()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files
