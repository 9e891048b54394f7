"""Deliberate faults, one at a time: does a test fail? `make mutants`; `--help` tells the rest.

The faults are those of `mutant_list.py`. Each is applied to a copy of the packages, never to the checkout, and the
tests run there, until one fails or hangs: first the test that caught the fault in an earlier campaign
(`mutant_hints.json`, written by `--keep-hints`), then all that see its file, fastest first. A fault that none of them
sees survives, and the exit code is 1. Every test must pass without a fault before it is run with one.

Results are kept as they come in `build/mutants`, under a digest of packages and tests: an interrupted run goes on
where it stopped, and a change of either starts it anew. Faults are tried in processes here, each with a copy of its
own, or on the workers of a Dask scheduler (docs/scale-out.md).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutant import Mutant
from mutant_copy import HINTS, LONGEST, ROOT, Copy, clear, fingerprint
from mutant_list import MUTANTS

from gradrtl import cluster
from gradrtl.cluster import Cluster
from gradrtl.errors import UserError
from gradrtl.store import Line, Store

FOLDER = Path("build/mutants")  # in the checkout
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
    "gradrtl/steps/demo.py": ("test_steps_demo.py", "test_cli.py"),
    "gradrtl/steps/run.py": ("test_steps_run.py", "test_cli.py"),
    "gradrtl/commands/explore.py": ("test_explore.py",),
    "gradrtl/steps/explore.py": ("test_explore.py",),
    "gradrtl/steps/sweep.py": ("test_steps_sweep.py",),
    "gradrtl/steps/tune.py": ("test_steps_tune.py",),
    "gradrtl/processes.py": ("test_processes.py",),
    "gradrtl/checks.py": ("test_quantize_network.py",),
    "gradrtl/shapes.py": ("test_quantize_network.py",),
    "gradrtl/report/page.py": ("test_report_page.py",),
    "gradrtl/report/charts.py": ("test_report_charts.py",),
    "gradrtl/report/plots.py": ("test_report_plots.py", "test_sim_verify_stream.py"),
    "gradrtl/report/runs.py": ("test_report_runs.py", "test_commands_report.py"),
    "gradrtl/steps/results.py": ("test_steps_results.py",),
    "gradrtl/cli.py": ("test_errors.py", "test_cli.py"),
    "gradrtl/errors.py": ("test_errors.py",),
    "gradrtl/steps/simulate.py": ("test_steps_results.py", "test_steps_notes.py"),
    "sim/traces.py": ("test_sim_traces.py", "test_sim_verify_stream.py", "test_rtl_cancel.py"),
    "gradrtl/report/sections.py": ("test_report_runs.py", "test_commands_report.py"),
    "gradrtl/report/pictures.py": ("test_report_runs.py", "test_commands_report.py"),
    "sim/activity.py": ("test_sim_activity.py",),
    "gradrtl/steps/frames.py": ("test_steps_frames.py", "test_steps_named_arrays.py"),
    "gradrtl/steps/named_arrays.py": ("test_steps_named_arrays.py",),
    "gradrtl/steps/notes.py": ("test_steps_notes.py",),
    "gradrtl/steps/quantise.py": ("test_steps_quantise.py", "test_quantize_calibration.py"),
    "gradrtl/steps/picture.py": ("test_steps_picture.py",),
    "gradrtl/steps/sound.py": ("test_steps_sound.py",),
    "gradrtl/steps/hearing.py": ("test_steps_hearing.py",),
    "gradrtl/steps/synth.py": ("test_commands_board.py",),
    "gradrtl/steps/streaming.py": ("test_steps_streaming.py",),
    "sim/timing/microphone.py": ("test_sim_timing_microphone.py",),
    "rtl/microphone.py": ("test_rtl_microphone.py",),
    "gradrtl/steps/place.py": ("test_steps_place.py", "test_rtl_planning.py"),
    "quantize/frames.py": ("test_steps_frames.py", "test_quantize_graph.py"),
    "quantize/images.py": ("test_steps_frames.py", "test_quantize_integer_graph.py", "test_model_recordings.py"),
    "quantize/integer_graph.py": (
        "test_quantize_integer_graph.py",
        "test_quantize_qat_network.py",
        "test_model_recordings.py",
    ),
    "quantize/reals.py": ("test_quantize_integer_graph.py",),
    "quantize/imported_reals.py": ("test_quantize_imported_reals.py", "test_steps_tuning.py"),
    "gradrtl/steps/tuning.py": ("test_steps_tuning.py",),
    "gradrtl/commands/importing.py": ("test_commands_importing.py",),
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
    "model/hdf5_process.py": ("test_model_events.py", "test_model_importing_hdf5.py"),
    "model/importing/hdf5.py": ("test_model_importing_conventions.py", "test_model_importing_hdf5.py"),
    "model/importing/linear.py": ("test_model_importing_graph.py",),
    **dict.fromkeys(
        (f"model/importing/{name}.py" for name in ("modules", "norse", "sinabs", "snntorch")),
        ("test_model_importing_modules.py",),
    ),
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
    "quantize/config.py": ("test_quantize_qat.py",),
    "quantize/fold.py": ("test_quantize_fold.py",),
    "quantize/integer_module.py": ("test_quantize_integer_module.py", "test_quantize_qat.py"),
    "quantize/interface.py": ("test_quantize_network.py",),
    "quantize/kernels.py": ("test_quantize_fire.py",),
    "quantize/living.py": ("test_quantize_living.py",),
    "quantize/graph.py": ("test_quantize_graph.py",),
    "quantize/graph_ptq.py": ("test_quantize_graph_ptq.py", "test_model_rounding.py"),
    "quantize/graph_rounding.py": ("test_quantize_graph_rounding.py", "test_quantize_graph_ptq.py"),
    "quantize/network.py": ("test_quantize_network.py", "test_quantize_graph.py", "test_sim_engine_stream.py"),
    "quantize/network_file.py": ("test_quantize_network_file.py", "test_quantize_graph.py", "test_quantize_network.py"),
    "quantize/network_file_1.py": ("test_quantize_graph.py", "test_quantize_network.py"),
    "quantize/population.py": ("test_quantize_graph.py",),
    "sim/frames.py": ("test_quantize_graph.py",),
    "sim/frontend.py": ("test_sim_frontend.py",),
    "sim/compiled_frontend.py": ("test_sim_compiled_frontend.py",),
    "quantize/frontend.py": ("test_quantize_frontend.py", "test_sim_frontend.py", "test_rtl_frontend.py"),
    "rtl/frontend.py": ("test_rtl_frontend.py",),
    "rtl/latency.py": ("test_rtl_frontend.py", "test_sim_timing_predict.py"),
    "quantize/neuron.py": ("test_quantize_neuron.py",),
    "quantize/placement.py": ("test_quantize_placement.py", "test_quantize_network.py", "test_rtl_stream.py"),
    "quantize/ptq.py": ("test_quantize_ptq.py",),
    "quantize/qat.py": ("test_quantize_qat.py", "test_quantize_qat_network.py"),
    "quantize/ranges.py": ("test_quantize_graph.py", "test_quantize_network.py"),
    "quantize/rounding.py": ("test_quantize_rounding.py", "test_quantize_ptq.py"),
    "quantize/state_kernels.py": ("test_quantize_states.py",),
    "quantize/states.py": ("test_quantize_states.py",),
    "quantize/thinning.py": ("test_quantize_thinning.py",),
    "sim/reference.py": ("test_sim_reference.py", "test_sim_engine_stream.py"),
    "sim/sampling.py": ("test_sim_sampling.py",),
    "sim/screening.py": ("test_sim_screening.py",),
    "sim/confinement.py": ("test_sim_confinement.py", "test_sim_verify.py"),
    "sim/records.py": ("test_sim_records.py",),
    "sim/driving.py": ("test_sim_verify.py", "test_sim_verify_apart.py", "test_sim_verilated.py"),
    "sim/beats.py": ("test_sim_beats.py",),
    "rtl/frame_words.py": ("test_sim_beats.py",),
    "sim/verify.py": (
        "test_sim_pieces.py",
        "test_sim_verify.py",
        "test_sim_verilated.py",
        "test_sim_verify_stream.py",
        "test_rtl_stream.py",
    ),
    "sim/compare.py": ("test_sim_compare.py",),
    "sim/toolchain.py": ("test_sim_verify.py", "test_sim_verilated.py"),
    "sim/generated.py": ("test_sim_generated.py",),
    "sim/templates/launch.cpp": ("test_sim_confinement.py",),
    "sim/templates/confine.h": ("test_sim_verify.py",),
    "sim/templates/driver.cpp": ("test_sim_verify.py", "test_sim_verilated.py", "test_sim_verify_apart.py"),
    "rtl/c_header.py": ("test_rtl_c_header.py",),
    "rtl/header.py": ("test_rtl_header.py",),
    "rtl/interface.py": ("test_rtl_interface.py",),
    "rtl/planning.py": ("test_rtl_planning.py", "test_rtl_queues.py"),
    "rtl/queues.py": ("test_rtl_queues.py", "test_rtl_fifo.py", "test_rtl_flags.py", "test_sim_timing_graph.py"),
    "rtl/synthesis.py": ("test_rtl_synthesis.py",),
    "gradrtl/commands/board.py": ("test_commands_report.py", "test_commands_board.py", "test_cli.py"),
    "rtl/clocks.py": ("test_rtl_clocks.py",),
    "rtl/boards.py": ("test_rtl_clocks.py", "test_rtl_synthesis.py"),
    "rtl/neuron.py": ("test_rtl_neuron.py",),
    "rtl/mapping.py": ("test_rtl_mapping.py", "test_rtl_cancel.py"),
    "rtl/layer_mapping.py": ("test_rtl_mapping.py",),
    "rtl/synapse_format.py": ("test_rtl_synapse_format.py", "test_rtl_mapping.py"),
    "rtl/slots.py": ("test_rtl_mapping.py", "test_rtl_update.py", "test_rtl_convolution.py"),
    "rtl/place_dense.py": ("test_rtl_mapping.py",),
    "rtl/place_convolution.py": ("test_rtl_convolution.py",),
    "rtl/lists.py": ("test_rtl_lists.py",),
    "rtl/pruning.py": ("test_rtl_pruning.py", "test_rtl_stream.py"),
    "rtl/assignment.py": ("test_rtl_assignment.py",),
    "rtl/rtlil.py": ("test_rtl_rtlil.py", "test_rtl_verilog.py"),
    "rtl/readout.py": (
        "formal/test_readout.py",
        "test_quantize_first_spike.py",
        "test_rtl_cancel.py",
        "test_rtl_stream.py",
    ),
    "rtl/cancel.py": ("test_rtl_cancel.py",),
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
    "rtl/framing.py": ("test_rtl_inputs.py", "formal/test_framing.py", "test_rtl_top.py", "test_rtl_stream.py"),
    "rtl/top.py": ("test_rtl_top.py", "test_cocotb_top.py", "test_rtl_cancel.py", "test_rtl_stream.py"),
    "rtl/axilite.py": ("formal/test_axilite.py", "test_cocotb_top.py"),
    "rtl/fifo.py": ("test_rtl_fifo.py", "test_rtl_top.py", "formal/test_queue.py"),
    "rtl/serialiser.py": ("test_rtl_top.py", "formal/test_serialiser.py"),
    "rtl/datapath.py": ("test_rtl_graphs.py", "test_cocotb_top.py", "test_sim_timing_graph.py", "test_rtl_cancel.py"),
    "rtl/issue.py": (
        "test_rtl_graphs.py",
        "test_rtl_top.py",
        "test_rtl_fire.py",
        "formal/test_rows.py",
        "test_rtl_stream.py",
    ),
    "rtl/fire.py": ("test_rtl_fire.py", "test_rtl_top.py"),
    "rtl/update.py": ("test_rtl_update.py", "test_rtl_graphs.py", "test_rtl_top.py", "test_rtl_random.py"),
    "rtl/parameters.py": ("test_rtl_mapping.py", "test_rtl_update.py", "test_rtl_random.py"),
    "rtl/join.py": ("test_rtl_join.py", "test_rtl_graphs.py", "test_sim_timing_graph.py", "formal/test_join.py"),
    "rtl/inputs.py": ("test_rtl_inputs.py", "test_rtl_routes.py", "test_rtl_graphs.py"),
    "rtl/routes.py": ("test_rtl_routes.py", "test_rtl_graphs.py", "test_sim_timing_graph.py"),
    "rtl/fork.py": ("formal/test_fork.py", "test_rtl_graphs.py"),
    "rtl/gather.py": ("formal/test_gather.py", "test_rtl_gather.py", "test_rtl_graphs.py"),
    "rtl/outputs.py": ("test_rtl_gather.py", "test_rtl_c_header.py", "test_rtl_stream.py"),
    "rtl/flags.py": ("test_rtl_gather.py", "test_rtl_flags.py", "formal/test_flags.py", "test_sim_timing_graph.py"),
    "sim/timing/graph.py": ("test_rtl_graphs.py", "test_sim_timing_graph.py", "test_rtl_stream.py"),
    "rtl/edge.py": (
        "test_rtl_edge.py",
        "formal/test_late_input.py",
        "formal/test_serialiser.py",
        "test_rtl_recurrent.py",
        "test_rtl_graphs.py",
        "test_rtl_stream.py",
    ),
    "rtl/core.py": ("test_rtl_recurrent.py", "test_rtl_top.py"),
    "rtl/largest.py": ("test_rtl_largest.py", "test_rtl_stream.py", "test_rtl_random.py"),
    "rtl/pool.py": ("test_rtl_graphs.py", "test_rtl_convolution.py"),
    "rtl/lookup.py": ("test_rtl_top.py",),
    "rtl/reader.py": ("test_rtl_top.py", "test_rtl_graphs.py"),
    "rtl/accumulators.py": ("test_rtl_top.py", "test_sim_timing_graph.py"),
    "model/gradr.py": ("test_model_gradr.py", "test_model_recipes.py"),
    "model/recipes.py": ("test_model_recipes.py", "test_model_train.py", "test_model_relu_train.py"),
    "model/graph.py": (
        "test_model_graph.py",
        "test_model_graph_network.py",
        "test_quantize_graph_rounding.py",
        "test_quantize_graph_ptq.py",
        "test_model_recordings.py",
    ),
    "model/dynamics.py": ("test_model_recurrent.py", "test_model_surrogates.py", "test_model_graph_integers.py"),
    "model/surrogates.py": ("test_model_surrogates.py",),
    "model/neurons.py": ("test_model_neurons.py", "test_model_surrogates.py"),
    "model/kernels.py": ("test_model_fused.py",),
    "model/recurrent.py": ("test_model_recurrent.py",),
    "model/recurrent_kernels.py": ("test_model_recurrent.py",),
    "model/graph_network.py": (
        "test_model_graph_network.py",
        "test_model_surrogates.py",
        "test_model_graph_integers.py",
    ),
    "model/connectivity.py": ("test_model_connectivity.py", "test_model_graph_network.py"),
    "model/sequences.py": ("test_model_graph_network.py",),
    "model/train.py": (
        "test_model_start.py",
        "test_model_held_out.py",
        "test_model_resume.py",
        "test_model_train.py",
        "test_model_graph_network.py",
        "test_model_workers.py",
    ),
    "model/resume.py": ("test_model_resume.py", "test_model_relu_train.py"),
    "model/data.py": ("test_model_data.py",),
    "model/held_out.py": ("test_model_held_out.py",),
    "model/augment.py": ("test_model_augment.py", "test_model_recordings.py"),
    "model/workers.py": ("test_model_workers.py",),
    "model/relu.py": (
        "test_quantize_relus.py",
        "test_model_relu.py",
        "test_model_relu_train.py",
        "test_model_conversion.py",
        "test_model_relu_start.py",
    ),
    "model/distillation.py": ("test_model_distillation.py", "test_model_relu_train.py"),
    "model/relu_modules.py": ("test_model_relu_modules.py",),
    "model/relu_start.py": ("test_model_relu_start.py",),
    "gradrtl/commands/options.py": ("test_commands_output.py", "test_committed.py"),
    "gradrtl/commands/output.py": ("test_commands_output.py",),
    "gradrtl/commands/hardware.py": ("test_cli.py",),
    "model/relu_train.py": ("test_model_relu_train.py", "test_model_teacher_train.py"),
    "model/rounding.py": ("test_model_rounding.py", "test_model_relu_train.py"),
    "model/sparse.py": ("test_model_sparse.py",),
    "model/sparse_kernels.py": ("test_model_sparse.py",),
    "model/masked.py": ("test_model_sparse.py",),
    "quantize/relus.py": ("test_quantize_relus.py", "test_quantize_calibration.py", "test_commands_converting.py"),
    "quantize/calibration.py": ("test_quantize_calibration.py",),
    "model/whitening.py": ("test_model_whitening.py",),
    "model/teacher_config.py": ("test_model_teacher_train.py",),
    "model/float_teacher.py": ("test_model_teacher_train.py",),
    "model/teacher_train.py": ("test_model_teacher_train.py",),
    "model/relu_config.py": ("test_model_relu_train.py",),
    "model/conversion.py": ("test_model_conversion.py",),
    "model/checkpoint.py": ("test_model_checkpoint.py", "test_steps_quantise.py"),
    "quantize/sweep.py": ("test_quantize_sweep.py",),
    "quantize/first_spike.py": ("test_quantize_first_spike.py",),
    "sim/timing/fifo.py": ("test_sim_timing_fifo.py", "test_sim_timing_predict.py"),
    "sim/timing/pe.py": ("test_sim_timing_pe.py", "test_sim_timing_predict.py"),
    "sim/timing/fire.py": ("test_sim_timing_fire.py", "test_sim_timing_predict.py"),
    "sim/timing/serialiser.py": ("test_sim_timing_serialiser.py", "test_sim_timing_predict.py"),
    "sim/timing/framer.py": ("test_sim_timing_framer.py", "test_sim_timing_predict.py"),
    "sim/timing/readout.py": (
        "test_sim_timing_readout.py",
        "test_quantize_first_spike.py",
        "test_rtl_cancel.py",
        "test_rtl_stream.py",
    ),
    "sim/timing/predict.py": ("test_sim_timing_predict.py", "test_rtl_cancel.py"),
    "sim/events.py": ("test_sim_events.py", "test_sim_timing_predict.py"),
    "sim/trains.py": ("test_sim_program.py", "test_sim_engine.py"),
    "sim/widths.py": ("test_sim_program.py", "test_sim_engine.py"),
    "sim/program.py": ("test_sim_program.py", "test_sim_engine.py"),
    "sim/kernels.py": ("test_sim_engine.py", "test_quantize_first_spike.py", "test_sim_engine_stream.py"),
    "sim/pieces.py": ("test_sim_pieces.py",),
    "sim/engine.py": ("test_sim_engine.py",),
    "sim/outcome.py": ("test_sim_engine.py",),
    "sim/operations.py": ("test_sim_operations.py", "test_sim_engine.py", "test_sim_engine_stream.py"),
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
PATIENCE = (60.0, 4.0)  # with a fault: a constant, and a multiple of what the file takes without; then it hangs
CATCHERS = ("own tests", "other tests", "formal", "nothing")  # columns of the table by file


@dataclass(frozen=True)
class Task:
    """What a worker is to do, in a copy below `folder` of its checkout: run `rungs` until one fails.

    `code`: digest of the sources. `rungs`: tests, each with the seconds after which it hangs. `mutant`: the fault that
    is applied before; None: none, and all must pass.
    """

    folder: Path
    code: str
    rungs: tuple[tuple[str, float], ...]
    mutant: Mutant | None = None


_copies: dict[Path, Copy] = {}  # of this process


def work(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Of each task, in a worker: the test that fails, or None, and how long it took."""
    return [tried(task) for task in tasks]


