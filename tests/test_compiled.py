"""Compiled functions: kept under all sources that they see; without a folder not kept; if so told, interpreted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradrtl import compiled
from gradrtl.model import kernels as training
from gradrtl.model.rows import stored, widened
from gradrtl.sim.timing import predict

ROOT = Path(__file__).parents[1]
FOLDERS = ("model", "quantize", "rtl", "sim")
RUN = """
import sys, zlib, numpy as np
sys.path.insert(0, {tests!r})
from random_networks import frames, network
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import engine, events, reference
from gradrtl.sim.timing.predict import predict
for seed in (1, 2, 4, 11):
    net = network(seed)
    given = frames(net, 3, seed)
    expected = reference.run(net, given)
    for trace in (True, "spikes"):
        outcome = engine.run(net, given, trace=trace, threads=2)
        np.testing.assert_array_equal(outcome.counts, expected.counts)
    for ours, theirs in zip(outcome.trace.spikes, expected.trace.spikes, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    mapping = map_network(net)
    found = events.events_of(mapping, given, expected.trace)
    print(predict(mapping, found).result.tolist(), predict(mapping, found, apart=True).latency.tolist())
""".format(tests=str(ROOT / "tests"))


def python(script: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_right_without_compiling():
    """Engine, events and timing model, interpreted: the reference's spikes, the compiled model's cycles."""
    plain, fast = python(RUN, NUMBA_DISABLE_JIT="1"), python(RUN)
    assert plain.returncode == 0, plain.stderr
    assert fast.returncode == 0, fast.stderr
    assert plain.stdout == fast.stdout
    assert plain.stdout.count("\n") == 4


def test_right_without_a_folder_to_keep_it_in():
    """Read-only installation, no home: nothing is kept, and one line names what would help."""
    nowhere = "from numba.core import caching\ncaching.CacheImpl._locator_classes = []\n"
    first = "import gradrtl.sim.kernels, gradrtl.model.kernels, gradrtl.quantize.kernels, gradrtl.sim.events\n"
    done = python(nowhere + first + "from gradrtl.sim.timing.framer import FRAMER, offer\nimport numpy as np\n"
                  "print(offer(np.array([((0, 2, 0), 0, 0, 0)], FRAMER)[0], np.zeros(2, np.int64), 7))")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "8\n"
    assert done.stderr == compiled.NO_FOLDER + "\n"
    assert "NUMBA_CACHE_DIR" in done.stderr


def test_an_edit_of_a_constant_in_another_file_is_seen(tmp_path):
    """The edited file is no larger, no younger, and two imports away."""
    for source in ("gradrtl", *FOLDERS):
        target = tmp_path / "gradrtl" / ("" if source == "gradrtl" else source)
        shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    script = (
        "import numpy as np\nfrom gradrtl.sim.timing.readout import READOUT, take_last\n"
        "print(take_last(np.array([(3, 3, 0, (1, 2, 1), 0, 2, 0, 0, 0, 0)], READOUT)[0], np.full(3, 20), 5))"
    )
    latency = tmp_path / "gradrtl/rtl/latency.py"
    environment = {
        "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONDONTWRITEBYTECODE": "1"
    }  # fmt: skip
    assert python(script, tmp_path, **environment).stdout == "21\n"
    kept = sorted(path.name for path in (tmp_path / "kept").rglob("*.nbc"))
    assert kept
    assert python(script, tmp_path, **environment).stdout == "21\n"
    before = latency.stat()
    text = latency.read_text()
    assert text.count("\nSENT = 1\n") == 1
    latency.write_text(text.replace("\nSENT = 1\n", "\nSENT = 9\n"))
    os.utime(latency, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert python(script, tmp_path, **environment).stdout == "29\n"


def test_what_a_function_can_see():
    """The timing model's key changes with the latencies and with the parts it calls, not with the command line."""
    seen: set[str] = set()
    waiting = [("gradrtl.sim.timing.predict", Path(predict.__file__))]
    while waiting:
        name, path = waiting.pop()
        for other in compiled._imports(path, name):
            found = compiled._file(other)
            if found is not None and other not in seen:
                seen.add(other)
                waiting.append((other, found))
    assert {"gradrtl.rtl.latency", "gradrtl.sim.timing.pe", "gradrtl.sim.timing.fifo", "gradrtl.sim.vectors"} <= seen
    assert not any(name.startswith(("gradrtl.commands", "gradrtl.cli", "gradrtl.model")) for name in seen)
    digest = compiled.digest(predict.__file__, predict.__name__)
    assert digest in predict._run._cache._cache_file._source_stamp
    assert digest != compiled.digest(training.__file__, training.__name__)


def test_every_compiled_function_goes_through_one_place():
    """No file but `compiled.py` decides how Numba compiles; tests aside."""
    users = [
        path
        for folder in ("gradrtl", "bench", *FOLDERS)
        for path in (ROOT / folder).rglob("*.py")
        if "njit(" in path.read_text() or "import njit" in path.read_text()
    ]
    assert users == [ROOT / "gradrtl/compiled.py"]


@pytest.mark.parametrize("value", [0.0, 1.0, -1.5, 3.1415927, 1e-40, 65504.0, 1.00390625, 1.01171875, np.inf])
def test_half_width_floats_interpreted(value):
    """Rounded to nearest, ties to even, as PyTorch's bfloat16."""
    import torch

    half = np.uint16(0)
    bits = stored(np.float32(value), half)
    expected = torch.tensor(value, dtype=torch.float32).to(torch.bfloat16)
    assert bits == expected.view(torch.int16).numpy().view(np.uint16)
    assert widened(bits) == np.float32(expected.float())
    assert stored(np.float64(value), np.float64(0)) == value
    assert widened(np.float64(value)) == value
