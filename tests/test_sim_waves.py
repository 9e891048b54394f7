"""Waves of a stand-in with faults on demand: the window holds the first difference, and the files are read back."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fake_accelerator import fake_verilog, faulty, small_network
from pylibfst import ffi, fstReaderIterBlocks, get_scopes_signals2, lib, string

from gradrtl import cli
from gradrtl.errors import UserError
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import driving, engine, waves
from gradrtl.sim.driving import Stalls, Window
from gradrtl.sim.verify import Verification, verify

pytestmark = pytest.mark.rtl

NETWORK = small_network((11, 6, 3))
MAPPING = map_network(NETWORK, (2, 2))
TEXT = fake_verilog(MAPPING).replace("// mapping:", "// placed:")
FRAMES = np.random.default_rng(4).integers(0, 256, (9, 11)).astype(np.uint8)
FRAMES[:, -1] = 0


def compared(frames: np.ndarray, **options) -> Verification:
    return verify(MAPPING, TEXT, frames, quick=True, patience=2000, **options)


def values(vcd: str, time: int) -> dict[str, int]:
    """The values at a time of the wires of the harness, by name."""
    names = {one.code: one.name for one in waves.variables(vcd) if one.scopes[-1] == waves.HARNESS}
    found = {}
    for when, code, bits in waves.changes(vcd):
        if when <= time and code in names:
            found[names[code]] = int(bits.replace("x", "0"), 2)
    return found


def fst_changes(path: Path) -> list[tuple[str, int, str]]:
    """Name, time and bits of every change in an FST file of variables that are in the harness."""
    reader = lib.fstReaderOpen(str(path).encode())
    assert reader != ffi.NULL
    _, signals = get_scopes_signals2(reader)
    names: dict[int, list[str]] = {}
    for name, signal in signals.by_name.items():
        names.setdefault(signal.handle, []).append(name)
    found = []

    def change(_, time, handle, value):
        found.extend((name, time, string(value)) for name in names[handle])

    lib.fstReaderSetFacProcessMaskAll(reader)
    fstReaderIterBlocks(reader, change)
    lib.fstReaderClose(reader)
    return found


@pytest.mark.parametrize("fault", ["spike", "membrane"])
@pytest.mark.parametrize(("stalls", "jobs"), [(Stalls(), 1), (Stalls(0.3, 0.3, 5), 2)])
def test_the_wave_shows_the_first_difference(fault, stalls, jobs):
    frames = faulty(FRAMES, fault, 6)
    found = compared(frames, stalls=stalls, jobs=jobs)
    difference = found.difference
    assert difference is not None
    assert found.seen is not None
    assert found.seen.share == (5 if jobs == 2 else 0)
    assert (difference.frame, difference.quantity) == (6, fault)
    window = waves.around(found.seen, 7)
    wave = waves.record(MAPPING, TEXT, frames, found, found.seen, window, stalls=stalls, patience=2000)
    times = {time for time, _, _ in waves.changes(wave.vcd)}
    assert min(times) == waves.time_of(window.first) - 1
    assert max(times) == waves.time_of(window.last)
    shown = values(wave.vcd, waves.time_of(found.seen.cycle))
    layer, neuron = MAPPING.layers[difference.layer], difference.neuron
    _, (pe,) = np.nonzero(layer.slots == neuron)
    assert shown["clk"] == shown[f"core{layer.index}_valid"] == 1
    spike = shown[f"core{layer.index}_spikes"] >> pe & 1
    membrane = shown[f"core{layer.index}_membranes"] >> pe * layer.membrane_bits & (1 << layer.membrane_bits) - 1
    got = spike if fault == "spike" else membrane - (membrane >> layer.membrane_bits - 1 << layer.membrane_bits)
    assert got == difference.got
    trace = engine.run(NETWORK, frames, trace=True).trace
    assert trace is not None
    expected = trace.spikes if fault == "spike" else trace.membranes
    assert expected[layer.index][6, difference.step, neuron] == difference.expected != got


@pytest.mark.parametrize(
    ("fault", "shows"),
    [
        ("wrong class", lambda shown: shown["m_axis_tvalid"] and shown["m_axis_tlast"]),
        ("short packet", lambda shown: shown["m_axis_tlast"]),
        ("hang", lambda shown: not shown["m_axis_tvalid"]),
        ("unstable", lambda shown: shown["m_axis_tvalid"]),
    ],
)
def test_faults_of_the_protocol_have_waves(fault, shows):
    frames, stalls = faulty(FRAMES, fault, 2), Stalls(0, 0.5)
    found = compared(frames, stalls=stalls)
    assert not found.passed
    assert found.seen is not None
    wave = waves.record(
        MAPPING, TEXT, frames, found, found.seen, waves.around(found.seen, 5), stalls=stalls, patience=2000
    )
    assert shows(values(wave.vcd, waves.time_of(found.seen.cycle)))


def test_a_frame_on_demand_is_whole():
    found = compared(FRAMES, jobs=2)
    assert found.passed
    assert found.seen is None
    moment, window = waves.frame_of(found, 7)
    assert (moment.share, moment.number, found.shares) == (5, 1, (0, 5))
    assert [waves.frame_of(found, frame)[0].number for frame in (0, 4, 5)] == [0, 0, 1]
    wave = waves.record(MAPPING, TEXT, FRAMES, found, moment, window)
    first, last = (values(wave.vcd, waves.time_of(cycle)) for cycle in (window.first, window.last))
    assert first["s_axis_tvalid"] == first["s_axis_tready"] == 1
    assert first["s_axis_tdata"] == int.from_bytes(FRAMES[7, :4].tobytes(), "little")
    assert last["m_axis_tvalid"] == last["m_axis_tlast"] == 1
    with pytest.raises(UserError, match="wave-frame is 9, expected 0 to 8, the frames that were compared"):
        waves.frame_of(found, 9)
    with pytest.raises(UserError, match=r"the run ended before cycle 90000, so there is no wave of it"):
        waves.record(MAPPING, TEXT, FRAMES, found, moment, Window(90000, 90001))


def test_fst_holds_what_vcd_holds(tmp_path):
    found = compared(FRAMES[:2])
    moment, window = waves.frame_of(found, 1)
    wave = waves.record(MAPPING, TEXT, FRAMES[:2], found, moment, window)
    made = waves.write(tmp_path / "frame.fst", wave, MAPPING, "frame 1")
    assert [path.name for path in made] == ["frame.fst", "frame.gtkw", "frame.sucl"]
    names: dict[str, list[waves.Variable]] = {}
    for one in waves.variables(wave.vcd):
        names.setdefault(one.code, []).append(one)
    bits = {code: same[0].bits for code, same in names.items()}
    expected = {
        (one.path, time, int(value.replace("x", "0"), 2))
        for time, code, value in waves.changes(wave.vcd)
        for one in names[code]
    }
    read = fst_changes(made[0])
    assert {(name.split(" ")[0], time, int(value, 2)) for name, time, value in read} == expected
    assert len(expected) > 500
    short = re.sub(r"^b0+(?=[01]+ )", "b", wave.vcd, flags=re.MULTILINE)  # as other programs write zeros in front
    assert len(short) < len(wave.vcd)
    made = waves.write(tmp_path / "short.fst", replace(wave, vcd=short), MAPPING, "frame 1")
    assert fst_changes(made[0]) == read
    assert bits
    assert waves.write(tmp_path / "frame.vcd", wave, MAPPING, "frame 1")[0].read_text() == wave.vcd


@pytest.fixture(scope="module")
def viewed(tmp_path_factory) -> tuple[waves.Wave, Path, Path, Path]:
    """A wave of 30 cycles, its FST file, and its views."""
    found = compared(FRAMES[:3])
    moment, window = waves.frame_of(found, 1)
    moment = replace(moment, cycle=window.first + 20)
    wave = waves.record(MAPPING, TEXT, FRAMES[:3], found, moment, window)
    title = "frame 1; layer 0: membrane is -3, expected 4"
    return wave, *waves.write(tmp_path_factory.mktemp("wave") / "frame.fst", wave, MAPPING, title)


def hierarchy(path: Path) -> dict[str, int]:
    """Bits of every variable in an FST file, by its path."""
    reader = lib.fstReaderOpen(str(path).encode())
    _, signals = get_scopes_signals2(reader)
    lib.fstReaderClose(reader)
    return {name.split(" ")[0]: signal.length for name, signal in signals.by_name.items()}


def test_the_view_for_gtkwave_groups_what_matters(viewed):
    wave, fst, path, _ = viewed
    lines = path.read_text().splitlines()
    titles = ["clock", "s_axis", "m_axis", "core0 fc0", "core1 fc1"]
    assert [line[1:] for line in lines if line.startswith("-")] == [one for t in titles for one in (t, t)]
    assert '[dumpfile] "frame.fst"' in lines
    shown = [line.partition("[") for line in lines if line.startswith("TOP")]
    bits = hierarchy(fst)
    assert [rest for name, _, rest in shown] == [f"{bits[name] - 1}:0]" * (bits[name] > 1) for name, _, _ in shown]
    assert "TOP.harness.core1_membranes" in {name for name, _, _ in shown}
    (marker,) = [int(line.split()[1]) for line in lines if line.startswith("*")]
    (start,) = [int(line.split()[1]) for line in lines if line.startswith("[timestart]")]
    assert marker == waves.time_of(wave.marked) == start + 2 * waves.BEFORE


def test_the_view_for_surfer_has_its_syntax(viewed):
    """A line ends at # and is split at semicolons; a divider has one word of letters, digits and underscores."""
    wave, fst, _, path = viewed
    commands = [line.partition("#")[0] for line in path.read_text().splitlines()]
    commands = [one for one in commands if one]
    assert all(";" not in one and one.count(" ") == (one != "zoom_fit") for one in commands)
    by_name: dict[str, list[str]] = {}
    for one in commands:
        name, _, value = one.partition(" ")
        by_name.setdefault(name, []).append(value)
    assert set(by_name) == {"load_file", "divider_add", "variable_add", "cursor_set", "zoom_fit"}
    assert by_name["load_file"] == ["frame.fst"]
    assert by_name["divider_add"] == ["clock", "s_axis", "m_axis", "core0_fc0", "core1_fc1"]
    assert set(by_name["variable_add"]) <= set(hierarchy(fst))
    assert "TOP.harness.core1_membranes" in by_name["variable_add"]
    assert by_name["cursor_set"] == [str(waves.time_of(wave.marked))]


