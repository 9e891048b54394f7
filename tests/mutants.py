"""Deliberate faults, one at a time: does a test fail? `make mutants`; `--help` tells the rest.

The faults are those of `mutant_list.py`. Each is applied to a copy of the packages, never to the checkout, and the
tests run there, until one fails or hangs: first the test that caught the fault in an earlier campaign, then all that
see its file, fastest first. A fault that no test sees survives, and the exit code is 1.

Results are kept as they come, under a fingerprint of packages and tests: an interrupted run goes on where it stopped,
and a change of either starts it anew. Before the first fault, every test must pass without one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mutant_list import MUTANTS, Mutant
from rich.progress import track

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "mutants"
PACKAGES = ("model", "quantize", "rtl", "sim")
# What sees the faults of one file best, before the tests of the whole.
UNITS = {
    "gradrtl/archive.py": ("test_archive.py",),
    "gradrtl/arrays.py": ("test_quantize_fold.py",),
    "gradrtl/bits.py": ("test_quantize_neuron.py",),
    "gradrtl/cache.py": ("test_cache.py",),
    "gradrtl/locks.py": ("test_locks.py",),
    "gradrtl/processes.py": ("test_processes.py",),
    "gradrtl/checks.py": ("test_quantize_network.py",),
    "gradrtl/shapes.py": ("test_quantize_network.py",),
    "quantize/fold.py": ("test_quantize_fold.py",),
    "quantize/integer_module.py": ("test_quantize_integer_module.py",),
    "quantize/interface.py": ("test_quantize_network.py",),
    "quantize/kernels.py": ("test_quantize_fire.py",),
    "quantize/living.py": ("test_quantize_living.py",),
    "quantize/network.py": ("test_quantize_network.py",),
    "quantize/network_file.py": ("test_quantize_network.py",),
    "quantize/neuron.py": ("test_quantize_neuron.py",),
    "quantize/placement.py": ("test_quantize_placement.py", "test_quantize_network.py"),
    "quantize/ptq.py": ("test_quantize_ptq.py",),
    "quantize/qat.py": ("test_quantize_qat.py",),
    "quantize/ranges.py": ("test_quantize_network.py",),
    "quantize/rounding.py": ("test_quantize_rounding.py", "test_quantize_ptq.py"),
    "quantize/thinning.py": ("test_quantize_thinning.py",),
    "sim/reference.py": ("test_sim_reference.py",),
    "sim/screening.py": ("test_sim_screening.py",),
    "sim/confinement.py": ("test_sim_confinement.py", "test_sim_verify.py"),
    "sim/records.py": ("test_sim_records.py",),
    "sim/driving.py": ("test_sim_verify.py", "test_sim_verilated.py"),
    "sim/beats.py": ("test_sim_beats.py",),
    "sim/verify.py": ("test_sim_verify.py", "test_sim_verilated.py"),
    "sim/compare.py": ("test_sim_compare.py",),
    "sim/toolchain.py": ("test_sim_verify.py", "test_sim_verilated.py"),
    "sim/generated.py": ("test_sim_generated.py",),
    "sim/templates/launch.cpp": ("test_sim_confinement.py",),
    "sim/templates/confine.h": ("test_sim_verify.py",),
    "sim/templates/driver.cpp": ("test_sim_verify.py", "test_sim_verilated.py"),
    "rtl/neuron.py": ("test_rtl_neuron.py",),
    "rtl/mapping.py": ("test_rtl_mapping.py",),
    "rtl/layer_mapping.py": ("test_rtl_mapping.py",),
    "rtl/synapse_format.py": ("test_rtl_synapse_format.py", "test_rtl_mapping.py"),
    "rtl/slots.py": ("test_rtl_mapping.py", "test_rtl_convolution.py"),
    "rtl/place_dense.py": ("test_rtl_mapping.py",),
    "rtl/place_convolution.py": ("test_rtl_convolution.py",),
    "rtl/pruning.py": ("test_rtl_pruning.py",),
    "rtl/assignment.py": ("test_rtl_assignment.py",),
    "rtl/rtlil.py": ("test_rtl_rtlil.py", "test_rtl_verilog.py"),
    "rtl/readout.py": ("formal/test_readout.py",),
    "rtl/memory.py": ("test_rtl_verilog.py",),
    "rtl/verilog.py": ("test_rtl_verilog.py",),
    "rtl/scan.py": ("test_rtl_convolution.py",),
    "rtl/convolution.py": ("test_rtl_convolution.py",),
    "rtl/addressing.py": ("test_rtl_convolution.py",),
    "rtl/serial/accelerator.py": ("test_rtl_serial.py", "test_host.py"),
    "rtl/serial/answers.py": ("test_rtl_serial_parts.py", "test_rtl_serial.py", "test_host.py"),
    "rtl/serial/frames.py": ("test_rtl_serial.py", "test_host.py"),
    "rtl/serial/loader.py": ("test_rtl_serial_parts.py", "test_rtl_serial.py", "test_host.py"),
    "rtl/serial/receiver.py": ("test_rtl_serial_parts.py", "test_rtl_serial.py", "test_host.py"),
    "rtl/serial/sender.py": ("test_rtl_serial_parts.py", "test_rtl_serial.py", "test_host.py"),
    "rtl/packets.py": ("test_rtl_packets.py", "test_rtl_serial.py", "test_host.py"),
    "gradrtl/host.py": ("test_host.py",),
    "gradrtl/line.py": ("test_line.py",),
    "sim/board.py": ("test_sim_board.py",),
    "rtl/loading.py": ("test_rtl_loading.py", "test_host.py"),
    "rtl/uart.py": ("test_rtl_uart.py", "test_rtl_serial.py"),
    "rtl/framing.py": ("test_rtl_top.py", "formal/test_framing.py"),
    "rtl/top.py": ("test_rtl_top.py", "test_cocotb_top.py"),
    "rtl/datapath.py": ("test_cocotb_top.py",),
    "rtl/issue.py": ("test_rtl_top.py",),
    "rtl/update.py": ("test_rtl_top.py",),
    "rtl/pool.py": ("test_rtl_convolution.py",),
    "rtl/lookup.py": ("test_rtl_top.py",),
    "rtl/reader.py": ("test_rtl_top.py",),
    "rtl/accumulators.py": ("test_rtl_top.py",),
    "model/gradr.py": ("test_model_gradr.py", "test_model_recipes.py"),
    "model/recipes.py": ("test_model_recipes.py", "test_model_train.py"),
    "model/train.py": ("test_model_resume.py", "test_model_train.py"),
    "model/resume.py": ("test_model_resume.py",),
    "model/data.py": ("test_model_data.py",),
    "model/augment.py": ("test_model_augment.py",),
    "model/checkpoint.py": ("test_model_checkpoint.py",),
    "quantize/sweep.py": ("test_quantize_sweep.py",),
    "sim/timing/fifo.py": ("test_sim_timing_fifo.py", "test_sim_timing_predict.py"),
    "sim/timing/pe.py": ("test_sim_timing_pe.py", "test_sim_timing_predict.py"),
    "sim/timing/fire.py": ("test_sim_timing_fire.py", "test_sim_timing_predict.py"),
    "sim/timing/serialiser.py": ("test_sim_timing_serialiser.py", "test_sim_timing_predict.py"),
    "sim/timing/framer.py": ("test_sim_timing_framer.py", "test_sim_timing_predict.py"),
    "sim/timing/readout.py": ("test_sim_timing_readout.py", "test_sim_timing_predict.py"),
    "sim/timing/predict.py": ("test_sim_timing_predict.py",),
    "sim/events.py": ("test_sim_events.py", "test_sim_timing_predict.py"),
    "sim/program.py": ("test_sim_program.py", "test_sim_engine.py"),
    "sim/kernels.py": ("test_sim_engine.py",),
    "sim/engine.py": ("test_sim_engine.py",),
    "sim/operations.py": ("test_sim_operations.py", "test_sim_engine.py"),
    "sim/energy.py": ("test_sim_energy.py",),
    "sim/measure.py": ("test_sim_measure.py",),
}
LADDER = ("test_rtl_top.py", "test_rtl_convolution.py", "formal", "test_rtl_random.py", "test_cocotb_top.py")
LONGEST = 600.0  # seconds for a rung: what takes longer hangs


class Copy:
    """The packages and tests in a folder of their own, where one fault at a time is applied."""

    def __init__(self, folder: Path):
        self.folder = folder
        for source in (ROOT / "gradrtl", *(ROOT / name for name in PACKAGES)):
            target = folder / "gradrtl" / ("" if source.name == "gradrtl" else source.name)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        for name in ("data", "networks"):
            (folder / name).symlink_to(ROOT / name)

    @contextmanager
    def fault(self, mutant: Mutant) -> Iterator[None]:
        """`mutant` holds inside."""
        path = self.folder / "gradrtl" / mutant.file.removeprefix("gradrtl/")
        whole = path.read_text()
        path.write_text(applied(mutant, whole))
        try:
            yield
        finally:
            path.write_text(whole)

    def failure(self, rung: str) -> str | None:
        """The test of `rung` that fails, or "hangs"; None if all pass."""
        shutil.rmtree(self.folder / "build" / "cocotb", ignore_errors=True)  # its builds go by the age of files
        # No bytecode: it is trusted by size and second, and a fault may change neither.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(self.folder)}
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--tb=no", "-rfE", f"tests/{rung}"]
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            told, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            return f"{rung} hangs"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the session that pytest leads: simulators and solvers too
                process.wait()
        if process.returncode in (4, 5) and "::" in rung:
            return None  # a test of an earlier campaign that is there no longer
        if process.returncode not in (0, 1):
            raise RuntimeError(f"pytest stops with code {process.returncode}:\n{told[-3000:]}")
        found = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", told, re.MULTILINE)
        if process.returncode:
            return found[1] if found else rung
        return None


def applied(mutant: Mutant, text: str) -> str:
    """`text` with the fault; `ValueError` if its old text is not there exactly once, or is its new one."""
    count = text.count(mutant.old)
    if count != 1 or mutant.old == mutant.new:
        raise ValueError(f"{mutant.name}: its old text is {count} times in {mutant.file}, and must be there once")
    return text.replace(mutant.old, mutant.new)


def rungs(mutant: Mutant, hint: str | None = None) -> tuple[str, ...]:
    """What is run against `mutant`, in order: the test `hint` if its file is still there, then whole files."""
    own = UNITS.get(mutant.file, ())
    known = (hint,) if hint and (ROOT / "tests" / hint.partition("::")[0]).is_file() else ()
    return (*known, *own, *(rung for rung in LADDER if rung not in own))


def fingerprint() -> str:
    """SHA-256 of what a result depends on: packages and tests, without this script and its list."""
    sha = hashlib.sha256()
    own = {Path(__file__).resolve(), *Path(__file__).resolve().parent.glob("mutant_list*.py")}
    for folder in ("gradrtl", *PACKAGES, "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and path not in own and "__pycache__" not in path.parts:
                sha.update(f"{path.relative_to(ROOT)} ".encode() + path.read_bytes())
    return sha.hexdigest()


class Report:
    """Results by name of the mutant, in `build/mutants/report.json` and as a table beside it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.key = fingerprint()
        self.results: dict[str, dict] = {}
        self.baseline = False
        self.hints: dict[str, str] = {}  # test that caught a mutant before, whatever has changed since
        self.lock = threading.Lock()
        with_results = folder / "report.json"
        if with_results.exists():
            found = json.loads(with_results.read_text())
            self.hints = found.get("hints", {}) | {
                name: entry["caught by"]
                for name, entry in found["mutants"].items()
                if "::" in (entry["caught by"] or "")
            }
            if found["fingerprint"] == self.key:
                self.results, self.baseline = found["mutants"], found["baseline"]

    def has(self, mutant: Mutant) -> bool:
        return self.results.get(mutant.name, {}).get("fault") == [mutant.file, mutant.old, mutant.new]

    def add(self, mutant: Mutant, caught_by: str | None, seconds: float) -> None:
        fault = [mutant.file, mutant.old, mutant.new]
        with self.lock:
            self.results[mutant.name] = {"fault": fault, "caught by": caught_by, "seconds": round(seconds, 1)}
            self.save()

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"fingerprint": self.key, "baseline": self.baseline, "mutants": self.results} | {"hints": self.hints}
        (self.folder / "report.json").write_text(json.dumps(content, indent=1) + "\n")
        (self.folder / "report.md").write_text(self.table(MUTANTS))

    def table(self, mutants: Iterable[Mutant]) -> str:
        rows = ["| file | mutant | what it does | caught by | seconds |", "| --- | --- | --- | --- | ---: |"]
        for mutant in mutants:
            if not self.has(mutant):
                continue
            result = self.results[mutant.name]
            caught = f"`{result['caught by']}`" if result["caught by"] else "**nothing**"
            rows.append(f"| `{mutant.file}` | {mutant.name} | {mutant.does} | {caught} | {result['seconds']} |")
        return "\n".join(rows) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only those whose name or file contains this")
    parser.add_argument("--jobs", type=int, default=1, help="faults that are tried side by side, each in its own copy")
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if given.only in mutant.name or given.only in mutant.file]
    report = Report(FOLDER)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for _ in range(given.jobs):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="copy-", dir=FOLDER))
            copies.put(Copy(Path(folder)))
        pool = stack.enter_context(ThreadPoolExecutor(given.jobs))

        def failure(rung: str) -> str | None:
            copy = copies.get()
            try:
                return copy.failure(rung)
            finally:
                copies.put(copy)

        def attempt(mutant: Mutant) -> None:
            start = time.monotonic()
            copy = copies.get()
            try:
                with copy.fault(mutant):
                    caught_by = next(
                        filter(None, map(copy.failure, rungs(mutant, report.hints.get(mutant.name)))), None
                    )
            finally:
                copies.put(copy)
            report.add(mutant, caught_by, time.monotonic() - start)
            print(f"{mutant.name} ({mutant.file}): {caught_by or 'SURVIVES'}", flush=True)

        if not report.baseline:
            every = list(dict.fromkeys([*(unit for units in UNITS.values() for unit in units), *LADDER]))
            for failed in track(pool.map(failure, every), description="without a fault", total=len(every)):
                if failed:
                    print(f"{failed} fails without any fault")
                    return 2
            report.baseline = True
            report.save()
        missing = [mutant for mutant in chosen if not report.has(mutant)]
        for _ in track(pool.map(attempt, missing), description="mutants", total=len(missing)):
            pass
    report.save()
    print(report.table(chosen))
    survivors = [mutant.name for mutant in chosen if not report.results[mutant.name]["caught by"]]
    print(
        f"{len(chosen)} mutants, {len(chosen) - len(survivors)} caught" + "".join(f"; {s} survives" for s in survivors)
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
