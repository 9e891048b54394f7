"""The driver and what surrounds it, on a small stand-in for the accelerator with faults on demand."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_accelerator import fake_verilog, faulty, small_network

from gradrtl.cache import CACHE
from gradrtl.errors import UserError
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import reference, toolchain, verilated
from gradrtl.sim.compare import first_difference
from gradrtl.sim.verify import verify

pytestmark = pytest.mark.rtl

NETWORK = small_network()
MAPPING = map_network(NETWORK, (2, 2))
TEXT = fake_verilog(MAPPING)
UNTIMED = TEXT.replace("// mapping:", "// placed:")  # the stand-in is slower than the accelerator
FRAMES = np.random.default_rng(3).integers(0, 256, (20, 11)).astype(np.uint8)
FRAMES[:, -1] = 0
STALLS = verilated.Stalls(0.3, 0.4, seed=5)


@pytest.fixture(scope="module")
def cache():
    return CACHE


@pytest.fixture(scope="module")
def model(cache):
    return verilated.build(TEXT, MAPPING, cache=cache)


@pytest.mark.parametrize("stalls", [None, STALLS, verilated.Stalls(0.9, 0.0), verilated.Stalls(0.0, 0.9)])
@pytest.mark.parametrize("apart", [False, True])
def test_results_and_trace_equal_the_reference(model, stalls, apart):
    got = model.run(FRAMES, trace=True, stalls=stalls, apart=apart)
    assert first_difference(reference.run(NETWORK, FRAMES), got, MAPPING) is None
    assert len(got.classes) == len(FRAMES)
    assert not got.flagged.any()


def test_times_are_those_of_the_handshakes(model):
    cycles = model.run(FRAMES).cycles
    rows = sum(layer.rows for layer in MAPPING.layers) * NETWORK.steps
    period = MAPPING.beats + rows + 1 + NETWORK.classes  # the stand-in does one thing at a time
    assert cycles.first_beat.tolist() == [n * period for n in range(len(FRAMES))]
    assert (cycles.last_beat - cycles.first_beat == MAPPING.beats - 1).all()
    assert (cycles.latency == period).all()
    assert (cycles.interval == period).all()


def test_stalls_come_from_the_seed(model):
    runs = [model.run(FRAMES, stalls=replace(STALLS, seed=seed)).cycles.result for seed in (5, 5, 6)]
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


@pytest.mark.parametrize(("beat", "pes"), [(1, (3, 1)), (8, (9, 5))])
def test_widths_of_ports(cache, beat, pes):
    mapping = map_network(NETWORK, Placement(pes, pixels_a_beat=beat))
    got = verilated.build(fake_verilog(mapping), mapping, cache=cache).run(FRAMES, trace=True)
    assert first_difference(reference.run(NETWORK, FRAMES), got, mapping) is None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("hang", "nothing moves for 5000 cycles, the packet of frame 5 is due, its input went in"),
        ("unstable", "m_axis changes while it waits, frame 5"),
        ("twice", "a packet that no frame asked for"),
        ("short packet", "the packet of frame 5 ends with beat 3 instead of 4"),
        ("lost row", "core0 lacks 3 row updates as the packet of frame 5 ends"),
        ("spike", "frame 5, step 1, layer 0, neuron"),
        ("membrane", "frame 5, step 2, layer 1, neuron"),
        ("wrong class", "frame 5: class is"),
        ("flag", "frame 5: flag is 1, expected 0"),
        ("withdrawn", "m_axis withdraws a beat, frame 5"),
        ("flag midway", "m_axis_tuser changes within the packet of frame 5"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 3])
def test_faults_are_named(cache, fault, words, jobs):
    frames = faulty(FRAMES, fault, 5)
    frames[18] = frames[5]
    found = verify(MAPPING, TEXT, frames, stalls=verilated.Stalls(0.1, 0.6), cache=cache, patience=5000, jobs=jobs)
    assert not found.passed
    assert words in str(found)


@pytest.mark.parametrize(
    ("fault", "frame", "words"),
    [
        ("twice", 19, "a packet that no frame asked for"),
        ("wrong class", 12, "frame 12: class is"),
        ("spike", 12, "frame 12, step 1"),
    ],
)
def test_faults_of_the_last_frame_and_of_a_later_share(cache, fault, frame, words):
    found = verify(MAPPING, UNTIMED, faulty(FRAMES, fault, frame), cache=cache, jobs=3)
    assert not found.passed
    assert words in str(found)


def test_everything_is_counted(cache):
    sent = []
    found = verify(MAPPING, UNTIMED, FRAMES, stalls=STALLS, cache=cache, jobs=2, progress=sent.append)
    neurons = sum(int(layer.used.sum()) for layer in MAPPING.layers)
    assert found.passed
    assert found.frames == sum(sent) == len(FRAMES)
    assert found.spikes == found.membranes == len(FRAMES) * NETWORK.steps * neurons
    assert (found.classes == reference.run(NETWORK, FRAMES).classes).all()


@pytest.mark.parametrize(("stalls", "quantity"), [(None, "packet"), (STALLS, "first beat")])
def test_cycles_are_compared_with_the_timing_model(cache, stalls, quantity):
    found = verify(MAPPING, TEXT, FRAMES, stalls=stalls, cache=cache)
    assert found.difference is not None
    assert found.difference.quantity == quantity
    assert verify(MAPPING, UNTIMED, FRAMES, stalls=stalls, cache=cache).passed


def test_handshakes_are_those_of_the_frames(model):
    with verilated.Run(model, len(FRAMES), handshakes=True, stalls=STALLS) as run:
        run.feed(FRAMES)
        assert run.finish().kind == "done"
        got = run.outcome()
    assert got.handshakes.offered.shape == (len(FRAMES), MAPPING.beats)
    assert (np.diff(got.handshakes.offered.ravel()) > 0).all(), "a beat is offered after the one before it is taken"
    assert (got.handshakes.offered[:, 0] <= got.cycles.first_beat).all()
    assert (got.handshakes.offered[:, -1] <= got.cycles.last_beat).all()
    assert (got.handshakes.taken[:, -1] == got.cycles.result).all()
    assert (np.diff(got.handshakes.taken.ravel()) > 0).all()


def test_no_frames(cache, model):
    assert len(model.run(FRAMES[:0]).classes) == 0
    with pytest.raises(UserError, match="frames is 0, expected at least 1"):
        verify(MAPPING, TEXT, FRAMES[:0], cache=cache)


@pytest.mark.parametrize("change", [("fire_", "x_"), (" core0 (", " other0 (")])
def test_without_trace_wires_results_alone_are_compared(cache, change):
    found = verify(MAPPING, UNTIMED.replace(*change), FRAMES, stalls=STALLS, cache=cache)
    assert found.passed
    assert (found.frames, found.spikes) == (len(FRAMES), 0)
    assert any("no trace wires" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("output s_axis_tready", "output s_axis_tready oops"), "line {port}: Can't find typedef"),
        (("module gradrtl", "module other"), "a module gradrtl"),
        (("m_axis_tuser", "m_axis_flag"), "Pin not found: 'm_axis_tuser'"),
        ((NETWORK.digest, "0" * 64), "the file was made from network 000000000000, the one given is "),
        (("// network", "// net"), None),
    ],
)
def test_broken_verilog(cache, change, words):
    text = TEXT.replace(*change)
    if words is None:
        assert any("which network" in note for note in verify(MAPPING, text, FRAMES, cache=cache).notes)
        return
    with pytest.raises(UserError) as caught:
        verify(MAPPING, text, FRAMES, cache=cache)
    port = TEXT[: TEXT.index("output s_axis_tready")].count("\n") + 1
    assert words.format(port=port) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_mapping_is_refused_by_its_widths(cache):
    wider = map_network(NETWORK, (4, 2))
    with pytest.raises(toolchain.ToolError, match="WIDTH"):
        verilated.build(fake_verilog(wider), MAPPING, cache=cache)


def test_the_cache_is_shared_by_processes_and_failures_leave_nothing(cache, tmp_path):
    text = tmp_path / "design.v"
    text.write_text(f"// {time.time_ns()}\n{TEXT}")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_sim_verilated import MAPPING, verilated\n"
        "from pathlib import Path\n"
        "print(verilated.build(Path(sys.argv[2]), MAPPING, cache=sys.argv[3]).program)\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(text), str(cache)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    programs = {process.communicate()[0] for process in started}
    assert len(programs) == 1
    before = set(cache.glob("model-*/"))
    with pytest.raises(toolchain.ToolError):
        verilated.build(TEXT.replace("endmodule", ""), MAPPING, cache=cache)
    assert set(cache.glob("model-*/")) == before


OUTSIDE = (("density_in", 1.0), ("density_in", 0.999999), ("density_out", 0.9901), ("density_out", -0.1), ("seed", -1))


@pytest.mark.parametrize(("field", "value"), OUTSIDE)
def test_stalls_out_of_range(field, value):
    with pytest.raises(UserError, match=field):
        replace(verilated.Stalls(), **{field: value})


def test_frames_that_do_not_fit(model):
    with pytest.raises(UserError, match="frames shape"):
        model.run(FRAMES[:, :10])


def test_memories_move_to_files_and_lines_stay():
    block = "  initial begin\n    m[0] = 5'h1f;\n    m[1] = 5'h00;\n  end\n"
    gap = "  initial begin\n    n[0] = 5'h1f;\n    n[2] = 5'h00;\n  end\n"
    text, files = toolchain.split_memories(f"module a;\n{block}{gap}{block}endmodule\n")
    assert files == {"memory0.hex": "1f\n00\n", "memory1.hex": "1f\n00\n"}
    assert text.count("$readmemh") == 2
    assert gap in text
    assert text.splitlines().index("endmodule") == 13
