"""Deliberate faults, one at a time: does a test fail? `make mutants`; `--help` tells the rest.

The faults are those of `mutant_list.py`. Each is applied to a copy of the packages, never to the checkout, and the
tests run there, until one fails or hangs: first the test that caught the fault in an earlier campaign
(`mutant_hints.json`, written by `--keep-hints`), then all that see its file, fastest first. A fault that none of them
sees survives, and the exit code is 1.

Results are kept as they come, under a fingerprint of packages and tests: an interrupted run goes on where it stopped,
and a change of either starts it anew. Every test must pass without a fault before it is run with one.
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
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from conftest import THREADS
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
    "gradrtl/store.py": ("test_store.py", "test_cluster.py"),
    "gradrtl/cluster.py": ("test_cluster.py",),
    "gradrtl/workers.py": ("test_cluster.py",),
    "gradrtl/steps/explore.py": ("test_explore.py",),
    "gradrtl/steps/sweep.py": ("test_steps_sweep.py",),
    "gradrtl/steps/tune.py": ("test_steps_tune.py",),
    "gradrtl/processes.py": ("test_processes.py",),
    "gradrtl/checks.py": ("test_quantize_network.py",),
    "gradrtl/shapes.py": ("test_quantize_network.py",),
    "gradrtl/report/page.py": ("test_report_page.py",),
    "gradrtl/report/charts.py": ("test_report_charts.py",),
    "gradrtl/report/plots.py": ("test_report_plots.py",),
    "gradrtl/report/runs.py": ("test_report_runs.py",),
    "gradrtl/steps/results.py": ("test_steps_results.py",),
    "sim/traces.py": ("test_sim_traces.py",),
    "sim/activity.py": ("test_sim_activity.py",),
    "gradrtl/steps/frames.py": ("test_steps_frames.py", "test_steps_named_arrays.py"),
    "gradrtl/steps/named_arrays.py": ("test_steps_named_arrays.py",),
    "gradrtl/steps/notes.py": ("test_steps_notes.py",),
    "gradrtl/steps/picture.py": ("test_steps_picture.py",),
    "gradrtl/steps/sound.py": ("test_steps_sound.py",),
    "gradrtl/steps/place.py": ("test_steps_place.py", "test_rtl_planning.py"),
    "quantize/frames.py": ("test_steps_frames.py", "test_quantize_graph.py"),
    "quantize/images.py": ("test_steps_frames.py", "test_quantize_integer_graph.py", "test_model_recordings.py"),
    "quantize/integer_graph.py": ("test_quantize_integer_graph.py", "test_quantize_qat_network.py"),
    "quantize/reals.py": ("test_quantize_integer_graph.py",),
    "quantize/imported_reals.py": ("test_quantize_imported_reals.py", "test_steps_tuning.py"),
    "gradrtl/steps/tuning.py": ("test_steps_tuning.py",),
    "gradrtl/steps/importing.py": ("test_commands_importing.py", "test_steps_tuning.py"),
    "model/recordings.py": ("test_model_recordings.py",),
    **dict.fromkeys(
        (
            f"model/events/{name}.py"
            for name in ("aedat", "arrays", "binning", "content", "gesture", "moving", "moving_kernels", "nmnist")
        ),
        ("test_model_events.py",),
    ),
    **dict.fromkeys(
        (f"model/events/{name}.py" for name in ("prophesee", "sets", "spoken", "wav")), ("test_model_events.py",)
    ),
    "gradrtl/steps/events.py": ("test_steps_events.py",),
    "model/sets.py": ("test_model_recordings.py",),
    "model/architecture.py": ("test_model_architecture.py", "test_model_graph_network.py", "test_model_recordings.py"),
    "quantize/labelled_frames.py": ("test_quantize_qat_network.py",),
    "model/importing/geometry.py": ("test_model_importing_graph.py", "test_frameworks.py"),
    "model/importing/graph.py": ("test_model_importing_graph.py",),
    "model/importing/hdf5.py": ("test_model_importing_conventions.py", "test_model_importing_hdf5.py"),
    "model/importing/linear.py": ("test_model_importing_graph.py",),
    "model/importing/modules.py": ("test_model_importing_modules.py",),
    "model/importing/neurons.py": ("test_model_importing_neurons.py", "test_frameworks.py"),
    "model/importing/reference.py": ("test_frameworks.py",),
    "model/importing/structure.py": (
        "test_model_importing_neurons.py",
        "test_model_importing_graph.py",
        "test_frameworks.py",
        "test_commands_importing.py",
    ),
    "model/importing/training.py": ("test_model_importing_training.py",),
    "quantize/imported.py": (
        "test_model_importing_neurons.py",
        "test_model_importing_graph.py",
        "test_commands_importing.py",
        "test_frameworks.py",
    ),
    "quantize/nir_export.py": ("test_quantize_nir_export.py",),
    "quantize/nir_formats.py": ("test_quantize_nir_export.py", "test_commands_importing.py"),
    "quantize/nir_restored.py": ("test_quantize_nir_export.py",),
    "quantize/fold.py": ("test_quantize_fold.py",),
    "quantize/integer_module.py": ("test_quantize_integer_module.py",),
    "quantize/interface.py": ("test_quantize_network.py",),
    "quantize/kernels.py": ("test_quantize_fire.py",),
    "quantize/living.py": ("test_quantize_living.py",),
    "quantize/graph.py": ("test_quantize_graph.py",),
    "quantize/graph_ptq.py": ("test_quantize_graph_ptq.py",),
    "quantize/graph_rounding.py": ("test_quantize_graph_rounding.py", "test_quantize_graph_ptq.py"),
    "quantize/network.py": ("test_quantize_network.py", "test_quantize_graph.py"),
    "quantize/network_file.py": ("test_quantize_network_file.py", "test_quantize_graph.py", "test_quantize_network.py"),
    "quantize/network_file_1.py": ("test_quantize_graph.py", "test_quantize_network.py"),
    "quantize/population.py": ("test_quantize_graph.py",),
    "sim/frames.py": ("test_quantize_graph.py",),
    "sim/frontend.py": ("test_sim_frontend.py",),
    "sim/compiled_frontend.py": ("test_sim_compiled_frontend.py",),
    "quantize/frontend.py": ("test_quantize_frontend.py", "test_sim_frontend.py", "test_rtl_frontend.py"),
    "rtl/frontend.py": ("test_rtl_frontend.py",),
    "quantize/neuron.py": ("test_quantize_neuron.py",),
    "quantize/placement.py": ("test_quantize_placement.py", "test_quantize_network.py"),
    "quantize/ptq.py": ("test_quantize_ptq.py",),
    "quantize/qat.py": ("test_quantize_qat.py", "test_quantize_qat_network.py"),
    "quantize/ranges.py": ("test_quantize_graph.py", "test_quantize_network.py"),
    "quantize/rounding.py": ("test_quantize_rounding.py", "test_quantize_ptq.py"),
    "quantize/state_kernels.py": ("test_quantize_states.py",),
    "quantize/states.py": ("test_quantize_states.py",),
    "quantize/thinning.py": ("test_quantize_thinning.py",),
    "sim/reference.py": ("test_sim_reference.py",),
    "sim/sampling.py": ("test_sim_sampling.py",),
    "sim/screening.py": ("test_sim_screening.py",),
    "sim/confinement.py": ("test_sim_confinement.py", "test_sim_verify.py"),
    "sim/records.py": ("test_sim_records.py",),
    "sim/driving.py": ("test_sim_verify.py", "test_sim_verilated.py"),
    "sim/beats.py": ("test_sim_beats.py",),
    "rtl/frame_words.py": ("test_sim_beats.py",),
    "sim/verify.py": ("test_sim_verify.py", "test_sim_verilated.py"),
    "sim/compare.py": ("test_sim_compare.py",),
    "sim/toolchain.py": ("test_sim_verify.py", "test_sim_verilated.py"),
    "sim/generated.py": ("test_sim_generated.py",),
    "sim/templates/launch.cpp": ("test_sim_confinement.py",),
    "sim/templates/confine.h": ("test_sim_verify.py",),
    "sim/templates/driver.cpp": ("test_sim_verify.py", "test_sim_verilated.py"),
    "rtl/c_header.py": ("test_rtl_c_header.py",),
    "rtl/header.py": ("test_rtl_header.py",),
    "rtl/interface.py": ("test_rtl_interface.py",),
    "rtl/planning.py": ("test_rtl_planning.py",),
    "rtl/clocks.py": ("test_rtl_clocks.py",),
    "rtl/boards.py": ("test_rtl_clocks.py", "test_rtl_synthesis.py"),
    "rtl/neuron.py": ("test_rtl_neuron.py",),
    "rtl/mapping.py": ("test_rtl_mapping.py",),
    "rtl/layer_mapping.py": ("test_rtl_mapping.py",),
    "rtl/synapse_format.py": ("test_rtl_synapse_format.py", "test_rtl_mapping.py"),
    "rtl/slots.py": ("test_rtl_mapping.py", "test_rtl_update.py", "test_rtl_convolution.py"),
    "rtl/place_dense.py": ("test_rtl_mapping.py",),
    "rtl/place_convolution.py": ("test_rtl_convolution.py",),
    "rtl/lists.py": ("test_rtl_lists.py",),
    "rtl/pruning.py": ("test_rtl_pruning.py",),
    "rtl/assignment.py": ("test_rtl_assignment.py",),
    "rtl/rtlil.py": ("test_rtl_rtlil.py", "test_rtl_verilog.py"),
    "rtl/readout.py": ("formal/test_readout.py", "test_quantize_first_spike.py"),
    "rtl/memory.py": ("test_rtl_verilog.py",),
    "rtl/verilog.py": ("test_rtl_verilog.py",),
    "rtl/scan.py": ("test_rtl_convolution.py", "test_rtl_lists.py"),
    "rtl/convolution.py": ("test_rtl_convolution.py", "test_rtl_lists.py"),
    "rtl/addressing.py": ("test_rtl_convolution.py", "test_rtl_graphs.py"),
    "rtl/serial/accelerator.py": ("test_rtl_serial.py", "test_host.py"),
    "rtl/serial/answers.py": ("test_rtl_serial_parts.py", "test_rtl_serial.py", "test_host.py"),
    "rtl/serial/events.py": ("test_rtl_serial.py",),
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
    "rtl/framing.py": ("test_rtl_inputs.py", "formal/test_framing.py", "test_rtl_top.py"),
    "rtl/top.py": ("test_rtl_top.py", "test_cocotb_top.py"),
    "rtl/axilite.py": ("formal/test_axilite.py", "test_cocotb_top.py"),
    "rtl/fifo.py": ("test_rtl_top.py", "formal/test_queue.py"),
    "rtl/serialiser.py": ("test_rtl_top.py", "formal/test_serialiser.py"),
    "rtl/datapath.py": ("test_rtl_graphs.py", "test_cocotb_top.py", "test_sim_timing_graph.py"),
    "rtl/issue.py": ("test_rtl_graphs.py", "test_rtl_top.py", "test_rtl_fire.py", "formal/test_rows.py"),
    "rtl/fire.py": ("test_rtl_fire.py", "test_rtl_top.py"),
    "rtl/update.py": ("test_rtl_update.py", "test_rtl_graphs.py", "test_rtl_top.py", "test_rtl_random.py"),
    "rtl/parameters.py": ("test_rtl_mapping.py", "test_rtl_update.py", "test_rtl_random.py"),
    "rtl/join.py": ("test_rtl_join.py", "test_rtl_graphs.py", "test_sim_timing_graph.py", "formal/test_join.py"),
    "rtl/inputs.py": ("test_rtl_inputs.py", "test_rtl_routes.py", "test_rtl_graphs.py"),
    "rtl/routes.py": ("test_rtl_routes.py", "test_rtl_graphs.py", "test_sim_timing_graph.py"),
    "rtl/fork.py": ("formal/test_fork.py", "test_rtl_graphs.py"),
    "rtl/gather.py": ("formal/test_gather.py", "test_rtl_gather.py", "test_rtl_graphs.py"),
    "rtl/outputs.py": ("test_rtl_gather.py", "test_rtl_c_header.py"),
    "rtl/flags.py": ("test_rtl_gather.py", "test_rtl_flags.py", "formal/test_flags.py", "test_sim_timing_graph.py"),
    "sim/timing/graph.py": ("test_rtl_graphs.py", "test_sim_timing_graph.py"),
    "rtl/edge.py": (
        "test_rtl_edge.py",
        "formal/test_late_input.py",
        "formal/test_serialiser.py",
        "test_rtl_recurrent.py",
        "test_rtl_graphs.py",
    ),
    "rtl/core.py": ("test_rtl_recurrent.py", "test_rtl_top.py"),
    "rtl/largest.py": ("test_rtl_largest.py", "test_rtl_random.py"),
    "rtl/pool.py": ("test_rtl_graphs.py", "test_rtl_convolution.py"),
    "rtl/lookup.py": ("test_rtl_top.py",),
    "rtl/reader.py": ("test_rtl_top.py", "test_rtl_graphs.py"),
    "rtl/accumulators.py": ("test_rtl_top.py", "test_sim_timing_graph.py"),
    "model/gradr.py": ("test_model_gradr.py", "test_model_recipes.py"),
    "model/recipes.py": ("test_model_recipes.py", "test_model_train.py"),
    "model/graph.py": ("test_model_graph.py", "test_model_graph_network.py"),
    "model/dynamics.py": ("test_model_recurrent.py", "test_model_graph_integers.py"),
    "model/recurrent.py": ("test_model_recurrent.py",),
    "model/recurrent_kernels.py": ("test_model_recurrent.py",),
    "model/graph_network.py": ("test_model_graph_network.py", "test_model_graph_integers.py"),
    "model/connectivity.py": ("test_model_connectivity.py", "test_model_graph_network.py"),
    "model/sequences.py": ("test_model_graph_network.py",),
    "model/train.py": (
        "test_model_start.py",
        "test_model_resume.py",
        "test_model_train.py",
        "test_model_graph_network.py",
    ),
    "model/resume.py": ("test_model_resume.py",),
    "model/data.py": ("test_model_data.py",),
    "model/augment.py": ("test_model_augment.py", "test_model_recordings.py"),
    "model/relu.py": ("test_model_relu.py", "test_model_conversion.py", "test_model_relu_start.py"),
    "model/distillation.py": ("test_model_distillation.py",),
    "model/relu_modules.py": ("test_model_relu_modules.py",),
    "model/relu_start.py": ("test_model_relu_start.py",),
    "gradrtl/commands/options.py": ("test_committed.py",),
    "model/relu_train.py": ("test_model_relu_train.py",),
    "model/conversion.py": ("test_model_conversion.py",),
    "model/checkpoint.py": ("test_model_checkpoint.py",),
    "quantize/sweep.py": ("test_quantize_sweep.py",),
    "quantize/first_spike.py": ("test_quantize_first_spike.py",),
    "sim/timing/fifo.py": ("test_sim_timing_fifo.py", "test_sim_timing_predict.py"),
    "sim/timing/pe.py": ("test_sim_timing_pe.py", "test_sim_timing_predict.py"),
    "sim/timing/fire.py": ("test_sim_timing_fire.py", "test_sim_timing_predict.py"),
    "sim/timing/serialiser.py": ("test_sim_timing_serialiser.py", "test_sim_timing_predict.py"),
    "sim/timing/framer.py": ("test_sim_timing_framer.py", "test_sim_timing_predict.py"),
    "sim/timing/readout.py": ("test_sim_timing_readout.py", "test_quantize_first_spike.py"),
    "sim/timing/predict.py": ("test_sim_timing_predict.py",),
    "sim/events.py": ("test_sim_events.py", "test_sim_timing_predict.py"),
    "sim/trains.py": ("test_sim_program.py", "test_sim_engine.py"),
    "sim/widths.py": ("test_sim_program.py", "test_sim_engine.py"),
    "sim/program.py": ("test_sim_program.py", "test_sim_engine.py"),
    "sim/kernels.py": ("test_sim_engine.py", "test_quantize_first_spike.py"),
    "sim/engine.py": ("test_sim_engine.py",),
    "sim/outcome.py": ("test_sim_engine.py",),
    "sim/operations.py": ("test_sim_operations.py", "test_sim_engine.py"),
    "sim/energy.py": ("test_sim_energy.py",),
    "sim/measure.py": ("test_sim_measure.py",),
    "rtl/contents.py": ("test_rtl_contents.py",),
    "rtl/wrapper.py": ("test_rtl_wrapper.py", "test_steps_package.py"),
    "gradrtl/steps/kit.py": ("test_steps_package.py", "test_steps_vivado.py"),
    "gradrtl/steps/package.py": ("test_steps_package.py",),
    "gradrtl/steps/ipxact.py": ("test_steps_vivado.py",),
    "gradrtl/steps/vivado.py": ("test_steps_vivado.py",),
    "gradrtl/steps/litex.py": ("test_steps_litex.py",),
    "gradrtl/templates/package/litex_module.py": ("test_steps_litex.py",),
    "gradrtl/templates/package/build.tcl.j2": ("test_steps_vivado.py",),
    "gradrtl/templates/package/pynq_driver.py": ("test_steps_vivado.py",),
    "sim/waves.py": ("test_sim_waves.py",),
}
LADDER = ("test_rtl_top.py", "test_rtl_convolution.py", "formal", "test_rtl_random.py", "test_cocotb_top.py")
LONGEST = 600.0  # seconds for a file of tests without a fault
PATIENCE = (60.0, 4.0)  # with a fault: a constant, and a multiple of what the file takes without; then it hangs
CATCHERS = ("own tests", "other tests", "formal", "nothing")  # columns of the table by file
HINTS = ROOT / "tests" / "mutant_hints.json"  # the test that caught a mutant in an earlier campaign


class Copy:
    """The packages and tests in a folder of their own, where one fault at a time is applied.

    Builds and compiled functions are kept between runs without a fault. A fault works on copies of them, which are
    thrown away with it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        for source in (ROOT / "gradrtl", *(ROOT / name for name in PACKAGES)):
            target = folder / "gradrtl" / ("" if source.name == "gradrtl" else source.name)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        for name in ("README.md", "checkpoints", "data", "docs", "networks"):
            (folder / name).symlink_to(ROOT / name)
        self.kept = folder / "build" / "cache"
        self.kernels = folder / "kernels"
        self.kept.mkdir(parents=True)
        self.kernels.mkdir()
        self.server: subprocess.Popen[str] | None = None
        self.process: int | None = None  # of pytest, while it runs

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

    def share(self, other: Copy) -> None:
        """Builds and compiled functions of `other` that are not here."""
        for entry in other.kept.iterdir():
            if entry.is_dir() and not (self.kept / entry.name).exists():
                shutil.copytree(entry, self.kept / entry.name, copy_function=os.link)
        for package in (path.parent for path in self.folder.glob("gradrtl/**/*.py")):
            mine, theirs = (
                copy.kernels / folder_of_kernels(copy.folder / package.relative_to(self.folder))
                for copy in (self, other)
            )
            if theirs.is_dir():
                shutil.copytree(theirs, mine, dirs_exist_ok=True)

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
            )
        stdin, stdout = self.server.stdin, self.server.stdout
        assert stdin is not None
        assert stdout is not None
        environment = {"NUMBA_CACHE_DIR": str(self.kernels)}
        request = {"arguments": arguments, "environment": environment, "output": str(output)}
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        self.process = process = int(stdout.readline())
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            end_session(process)

        timer = threading.Timer(longest, stop)
        timer.start()
        code = int(stdout.readline())
        timer.cancel()
        end_session(process)  # simulators and solvers that pytest has left
        self.process = None
        return None if stopped.is_set() else code

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
        """End what runs here."""
        if self.process is not None:
            end_session(self.process)
        if self.server is not None:
            self.server.communicate()  # its input ends, and so does it


