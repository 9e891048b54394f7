"""The benchmark: counted figures against the committed baseline, the table, the yardstick."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = "# A page\n\n<!-- bench: begin -->\nold\n<!-- bench: end -->\n\nThe end.\n"
FIGURE = {"name": "speed", "value": 12345.6, "unit": "x", "counted": False, "least": 3.0, "most": None, "met": True}


def bench(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """`python -m bench`, run in `folder` as `make bench` does in the project's."""
    launch = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_module('bench', run_name='__main__')"
    command = [sys.executable, "-c", launch, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_counted_figures_are_those_of_the_baseline_or_better():
    done = bench("--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_worse_figure_is_named(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import json, pathlib\n"
        "from bench import baseline\n"
        "values = json.loads(baseline.PATH.read_text())\n"
        "name = 'P = 16, 10: cycles between frames'\n"
        "values[name] -= 1\n"
        "values['events a frame'] += 1\n"
        f"baseline.PATH = pathlib.Path({str(tmp_path / 'baseline.json')!r})\n"
        "baseline.PATH.write_text(json.dumps(values))\n"
        "lines = baseline.complaints()\n"
        "assert len(lines) == 2 and lines[0].startswith(name) and lines[1].startswith('events'), lines\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_yardstick_is_the_engine():
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import numpy as np\n"
        "from bench import networks, yardstick\n"
        "from gradrtl.sim import engine\n"
        "network = networks.random_mlp()\n"
        "frames = np.random.default_rng(0).integers(0, 256, (70, 784), dtype=np.uint8)\n"
        "counts = yardstick.prepare(network, 2)(frames)\n"
        "assert counts.any()\n"
        "np.testing.assert_array_equal(counts, engine.run(network, frames).counts)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "build" / "bench"
    folder.mkdir(parents=True)
    (folder / "figures.json").write_text(json.dumps({"source": "From a test.", "figures": [FIGURE]}))
    return tmp_path


def test_the_table_goes_between_the_markers(results):
    page = results / "README.md"
    page.write_text(PAGE)
    for _ in range(2):
        done = bench("--readme", "README.md", folder=results)
        assert done.returncode == 0, done.stderr
        text = page.read_text()
        assert text.startswith("# A page\n\n<!-- bench: begin -->\nFrom a test.\n")
        assert "| speed | 12,346 x | at least 3 | reached |" in text
        assert text.endswith("<!-- bench: end -->\n\nThe end.\n")
        assert "old" not in text


def test_a_page_without_markers_is_left_alone(results):
    page = results / "README.md"
    page.write_text("# A page\n")
    done = bench("--readme", "README.md", folder=results)
    assert done.returncode == 1
    assert done.stderr.startswith("error: markers of README.md")
    assert page.read_text() == "# A page\n"


def test_a_missing_run_is_said(tmp_path):
    (tmp_path / "README.md").write_text(PAGE)
    done = bench("--readme", "README.md", folder=tmp_path)
    assert done.returncode == 1
    assert "run `python -m bench` first" in done.stderr


def test_the_command_line_is_measured():
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from bench import command_line\n"
        "help, version = command_line.figures(1)\n"
        "assert help.name == '`gradrtl --help`, processor time' and help.most == 0.25\n"
        "assert 0 < version.value < 60\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
