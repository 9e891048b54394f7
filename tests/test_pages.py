"""What a reader copies from the pages works: their commands and programs run in order, on a small part of MNIST."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradrtl.model.data import load

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/tutorial-snntorch.md",
    "docs/tutorial-sound.md",
    "docs/own-images.md",
    "docs/own-weights.md",
    "docs/recordings.md",
    "docs/waves.md",
    "docs/scale-out.md",
)
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
IMAGES = {"train": 7000, "t10k": 500}


def write_idx(path: Path, values: np.ndarray) -> None:
    path.write_bytes(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that looks like the project's, with few images."""
    here = tmp_path_factory.mktemp("reader")
    for name in ("networks", "checkpoints", "examples"):
        (here / name).symlink_to(ROOT / name)
    (here / "data/mnist").mkdir(parents=True)
    (here / "build").mkdir()
    for (part, count), data in zip(IMAGES.items(), load(ROOT / "data/mnist"), strict=True):
        write_idx(here / f"data/mnist/{part}-images-idx3-ubyte", data.images[:count, 0])
        write_idx(here / f"data/mnist/{part}-labels-idx1-ubyte", data.labels[:count].astype(np.uint8))
    return here


@pytest.mark.rtl
@pytest.mark.parametrize("page", PAGES)
def test_commands_and_programs_run(page, folder):
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = 0
    for language, text in BLOCK.findall((ROOT / page).read_text()):
        if text.startswith(">>>"):
            continue  # tests/test_docs.py
        lines = [(text, False)] if language == "python" else [(line, "# fails" in line) for line in text.splitlines()]
        for line, fails in lines:
            words = [sys.executable, "-c", line] if language == "python" else ["sh", "-c", line]
            done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
            assert (done.returncode != 0) == fails, f"{line}\n{done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr
            ran += 1
    assert ran > 2