def tried(task: Task) -> dict[str, Any]:
    folder = ROOT / task.folder
    if folder not in _copies:
        _copies[folder] = Copy(folder, task.code)
    copy = _copies[folder]
    start = time.monotonic()
    with copy.fault(task.mutant) if task.mutant else nullcontext():
        caught_by = next(filter(None, (copy.failure(*rung) for rung in task.rungs)), None)
    seconds = round(time.monotonic() - start, 1)
    if task.mutant is None:
        if caught_by:
            raise UserError(f"{caught_by} fails without any fault")
        copy.share()
    return {"caught by": caught_by, "seconds": seconds}


class Results(Store):
    """What has been found, in `folder` of the checkout: a line a mutant; and the tests that pass without a fault."""

    def __init__(self, folder: Path):
        self.folder, code = folder, fingerprint()
        self.whole = Store(ROOT / folder / "whole.jsonl", "tests", code)
        super().__init__(ROOT / folder / "found.jsonl", "fault", code)
        self.hints: dict[str, str] = json.loads(HINTS.read_text()) if HINTS.exists() else {}
        self.learn(self.others)

    def close(self) -> None:
        self.whole.close()
        super().close()

    def of(self, mutant: Mutant) -> Line | None:
        return self.lines.get(key_of(mutant))

    def learn(self, lines: Iterable[Line]) -> None:
        """The tests that caught mutants are their hints from now on."""
        for line in lines:
            if "::" in (caught_by := line["caught by"] or ""):
                self.hints[line["fault"].rpartition(" ")[0]] = caught_by.removesuffix(" hangs")

    def keep_hints(self) -> None:
        """Write `tests/mutant_hints.json`: of each mutant on the list, the test that caught it last."""
        self.learn(self.lines.values())
        hints = {mutant.name: self.hints[mutant.name] for mutant in MUTANTS if there(self.hints.get(mutant.name))}
        HINTS.write_text(json.dumps(hints, indent=1) + "\n")

    def rungs(self, mutant: Mutant) -> tuple[str, ...]:
        return rungs(mutant, self.hints.get(mutant.name))

    def longest(self, rung: str) -> float:
        """Seconds after which `rung`, with a fault, hangs."""
        constant, multiple = PATIENCE
        return constant + multiple * self.whole.lines[file_of(rung)]["seconds"]

    def table(self, mutants: Iterable[Mutant]) -> str:
        """A row a mutant."""
        rows = ["| file | mutant | what it does | caught by | seconds |", "| --- | --- | --- | --- | ---: |"]
        for mutant in mutants:
            if (line := self.of(mutant)) is None:
                continue
            caught = f"`{line['caught by']}`" if line["caught by"] else "**nothing**"
            rows.append(f"| `{mutant.file}` | {mutant.name} | {mutant.does} | {caught} | {line['seconds']} |")
        return "\n".join(rows) + "\n"

    def summary(self, mutants: Iterable[Mutant]) -> str:
        """A row a source file, as in docs/verification.md."""
        counts: dict[str, Counter[str]] = {}
        for mutant in sorted(mutants, key=lambda mutant: mutant.file):
            if (line := self.of(mutant)) is not None:
                counts.setdefault(mutant.file, Counter())[kind_of_test(mutant, line["caught by"])] += 1
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