def folder_of_kernels(package: Path) -> str:
    """Where Numba keeps compiled functions of `package` in NUMBA_CACHE_DIR (a wrong guess costs time, no more)."""
    return f"{package.name}_{hashlib.sha1(str(package).encode()).hexdigest()}"


def end_session(process: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def applied(mutant: Mutant, text: str) -> str:
    """`text` with the fault; `ValueError` if its old text is not there exactly once, or is its new one."""
    count = text.count(mutant.old)
    if count != 1 or mutant.old == mutant.new:
        raise ValueError(f"{mutant.name}: its old text is {count} times in {mutant.file}, and must be there once")
    return text.replace(mutant.old, mutant.new)


def there(hint: str | None) -> bool:
    """Whether the file of the test `hint` is still there."""
    return hint is not None and (ROOT / "tests" / hint.partition("::")[0]).is_file()


def rungs(mutant: Mutant, hint: str | None = None) -> tuple[str, ...]:
    """What is run against `mutant`, in order: the test `hint` if its file is still there, then whole files."""
    own = UNITS.get(mutant.file, ())
    known = (hint,) if hint and there(hint) else ()
    return (*known, *own, *(rung for rung in LADDER if rung not in own))


def fingerprint() -> str:
    """SHA-256 of what a result depends on: packages and tests, without these scripts, their lists and hints."""
    sha = hashlib.sha256()
    own = {HINTS, *Path(__file__).resolve().parent.glob("mutant*.py")}
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
        self.baseline: dict[str, float] = {}  # files of tests that pass without a fault, and their seconds
        self.hints: dict[str, str] = json.loads(HINTS.read_text()) if HINTS.exists() else {}
        self.lock = threading.Lock()
        with_results = folder / "report.json"
        if with_results.exists():
            found = json.loads(with_results.read_text())
            self.learn(found["mutants"])
            if found["fingerprint"] == self.key:
                self.results, self.baseline = found["mutants"], found["baseline"]

    def learn(self, results: dict[str, dict]) -> None:
        """The tests that caught mutants are their hints from now on."""
        for name, entry in results.items():
            if "::" in (caught_by := entry["caught by"] or ""):
                self.hints[name] = caught_by.removesuffix(" hangs")

    def has(self, mutant: Mutant) -> bool:
        return self.results.get(mutant.name, {}).get("fault") == [mutant.file, mutant.old, mutant.new]

    def passed(self, rung: str, seconds: float) -> None:
        with self.lock:
            self.baseline[rung] = round(seconds, 1)
            self.save()

    def longest(self, rung: str) -> float:
        """Seconds after which `rung`, with a fault, hangs."""
        constant, multiple = PATIENCE
        return constant + multiple * self.baseline[rung.partition("::")[0]]

    def add(self, mutant: Mutant, caught_by: str | None, seconds: float) -> None:
        fault = [mutant.file, mutant.old, mutant.new]
        with self.lock:
            self.results[mutant.name] = {"fault": fault, "caught by": caught_by, "seconds": round(seconds, 1)}
            self.save()

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"fingerprint": self.key, "baseline": self.baseline, "mutants": self.results}
        (self.folder / "report.json").write_text(json.dumps(content, indent=1) + "\n")
        (self.folder / "report.md").write_text(f"{self.summary(MUTANTS)}\n{self.table(MUTANTS)}")

    def keep_hints(self) -> None:
        """Write `tests/mutant_hints.json`: of each mutant on the list, the test that caught it last."""
        self.learn(self.results)
        hints = {mutant.name: self.hints[mutant.name] for mutant in MUTANTS if there(self.hints.get(mutant.name))}
        HINTS.write_text(json.dumps(hints, indent=1) + "\n")

    def table(self, mutants: Iterable[Mutant]) -> str:
        """A row a mutant."""
        rows = ["| file | mutant | what it does | caught by | seconds |", "| --- | --- | --- | --- | ---: |"]
        for mutant in mutants:
            if not self.has(mutant):
                continue
            result = self.results[mutant.name]
            caught = f"`{result['caught by']}`" if result["caught by"] else "**nothing**"
            rows.append(f"| `{mutant.file}` | {mutant.name} | {mutant.does} | {caught} | {result['seconds']} |")
        return "\n".join(rows) + "\n"

    def summary(self, mutants: Iterable[Mutant]) -> str:
        """A row a source file, as in docs/verification.md."""
        counts: dict[str, Counter[str]] = {}
        for mutant in sorted(mutants, key=lambda mutant: mutant.file):
            if self.has(mutant):
                column = kind_of_test(mutant, self.results[mutant.name]["caught by"])
                counts.setdefault(mutant.file, Counter())[column] += 1
        everything = sum(counts.values(), Counter())
        rows = [
            f"| file | mutants | {' | '.join(CATCHERS)} |",
            f"| --- | ---: |{' ---: |' * len(CATCHERS)}",
            *(
                f"| {name} | {count.total()} | {' | '.join(str(count[column] or '') for column in CATCHERS)} |"
                for name, count in [*((f"`{file}`", count) for file, count in counts.items()), ("all", everything)]
            ),
        ]
        return "\n".join(rows) + "\n"