ASKS = """
set told [open told w]
puts $told "[gtkwave::getDisplayedSignals]"
puts $told "[gtkwave::getMarker] [gtkwave::getWindowStartTime]"
close $told
exit
"""


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, ("gtkwave", "xvfb-run"))), reason="GTKWave and Xvfb are not installed")
def test_gtkwave_opens_the_wave_with_its_view(viewed, tmp_path):
    wave, fst, path, _ = viewed
    (tmp_path / "asks.tcl").write_text(ASKS)
    words = ["xvfb-run", "-a", "gtkwave", fst, path, "--script", "asks.tcl"]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=False, timeout=300)
    signals, places = (tmp_path / "told").read_text().splitlines()
    assert signals.split() == [line for line in path.read_text().splitlines() if line.startswith("TOP")]
    assert places.split()[0] == str(waves.time_of(wave.marked))


def test_a_wave_is_recorded_behind_the_same_walls(monkeypatch):
    seen = []
    finish = driving.Run.finish

    def watched(run):
        verdict = finish(run)
        seen.append((verdict.kind, verdict.walls))
        return verdict

    monkeypatch.setattr(driving.Run, "finish", watched)
    found = compared(FRAMES)
    moment, window = waves.frame_of(found, 3)
    waves.record(MAPPING, TEXT, FRAMES, found, moment, window)
    (done, walls), (recorded, same) = seen
    assert (done, recorded) == ("done", "recorded")
    assert same == walls


