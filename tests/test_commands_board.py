"""`gradrtl run`: whatever is wrong with port, line or board is told in one line, and the port is given back."""

from __future__ import annotations

import json
import os
import pty
import sys
import threading
import tty
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fake_board import FakeBoard
from graphs import population, weights

from gradrtl import host, line
from gradrtl.cli import main
from gradrtl.line import SerialLine, open_line
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.rtl import synthesis
from gradrtl.rtl.packets import FRAME, Packet
from gradrtl.rtl.serial import identity
from gradrtl.rtl.synthesis import Report
from gradrtl.sim.measure import measure
from gradrtl.steps.place import Wanted, place

ROOT = Path(__file__).parent.parent
NETWORK = str(ROOT / "networks" / "mnist-1pct.npz")
PES = "4,4"


def run(port: str, images: int = 5) -> Result:
    words = ["run", NETWORK, "--data", str(ROOT / "data/mnist"), "--pe", PES]
    return CliRunner().invoke(main, [*words, "--port", port, "--images", str(images)])


def told(result: Result, code: int = 2) -> str:
    """The one line of an error."""
    assert result.exit_code == code, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def board(monkeypatch):
    """A board in software with the right identity, on every port; the host's clock is the board's."""
    fake = FakeBoard()
    network = QuantizedNetwork.load(NETWORK)
    fake.identity = identity(place(network, Wanted(pes=PES)))
    monkeypatch.setattr(line, "open_line", lambda port, baud: fake)
    monkeypatch.setattr(host.time, "monotonic", lambda: fake.now)
    return fake


@pytest.fixture
def port():
    """A pseudo-terminal: both ends, and the name of the device."""
    far, near = pty.openpty()
    tty.setraw(near)
    yield far, near, os.ttyname(near)
    for end in (near, far):
        with suppress(OSError):  # a test has cut the line
            os.close(end)


def test_classes_and_labels(board):
    result = run("port")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:5] == [f"image {i}: 0 (label {label})" for i, label in enumerate((7, 2, 1, 0, 4))]
    assert lines[5] == "1 of 5 right; 0 packets repeated"
    assert board.closed


def test_frames_of_several_inputs(board, tmp_path):
    """They are sent side by side; the board's class is the first value."""
    inputs = (Input((3,), bits=8, name="left eye"), Input((2,), bits=8, name="right eye"))
    heard = (Connection(given.name, weights(4, given.shape[0]), 4) for given in inputs)
    network = QuantizedNetwork(inputs, (population("out", 4, *heard),), 2)
    network.save(tmp_path / "network.npz")
    board.identity = identity(place(network, Wanted(pes="1")))
    left, right = np.array([[3, 1, 2], [1, 0, 0]], np.uint8), np.array([[9, 8], [7, 6]], np.uint8)
    np.savez(tmp_path / "frames.npz", **{"right eye": right, "left eye": left})
    words = ["run", str(tmp_path / "network.npz"), "--pe", "1", "--port", "port"]
    result = CliRunner().invoke(main, [*words, "--frames", str(tmp_path / "frames.npz")])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["image 0: 3", "image 1: 1", "2 images; 0 packets repeated"]
    sent = [packet.payload for packet in board.taken if packet.kind == FRAME]
    assert sent == [bytes([3, 1, 2, 9, 8]), bytes([1, 0, 0, 7, 6])]


@pytest.mark.parametrize("name", ["/dev/no-such-port", "", NETWORK])
def test_no_such_port(name):
    assert told(run(name)).startswith(f"error: port is {name}")


def test_a_port_that_another_program_has_open(port):
    with open_line(port[2], 1_000_000):
        assert "another program has open" in told(run(port[2]))


def test_another_network_on_the_board(board):
    board.identity = replace(board.identity, digest=bytes(32))
    assert "the board on port holds another network or placement" in told(run("port"))
    assert board.closed


def test_a_board_of_the_protocol_before(board):
    text = board.identity.encode()
    text = text[:4] + b"\x01" + text[5:]
    session = int.from_bytes(text[1:4], "little")
    board.fault = lambda a: [Packet(text[0] << 8 | a.sequence & 0xFF, a.kind, text[4:], session)]
    assert "serial protocol is version 1, expected 2" in told(run("port"))
    assert board.closed


def test_a_board_that_is_silent(board):
    board.dead = True
    assert told(run("port")) == "error: the board does not answer: 8 attempts to identify it\n"
    assert board.closed


def test_a_line_that_is_cut(port):
    far, near, name = port

    def cut():
        os.read(far, 1)
        os.close(near)
        os.close(far)

    other = threading.Thread(target=cut)
    other.start()
    assert told(run(name)).startswith(f"error: the line to {name} was cut: ")
    other.join()


