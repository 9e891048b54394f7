"""The wrapper with AXI names: what TKEEP does, reset, and what other tools say to it. Packets are the simulator's."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from cocotb_networks import NETWORKS, placed
from icarus import needs_icarus
from wrapped import Wrapped

from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.frame_words import MARK_BIT, event_words, pixel_words
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.registers import registers
from gradrtl.rtl.synthesis import tool
from gradrtl.rtl.verilog import generate
from gradrtl.rtl.wrapper import wrapper, wrapper_ports
from gradrtl.sim import reference, toolchain

Beats = list[tuple[int, int, int]]  # data, TKEEP, TLAST
REGISTERS = {register.name: register.address for register in registers(2)}


def sources(mapping: Mapping) -> dict[str, str]:
    return {"gradrtl.v": generate(mapping, "test"), "gradrtl_axi.v": wrapper(mapping)}


def start(mapping: Mapping, folder, **options) -> Wrapped:
    width = {port.name: port.width for port in wrapper_ports(mapping)}
    return Wrapped(folder, sources(mapping), width["s_axis_tdata"] // 8, width["s_axil_araddr"], **options)


def expected(network: QuantizedNetwork, frame: np.ndarray) -> list[int]:
    outcome = reference.run(network, frame[None])
    return [int(outcome.classes[0]), *outcome.counts[0].tolist()]


def beats_of(data: np.ndarray, kept: np.ndarray) -> Beats:
    """Beats of bytes `[beats, lanes]`, those kept where `kept` is set; the others hold noise."""
    noise = np.random.default_rng(3).integers(0, 256, data.shape).astype(np.uint8)
    shown = np.where(kept, data, noise)
    words = [int.from_bytes(row.tobytes(), "little") for row in shown]
    keeps = [sum(1 << int(lane) for lane in np.flatnonzero(row)) for row in kept]
    return [(word, keep, int(n == len(words) - 1)) for n, (word, keep) in enumerate(zip(words, keeps, strict=True))]


def check(simulation: Wrapped, beats: Beats, packet: list[int], flagged: bool) -> None:
    simulation.await_packet()
    simulation.send(beats)
    assert simulation.packet() == (packet, flagged)


@needs_icarus
@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_pixels_that_are_not_kept_are_missing(lanes, tmp_path):
    network = NETWORKS["static"]()
    mapping = map_network(network, Placement((4, 3), pixels_a_beat=lanes))
    generator = np.random.default_rng(lanes)
    pixels = network.inputs[0].shape[0]
    with start(mapping, tmp_path) as simulation:
        for trial in range(24):
            frame = generator.integers(0, 256, pixels).astype(np.uint8)
            data = pixel_words(frame[None], lanes)[0]
            kept = np.ones(data.size, bool)
            if trial % 2:  # in the first frame to come, the last pixel alone; then any
                gone = generator.integers(0, pixels, generator.integers(1, 4)) if trial > 1 else [pixels - 1]
                kept[gone] = False
            kept[pixels:] = generator.random(data.size - pixels) < 0.5  # padding: kept or not
            sent = beats_of(data, kept.reshape(data.shape))
            if trial % 8 == 7:  # beats are missing as well
                sent = sent[: len(sent) // 2]
                sent[-1] = (*sent[-1][:2], 1)
                kept[lanes * len(sent) :] = False
            seen = np.where(kept[:pixels], frame, 0).astype(np.uint8)
            check(simulation, sent, expected(network, seen), flagged=bool(trial % 2))
        too_long = beats_of(np.zeros((len(data) + 2, lanes), np.uint8), np.zeros((len(data) + 2, lanes), bool))
        check(simulation, too_long, expected(network, np.zeros(pixels, np.uint8)), flagged=True)
        check(simulation, beats_of(data, np.ones(data.shape, bool)), expected(network, frame), flagged=False)
        assert simulation.read(REGISTERS["frames_in"]) == simulation.read(REGISTERS["frames_out"]) == 26


@needs_icarus
def test_a_pixel_missing_is_told_as_a_frame_too_long_and_the_next_frame_waits(tmp_path):
    network = NETWORKS["static"]()
    frame = np.arange(200, 230).astype(np.uint8)
    with start(placed(network), tmp_path, stalled=False) as simulation:
        simulation.await_packet()
        simulation.send_bytes(frame.tobytes()[:-1])
        simulation.send_bytes(frame.tobytes())
        assert simulation.packet()[1]
        simulation.await_packet()
        assert simulation.packet() == (expected(network, frame), False)
        assert simulation.read(REGISTERS["errors"]) == 2
        simulation.write(REGISTERS["errors"], 3)
        assert simulation.read(REGISTERS["errors"]) == 0


@needs_icarus
@pytest.mark.parametrize("kind", ["spikes", "graded"])
def test_words_of_events_that_are_not_kept_whole_are_dropped(kind, tmp_path):
    network = NETWORKS[kind]()
    mapping = placed(network)
    generator = np.random.default_rng(4)
    given = network.inputs[0]
    with start(mapping, tmp_path) as simulation:
        for trial in range(12):
            frame = generator.integers(0, given.largest + 1, (network.steps, given.shape[0])).astype(np.uint8)
            (words,) = event_words(frame[None], kind == "graded")
            sent = [(int(word), 15, int(number == len(words) - 1)) for number, word in enumerate(words)]
            if trial % 2:
                events = np.flatnonzero(words < 1 << MARK_BIT)
                gone = generator.choice(events, 2, replace=False)
                for number in gone:
                    sent[number] = (sent[number][0], int(generator.integers(0, 15)), 0)
                steps = np.cumsum(words >> MARK_BIT)
                frame[steps[gone], words[gone] & 0x7FFFFF] = 0
            if trial % 4 == 2:  # the last word: it ends the last step all the same
                sent[-1] = (sent[-1][0], 7, 1)
            check(simulation, sent, expected(network, frame), flagged=trial % 4 != 0)
        assert simulation.read(REGISTERS["errors"]) == 1


@needs_icarus
@pytest.mark.parametrize("kind", ["static", "spikes"])
def test_tkeep_can_be_ignored(kind, tmp_path):
    network = NETWORKS[kind]()
    shape = network.inputs[0].shape if kind == "static" else (network.steps, *network.inputs[0].shape)
    frame = np.random.default_rng(5).integers(0, 2, shape).astype(np.uint8)
    data = pixel_words(frame[None], 4)[0] if kind == "static" else event_words(frame[None], False)[0].view(np.uint8)
    sent = [(data, 0, last) for data, _, last in beats_of(data.reshape(-1, 4), np.ones((data.size // 4, 4), bool))]
    with start(placed(network), tmp_path, use_tkeep=0) as simulation:
        check(simulation, sent, expected(network, frame), flagged=False)


@needs_icarus
def test_outputs_are_quiet_during_reset_which_forgets_half_a_frame(tmp_path):
    network = NETWORKS["static"]()
    frame = np.arange(30, dtype=np.uint8)
    data = pixel_words(frame[None], 4)[0]
    whole = beats_of(data, np.ones(data.shape, bool))
    with start(placed(network), tmp_path) as simulation:
        simulation.send([(data, 0, 0) for data, _, _ in whole[:3]])
        assert simulation.reset() == "0000000"
        check(simulation, whole, expected(network, frame), flagged=False)
        assert simulation.read(REGISTERS["errors"]) == 0


@pytest.mark.parametrize("kind", ["static", "graded"])
def test_yosys_and_verilator_take_it_without_a_warning(kind, tmp_path):
    for name, text in sources(placed(NETWORKS[kind]())).items():
        (tmp_path / name).write_text(text)
    script = "read_verilog gradrtl.v gradrtl_axi.v; hierarchy -check -top gradrtl_axi; proc; check -assert"
    command = [*tool("yosys"), "-q", "-p", script]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
    root = toolchain.verilator_root()
    lint = [root / "bin/verilator_bin", "--lint-only", "--top-module", "gradrtl_axi", "gradrtl_axi.v", "gradrtl.v"]
    environment = {"VERILATOR_ROOT": str(root)}
    found = subprocess.run(lint, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def test_vivado_finds_interfaces_clock_and_reset():
    mapping = placed(NETWORKS["static"]())
    lines = [line.strip() for line in wrapper(mapping).splitlines()]

    def attributes(declaration: str) -> list[str]:
        at = next(number for number, line in enumerate(lines) if line.startswith(declaration))
        before = lines[:at]
        found = []
        while before[-1].startswith("(*"):
            found.append(before.pop().removeprefix("(* ").removesuffix(" *)"))
        return found[::-1]

    assert attributes("input wire aclk,") == [
        'X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 aclk CLK"',
        'X_INTERFACE_PARAMETER = "XIL_INTERFACENAME aclk, ASSOCIATED_BUSIF s_axis:m_axis:s_axil, '
        'ASSOCIATED_RESET aresetn"',
    ]
    assert attributes("input wire aresetn,")[1:] == [
        'X_INTERFACE_PARAMETER = "XIL_INTERFACENAME aresetn, POLARITY ACTIVE_LOW"'
    ]
    assert attributes("input wire [3:0] s_axis_tkeep,") == [
        'X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TKEEP"'
    ]
    assert attributes("input wire [31:0] s_axis_tdata,")[1:] == [
        'X_INTERFACE_PARAMETER = "XIL_INTERFACENAME s_axis, TDATA_NUM_BYTES 4, TUSER_WIDTH 0, HAS_TREADY 1, '
        'HAS_TKEEP 1, HAS_TLAST 1"'
    ]
    assert attributes("input wire [7:0] s_axil_awaddr,") == [
        'X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axil AWADDR"',
        'X_INTERFACE_PARAMETER = "XIL_INTERFACENAME s_axil, DATA_WIDTH 32, ADDR_WIDTH 8, PROTOCOL AXI4LITE"',
    ]
