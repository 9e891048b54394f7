"""The tools' reports are read right; memories of a small design become block RAM; shortages are named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl import synthesis
from gradrtl.rtl.boards import BOARDS, board_design, board_of
from gradrtl.rtl.devices import DEVICES, DoesNotFit, device
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.queues import LUT_RAM_WORDS, queues_of
from gradrtl.rtl.verilog import generate


def sparse(sources: int = 784, hidden: int = 128, density: float = 0.02) -> QuantizedNetwork:
    generator = np.random.default_rng(0)

    def layer(name: str, targets: int, inputs: int, share: float, threshold: int) -> Layer:
        weight = generator.integers(-8, 8, (targets, inputs)) * (generator.random((targets, inputs)) < share)
        neuron = IntNeuron("decaying_input", "hard", np.array([threshold]))
        return Layer(name, (inputs,), Dense(weight.astype(np.int8), np.zeros(targets, np.int64)), neuron, 4)

    layers = (layer("hidden", hidden, sources, density, 60), layer("out", 10, hidden, 0.2, 4))
    return QuantizedNetwork.chain(Input((sources,), 4), layers, 4)


def test_block_rams_for_a_memory():
    up5k = device("up5k")
    assert up5k.rams_for(784, 4) == 1
    assert up5k.rams_for(784, 15) == 4
    assert up5k.rams_for(102, 17) == 2
    assert up5k.fits_wide(784 << 4, 11)
    assert not up5k.fits_wide(784 << 5, 11)
    ecp5 = device("ecp5-25")
    assert ecp5.rams_for(1700, 10) == 2
    assert ecp5.rams_for(1450, 10) == 1  # three times 512 words, 30 bits side by side
    assert device("xc7z020").rams_for(5815, 12) == 4


def test_unknown_device():
    with pytest.raises(UserError, match="up5k or ecp5-25"):
        device("up6k")


def test_boards_name_devices_and_round_the_baud_rate_well():
    for board in BOARDS.values():
        assert board.device in DEVICES
        assert abs(board.clock * 1e6 / board.divisor / 1e6 - 1) < 0.02


@pytest.mark.parametrize("name", [d.name for d in DEVICES.values() if d.placed])
def test_every_placed_device_has_a_complete_board(name):
    design = board_design(map_network(sparse(), (2, 2)), board_of(name))
    (pins,) = design.constraints.values()
    assert "uart" in pins
    assert "module board" in design.sources["board.v"]


def test_shortages_name_the_resource_and_a_way_out():
    log = "Info: \t         ICESTORM_LC:    6989/   5280   132%\nInfo: \t        ICESTORM_RAM:      29/     30    96%\n"
    (line,) = synthesis.shortages(log)
    assert line.startswith("6989 logic cells of 5280 (try fewer PEs")


def test_critical_path_is_told_by_module():
    def part(cell: str, delay: float) -> dict:
        return {"delay": delay, "from": {"cell": cell}}

    path = [
        part("accelerator.datapath.core0.pe1.word2[3]_SB_DFF_Q_DFFLC", 1.4),
        part("accelerator.datapath.core0.pe1.word2[3]_SB_DFF_Q_DFFLC", 2.0),
        part("accelerator.datapath.core0.pe1.product3_SB_LUT4_O_2", 0.5),
    ]
    found = {"critical_paths": [{"from": "posedge clock", "to": "posedge clock", "path": path}]}
    assert synthesis.critical_path(found) == [
        ("datapath.core0.pe1.word2", 3.4),
        ("datapath.core0.pe1.product3", 0.5),
    ]


@pytest.mark.parametrize(("frequency", "packed"), [(25.1, False), (25.2, True)])
def test_a_design_slower_than_its_board_gets_no_bitstream(tmp_path, monkeypatch, frequency, packed):
    design, target = synthesis.Design("board", {}, {}, 25.125), device("up5k")
    (tmp_path / "board.bin").write_text("of an earlier run")
    found = {"utilization": {}, "critical_paths": [], "fmax": {"clock": {"achieved": frequency}}}

    def place(*_):
        (tmp_path / "nextpnr.json").write_text(json.dumps(found))

    monkeypatch.setattr(synthesis, "_yosys", lambda *_: (tmp_path / "yosys.log").write_text("Yosys 0.70 (git)"))
    monkeypatch.setattr(synthesis, "memories_of", lambda folder: [])
    monkeypatch.setattr(synthesis, "_place", place)
    monkeypatch.setattr(synthesis, "tool", lambda name: [name])
    monkeypatch.setattr(synthesis, "_run", lambda command, folder, log, progress: (folder / command[-1]).touch())
    report = synthesis.synthesise(design, target, tmp_path)
    assert report.too_slow is not packed
    assert report.bitstream == ("board.bin" if packed else "")
    assert (tmp_path / "board.bin").exists() is packed
    assert report.tools == {"yosys": "Yosys 0.70"}


def test_nothing_of_an_earlier_design_is_left_by_one_that_does_not_fit(tmp_path, monkeypatch):
    for name in ("board.bin", "board.bit", "report.json", "nextpnr.json", "pack.log"):
        (tmp_path / name).write_text("of an earlier run")
    (tmp_path / "notes.txt").write_text("mine")

    def place(*_):
        raise DoesNotFit("the design does not fit")

    monkeypatch.setattr(synthesis, "_yosys", lambda *_: (tmp_path / "yosys.log").write_text("Yosys 0.70 (git)"))
    monkeypatch.setattr(synthesis, "memories_of", lambda folder: [])
    monkeypatch.setattr(synthesis, "_place", place)
    with pytest.raises(DoesNotFit):
        synthesis.synthesise(synthesis.Design("board", {"board.v": ""}, {}, 12.0), device("up5k"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board.v", "notes.txt", "yosys.log"]


@pytest.mark.rtl
def test_memories_of_a_small_design_become_block_ram(tmp_path):
    mapping = map_network(sparse(), Placement((2, 2), queue_depth=2, row_queue_depth=2, strided=(0,)))
    target = device("up5k")
    design = board_design(mapping, board_of("up5k"))
    for name, text in design.sources.items():
        (tmp_path / name).write_text(text)
    synthesis._yosys(design, target, tmp_path, lambda line: None)
    memories = {m.name: m for m in synthesis.memories_of(tmp_path)}
    used = synthesis.counted_cells(tmp_path / "stat.json")
    assert used["wide RAMs"] == 2
    for memory in memories.values():
        assert memory.is_block_ram or not memory.is_large, memory
    for pe in range(2):
        name = f"accelerator.datapath.core0.pe{pe}.lookup.pointers"
        assert memories[name].words == 784
        assert memories[name].is_block_ram
    assert (tmp_path / "netlist.v").is_file()


@pytest.mark.rtl
def test_written_memories_of_more_words_than_small_ones_are_no_lut_ram(tmp_path):
    """Left to itself, Yosys builds accumulators of 40 to 60 rows of LUTs, of which a GW1NR-9 has too few."""
    target = device("gw1nr-9")
    design = board_design(map_network(sparse(hidden=50), (1, 1)), board_of("gw1nr-9"))
    for name, text in design.sources.items():
        (tmp_path / name).write_text(text)
    synthesis._yosys(design, target, tmp_path, lambda line: None)
    memories = {m.name: m for m in synthesis.memories_of(tmp_path)}
    bank = memories["accelerator.datapath.core0.pe0.accumulators.bank0"]
    assert target.small_ram[0] < bank.words <= synthesis.SMALL_RAM_WORDS
    assert bank.is_block_ram


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["gw1nr-9", "xc7z020"])
@pytest.mark.parametrize("entries", [40, 100, 300])
def test_long_queues_have_a_place(name, entries, tmp_path):
    """No block RAM is asked for what is read in the same cycle; queues beyond LUT RAM are in it."""
    target = device(name)
    mapping = map_network(sparse(sources=24, hidden=8), Placement((1, 1), queue_depth=entries, row_queue_depth=entries))
    design = synthesis.Design("gradrtl", {"gradrtl.v": generate(mapping, "")}, {}, target.clock)
    (tmp_path / "gradrtl.v").write_text(design.sources["gradrtl.v"])
    synthesis._yosys(design, target, tmp_path, lambda line: None)
    queues = [m for m in synthesis.memories_of(tmp_path) if m.words == entries]
    assert len(queues) == len(queues_of(mapping))
    assert "flip-flops" not in {queue.where for queue in queues}
    if entries > LUT_RAM_WORDS:
        in_lut_ram = entries <= target.small_ram[0]
        assert {queue.is_block_ram for queue in queues} == {not in_lut_ram}


@pytest.mark.parametrize(
    ("where", "block"),
    [
        ("$__XILINX_BLOCKRAM_SDP_", True),
        ("$__XILINX_LUTRAM_SDP_", False),
        ("$__GOWIN_SP_", True),
        ("flip-flops", False),
    ],
)
def test_lut_ram_is_no_block_ram(where, block):
    assert synthesis.Memory("any", 167, 72, where).is_block_ram == block