def key_of(mutant: Mutant) -> str:
    """Name of the mutant, and a digest of its fault."""
    content = json.dumps([mutant.file, mutant.old, mutant.new])
    return f"{mutant.name} {hashlib.sha256(content.encode()).hexdigest()[:12]}"


def file_of(rung: str) -> str:
    return rung.partition("::")[0]


def there(hint: str | None) -> bool:
    """Whether the file of the test `hint` is still there."""
    return hint is not None and (ROOT / "tests" / file_of(hint)).is_file()


def rungs(mutant: Mutant, hint: str | None = None) -> tuple[str, ...]:
    """What is run against `mutant`, in order: the test `hint` if its file is still there, then whole files."""
    own = UNITS.get(mutant.file, ())
    known = (hint,) if hint and there(hint) else ()
    return (*known, *own, *(rung for rung in LADDER if rung not in own))


def kind_of_test(mutant: Mutant, caught_by: str | None) -> str:
    """The column of `CATCHERS` for a mutant that the test `caught_by` has caught."""
    if caught_by is None:
        return "nothing"
    file = file_of(caught_by.removesuffix(" hangs"))
    if file.startswith("formal"):
        return "formal"
    return "own tests" if file in UNITS.get(mutant.file, ()) else "other tests"


def campaign(mutants: Sequence[Mutant], results: Results, where: Cluster, say: Callable[[str], None] = print) -> None:
    """Try those of `mutants` that have no result yet, once all their tests have passed without a fault."""
    folder, code = results.folder, results.sources
    missing = {key_of(mutant): mutant for mutant in mutants if results.of(mutant) is None}
    files = dict.fromkeys(file_of(rung) for mutant in missing.values() for rung in results.rungs(mutant))
    whole = {file: Task(folder, code, ((file, LONGEST),)) for file in files}
    with copies_cleared(ROOT / folder):
        for file, result in cluster.run(work, whole, where, store=results.whole, code=fingerprint, say=say):
            say(f"{file} passes without a fault in {result['seconds']} s")
        faults = {
            key: Task(folder, code, tuple((rung, results.longest(rung)) for rung in results.rungs(mutant)), mutant)
            for key, mutant in missing.items()
        }
        for key, result in cluster.run(work, faults, where, store=results, code=fingerprint, say=say):
            say(f"{missing[key].name} ({missing[key].file}): {result['caught by'] or 'SURVIVES'}")


