"""Copies of packages and tests, each of one process, where one fault at a time is applied and tests run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import THREADS
from mutant import Mutant, applied

from gradrtl.errors import UserError
from gradrtl.locks import lock_folder, locked

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("model", "quantize", "rtl", "sim")
HINTS = ROOT / "tests" / "mutant_hints.json"  # the test that caught a mutant in an earlier campaign
LONGEST = 600.0  # seconds for a file of tests without a fault
LOCK = "lock"  # file that a process holds while it makes or removes copies, or changes what they share


class Copy:
    """Packages and tests in a new folder below `folder`, which no other process uses; close it at the end.

    Builds and compiled functions without a fault are kept in `folder` for all copies of the same sources. A fault works
    on copies of them, which are thrown away with it. Copies that killed processes have left behind are removed.

    Raises
    ------
    UserError
        The sources are not those whose `fingerprint` is given.
    """

    def __init__(self, folder: Path, code: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.shared = folder / f"shared-{code[:16]}"
        self.server: subprocess.Popen[str] | None = None
        with locked(folder / LOCK):
            remove_left(folder)
            for other in folder.glob("shared-*"):
                if other != self.shared:
                    shutil.rmtree(other, ignore_errors=True)
            self.folder = Path(tempfile.mkdtemp(prefix="copy-", dir=folder))
            self.held = lock_folder(self.folder)
            self.kept = self.folder / "build" / "cache"
            self.kernels = self.folder / "kernels"
            copy_sources(self.folder)
            if fingerprint() != code:
                raise UserError("sources have changed since the campaign began: start it again")
            for path in (self.kept, self.kernels, self.shared / "cache", self.shared / "kernels"):
                path.mkdir(parents=True, exist_ok=True)
            for entry in (self.shared / "cache").iterdir():
                shutil.copytree(entry, self.kept / entry.name, copy_function=os.link)
            for package, mine in self.packages():
                if (theirs := self.shared / "kernels" / package).is_dir():
                    shutil.copytree(theirs, mine)

    def packages(self) -> Iterator[tuple[str, Path]]:
        """Names of the packages, and where Numba keeps their compiled functions."""
        for folder in sorted({path.parent for path in self.folder.glob("gradrtl/**/*.py")}):
            yield ".".join(folder.relative_to(self.folder).parts), self.kernels / folder_of_kernels(folder)

    def share(self) -> None:
        """Let later copies have what has been built and compiled here without a fault."""
        with locked(self.folder.parent / LOCK):
            for entry in self.kept.iterdir():
                target = self.shared / "cache" / entry.name
                if entry.is_dir() and not target.exists():
                    put(entry, target)
            for package, mine in self.packages():
                if mine.is_dir():
                    put(mine, self.shared / "kernels" / package)

    @contextmanager
    def fault(self, mutant: Mutant) -> Iterator[None]:
        """`mutant` holds inside."""
        path = self.folder / "gradrtl" / mutant.file.removeprefix("gradrtl/")
        whole, ages = path.read_text(), path.stat()
        kept, kernels = self.kept, self.kernels
        aside = self.folder / "aside"
        kept.rename(aside)
        shutil.copytree(aside, kept, copy_function=os.link)
        self.kernels = self.folder / "kernels-with-fault"
        shutil.copytree(kernels, self.kernels)
        path.write_text(applied(mutant, whole))
        try:
            yield
        finally:
            path.write_text(whole)
            os.utime(path, ns=(ages.st_atime_ns, ages.st_mtime_ns))  # Numba looks at it
            for folder in (kept, self.kernels):
                shutil.rmtree(folder)
            aside.rename(kept)
            self.kernels = kernels

    def run(self, arguments: list[str], output: Path, longest: float) -> int | None:
        """Pytest's exit code, its output in `output`; None if it was stopped after `longest` seconds."""
        if self.server is None:
            # No bytecode: it is trusted by size and second, and a fault may change neither.
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(self.folder)}
            environment |= dict.fromkeys(THREADS, "1")
            self.server = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("mutant_server.py")],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the process that has the results
            )
        stdin, stdout = self.server.stdin, self.server.stdout
        assert stdin is not None
        assert stdout is not None
        request = {
            "arguments": arguments,
            "environment": {"NUMBA_CACHE_DIR": str(self.kernels)},
            "output": str(output),
            "longest": longest,
        }
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def failure(self, rung: str, longest: float = LONGEST) -> str | None:
        """The test of `rung` that fails, with "hangs" if it takes longer than `longest` seconds; None if all pass."""
        shutil.rmtree(self.folder / "build" / "cocotb", ignore_errors=True)  # its builds go by the age of files
        output = self.folder / "output"
        code = self.run(["-x", "-vv", "-p", "no:cacheprovider", "--tb=no", f"tests/{rung}"], output, longest)
        told = output.read_text(errors="replace")
        begun = re.findall(r"^tests/(\S+::.*?) *(?: (?:PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b.*)?$", told, re.MULTILINE)
        last = begun[-1] if begun else rung  # the one that failed or hangs; the whole if it cannot be collected
        if code is None:
            return f"{last} hangs"
        if code in (4, 5) and "::" in rung:
            return None  # a test of an earlier campaign that is there no longer
        if code not in (0, 1, 2):
            raise RuntimeError(f"pytest stops with code {code}:\n{told[-3000:]}")
        return last if code else None

    def close(self) -> None:
        """End what runs here, and remove the folder."""
        if self.server is not None:
            self.server.communicate()  # its input ends, and so does it
        with locked(self.folder.parent / LOCK):
            shutil.rmtree(self.folder, ignore_errors=True)
            if self.held is not None:
                os.close(self.held)


def copy_sources(folder: Path) -> None:
    """Packages and tests to `folder`, with their ages, and links to what tests read besides."""
    for source in (ROOT / "gradrtl", *(ROOT / name for name in PACKAGES)):
        target = folder / "gradrtl" / ("" if source.name == "gradrtl" else source.name)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("README.md", "checkpoints", "data", "docs", "networks"):
        (folder / name).symlink_to(ROOT / name)


def clear(folder: Path) -> None:
    """Remove copies in `folder` whose process has ended."""
    with locked(folder / LOCK):
        remove_left(folder)


def remove_left(folder: Path) -> None:
    for path in folder.glob("copy-*"):
        if (held := lock_folder(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)


def put(source: Path, target: Path) -> None:
    """Add the files of `source` to the folder `target`, which is never seen with a part of them."""
    made = target.with_name("making")
    shutil.rmtree(made, ignore_errors=True)
    if target.exists():
        shutil.copytree(target, made, copy_function=os.link)
    shutil.copytree(source, made, copy_function=link, dirs_exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    made.rename(target)


def link(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    os.link(source, target)


def folder_of_kernels(package: Path) -> str:
    """Where Numba keeps compiled functions of `package` in NUMBA_CACHE_DIR (a wrong guess costs time, no more)."""
    return f"{package.name}_{hashlib.sha1(str(package).encode()).hexdigest()}"


def fingerprint() -> str:
    """SHA-256 of what a result depends on: packages and tests, without these scripts, their lists and hints."""
    sha = hashlib.sha256()
    own = {HINTS, *Path(__file__).resolve().parent.glob("mutant*.py")}
    for folder in ("gradrtl", *PACKAGES, "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and path not in own and "__pycache__" not in path.parts:
                sha.update(f"{path.relative_to(ROOT)} ".encode() + path.read_bytes())
    return sha.hexdigest()