def test_an_interruption_gives_the_port_back(port, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(SerialLine, "read", interrupted)
    result = run(port[2])
    assert told(result, 130) == "interrupted\n"
    open_line(port[2], 1_000_000).close()


def test_without_pyserial(monkeypatch, port):
    monkeypatch.setitem(sys.modules, "serial", None)
    assert told(run(port[2])) == "error: pyserial is not installed: pip install 'gradrtl[fpga]'\n"


def test_a_device_without_a_board():
    words = ["run", NETWORK, "--data", str(ROOT / "data/mnist"), "--port", "/dev/null", "--device", "xc7z020"]
    assert "device is xc7z020, expected" in told(CliRunner().invoke(main, words))


@pytest.mark.parametrize(
    ("device", "clock", "message"),
    [
        ("ecp5-25", "71", "clock is 71 MHz, expected 70.8333 or 71.4286, the nearest that the PLL makes of 25 MHz"),
        ("gw1nr-9", "28", "clock is 28 MHz, expected 27, that of the oscillator of tang-nano-9k: there is no PLL"),
        ("xc7z020", "100", "clock is 100.0, expected no clock: xc7z020 is only synthesised"),
    ],
)
def test_a_clock_that_cannot_be_made(tmp_path, device, clock, message):
    words = ["synth", "--device", device, "--pe", "1,1", "--clock", clock, "-o", str(tmp_path / "out")]
    assert told(CliRunner().invoke(main, words)) == f"error: {message}\n"
    assert not (tmp_path / "out" / "board.v").exists()


@pytest.fixture
def tools(monkeypatch):
    """Instead of synthesis, a report; the fixture is the list of the devices that it was made for."""
    made = []

    def synthesise(design, device, folder, seed, progress):
        made.append(device.name)
        progress("netlist")
        folder.mkdir(parents=True, exist_ok=True)
        report = Report(
            device.name, device.placed, {"LUT": 1}, {"LUT": 9}, device.clock, 40.0 * device.placed, [], [], ""
        )
        report.save(folder / "report.json")
        return report

    monkeypatch.setattr(synthesis, "synthesise", synthesise)
    return made


@pytest.mark.parametrize("device", ["xc7z020", "gw1nr-9"])
def test_a_single_frame_has_its_latency_as_interval(tools, tmp_path, device):
    words = ["synth", NETWORK, "--data", str(ROOT / "data/mnist"), "--pe", "4,4", "--images", "1", "--device", device]
    result = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["cycles_per_frame"] == figures["latency_cycles"] > 100
    if figures["placed"]:
        assert figures["frames_per_second"] == pytest.approx(40e6 / figures["latency_cycles"], rel=1e-3)


def test_quiet_tells_no_stage(tools, tmp_path):
    words = ["synth", "--device", "xc7z020", "--pe", "4,4", "--images", "2", "-o", str(tmp_path)]
    assert "  netlist\n" in CliRunner().invoke(main, words).stderr
    assert CliRunner().invoke(main, [*words, "--quiet"]).output == ""


def test_a_stream_is_refused_before_it_is_built(tools, tmp_path):
    np.save(tmp_path / "frames.npy", np.zeros((2, 48, 64), np.uint8))
    words = ["synth", str(ROOT / "networks/spoken-10pct.npz"), "--pe", "8,8,4", "--device", "xc7z020", "--stream"]
    message = told(CliRunner().invoke(main, [*words, "--frames", str(tmp_path / "frames.npy"), "-o", str(tmp_path)]))
    assert message == "error: stream is True, expected given to generate or package: synth and run have frames\n"
    assert tools == []


def test_cycles_of_frames_of_several_inputs(tools, tmp_path):
    """The design is built for the network, its cycles are those of the frames, by input, in any order of the file."""
    inputs = tuple(Input((9,), bits=3, kind="graded", name=f"{side} ear") for side in ("left", "right"))
    heard = (Connection(given.name, weights(4, given.shape[0]), 4) for given in inputs)
    network = QuantizedNetwork(inputs, (population("out", 4, *heard),), 3)
    network.save(tmp_path / "network.npz")
    generator = np.random.default_rng(1)
    left, right = (generator.random((3, 3, 9)) < 0.9).astype(np.uint8), np.zeros((3, 3, 9), np.uint8)
    right[:, 1, 2] = 7
    np.savez(tmp_path / "frames.npz", **{"right ear": right, "left ear": left})
    words = ["synth", str(tmp_path / "network.npz"), "--pe", "1", "--device", "xc7z020", "-o", str(tmp_path / "out")]
    words += ["--frames", str(tmp_path / "frames.npz")]
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.exit_code == 0, result.output
    told_figures = json.loads(result.stdout)
    mapping = place(network, Wanted(pes="1", device="xc7z020"))
    measured = measure(mapping, [left, right])
    assert told_figures["cycles_per_frame"] == round(float(measured.back_to_back.interval.mean()), 1)
    assert told_figures["latency_cycles"] == round(float(measured.apart.latency.mean()), 1)
    assert told_figures["latency_cycles"] != round(measure(mapping, [right, left]).latency, 1)
    assert json.loads((tmp_path / "out/report.json").read_text())["digest"] == network.digest
    two = CliRunner().invoke(main, [*words, "--images", "2"])
    assert two.stdout.splitlines()[-1].endswith("cycles (2 frames)")
    np.savez(tmp_path / "frames.npz", **{"left ear": left})
    wrong = CliRunner().invoke(main, words)
    assert wrong.exit_code == 2
    assert "arrays is left ear, expected left ear, right ear: one for each input" in wrong.stderr.splitlines()[-1]


def test_a_board_has_no_stream(board):
    words = ["run", str(ROOT / "networks/mnist-rows-20pct.npz"), "--data", str(ROOT / "data/mnist"), "--pe", "1,1"]
    message = "error: stream is True, expected given to generate or package: synth and run have frames\n"
    assert told(CliRunner().invoke(main, [*words, "--port", "port", "--stream"])) == message
    assert board.closed