def kind_of_test(mutant: Mutant, caught_by: str | None) -> str:
    """The column of `CATCHERS` for a mutant that the test `caught_by` has caught."""
    if caught_by is None:
        return "nothing"
    file = caught_by.removesuffix(" hangs").partition("::")[0]
    if file.startswith("formal"):
        return "formal"
    return "own tests" if file in UNITS.get(mutant.file, ()) else "other tests"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only those whose name or file contains this")
    parser.add_argument("--jobs", type=int, default=1, help="faults that are tried side by side, each in its own copy")
    parser.add_argument("--keep-hints", action="store_true", help="write tests/mutant_hints.json from the results")
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if given.only in mutant.name or given.only in mutant.file]
    report = Report(FOLDER)
    missing = [mutant for mutant in chosen if not report.has(mutant)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        every = []
        for _ in range(given.jobs if missing else 0):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="copy-", dir=FOLDER))
            every.append(stack.enter_context(closing(Copy(Path(folder)))))
            copies.put(every[-1])
        pool = stack.enter_context(ThreadPoolExecutor(given.jobs))

        def without_a_fault(rung: str) -> str | None:
            start = time.monotonic()
            copy = copies.get()
            try:
                failed = copy.failure(rung)
            finally:
                copies.put(copy)
            if not failed:
                report.passed(rung, time.monotonic() - start)
            return failed

        def attempt(mutant: Mutant) -> None:
            start = time.monotonic()
            copy = copies.get()
            try:
                with copy.fault(mutant):
                    tried = (
                        copy.failure(rung, report.longest(rung))
                        for rung in rungs(mutant, report.hints.get(mutant.name))
                    )
                    caught_by = next(filter(None, tried), None)
            finally:
                copies.put(copy)
            report.add(mutant, caught_by, time.monotonic() - start)
            print(f"{mutant.name} ({mutant.file}): {caught_by or 'SURVIVES'}", flush=True)

        needed = dict.fromkeys(
            rung.partition("::")[0] for mutant in missing for rung in rungs(mutant, report.hints.get(mutant.name))
        )
        unproven = [rung for rung in needed if rung not in report.baseline]
        for failed in track(pool.map(without_a_fault, unproven), description="without a fault", total=len(unproven)):
            if failed:
                print(f"{failed} fails without any fault")
                return 2
        for copy in every:
            for other in every:
                if other is not copy:
                    copy.share(other)
        for _ in track(pool.map(attempt, missing), description="mutants", total=len(missing)):
            pass
    report.save()
    if given.keep_hints:
        report.keep_hints()
    print(report.table(chosen))
    print(report.summary(chosen))
    survivors = [mutant.name for mutant in chosen if not report.results[mutant.name]["caught by"]]
    print(
        f"{len(chosen)} mutants, {len(chosen) - len(survivors)} caught" + "".join(f"; {s} survives" for s in survivors)
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