@contextmanager
def copies_cleared(folder: Path):
    """At the end, none of this process is left, and none of a worker that has ended."""
    try:
        yield
    finally:
        if folder in _copies:
            _copies.pop(folder).close()
        clear(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only those whose name or file contains this")
    parser.add_argument("--keep-hints", action="store_true", help="write tests/mutant_hints.json from the results")
    Cluster.add_arguments(parser)
    given = parser.parse_args()
    where = Cluster.of(given)
    chosen = [mutant for mutant in MUTANTS if given.only in mutant.name or given.only in mutant.file]
    with Results(FOLDER) as results:
        failed = ""
        try:
            campaign(chosen, results, where, tell)
        except cluster.TasksFailed as error:
            failed = str(error)
        if given.keep_hints:
            results.keep_hints()
        (ROOT / FOLDER / "report.md").write_text(f"{results.summary(MUTANTS)}\n{results.table(MUTANTS)}")
        tell(results.table(chosen))
        tell(results.summary(chosen))
        found = {mutant.name: line for mutant in chosen if (line := results.of(mutant)) is not None}
        survivors = [name for name, line in found.items() if not line["caught by"]]
        caught = f"{len(chosen)} mutants, {len(found) - len(survivors)} caught"
        tell("; ".join((caught, *(f"{name} survives" for name in survivors))))
        if failed:
            tell(failed)
    return 1 if failed or survivors else 0


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    import mutants  # by its name, by which workers import it

    try:
        code = mutants.main()
    except UserError as error:
        code = f"error: {error}"
    sys.exit(code)