def test_a_wave_beyond_its_limit_is_one_line(monkeypatch):
    found = compared(FRAMES[:2])
    monkeypatch.setattr(driving, "LARGEST_WAVE", 2000)
    moment, window = waves.frame_of(found, 1)
    with pytest.raises(UserError, match="the wave cannot be written: File too large"):
        waves.record(MAPPING, TEXT, FRAMES[:2], found, moment, window)


def test_the_command_writes_waves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    NETWORK.save(tmp_path / "network.npz")
    (tmp_path / "gradrtl.v").write_text(TEXT)
    np.save(tmp_path / "good.npy", FRAMES)
    np.save(tmp_path / "bad.npy", faulty(FRAMES, "spike", 3))
    words = ["verify", "network.npz", "gradrtl.v", "--pe", "2,2", "--jobs", "1", "--frames"]

    def gradrtl(*more: str) -> str:
        return CliRunner().invoke(cli.main, [*words, *more]).output

    told = gradrtl("bad.npy", "--wave", "diff.fst", "--wave-cycles", "3")
    assert "wave of cycles around the difference: diff.fst, diff.gtkw, diff.sucl" in told
    assert 5 * 2 <= len({time for _, time, _ in fst_changes(tmp_path / "diff.fst")}) <= 7 * 2
    assert "no wave: there is no difference" in gradrtl("good.npy", "--wave", "none.vcd")
    assert not (tmp_path / "none.vcd").exists()
    assert "wave of frame 2: frame.vcd, " in gradrtl("good.npy", "--wave", "frame.vcd", "--wave-frame", "2")
    assert "wave is diff.txt, expected a file that ends in .fst or .vcd" in gradrtl("bad.npy", "--wave", "diff.txt")
    assert "wave-frame is 1, expected given together with --wave" in gradrtl("bad.npy", "--wave-frame", "1")
    assert "wave-frame is 9, expected 0 to 8" in gradrtl("good.npy", "--wave", "a.vcd", "--wave-frame", "9")
