"""Random networks: reference == engine == RTL compiled by Verilator, cycles as predicted; and the shrinker."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import batches
import graph_cases
import numpy as np
import pytest
import soak
from random_cases import Case, Finding, case, check, machines_differ
from random_networks import Options, frames
from shrinking import plainer, shrink, simpler

from gradrtl.quantize.network import Connection, Conv, Dense, Input, IntNeuron, Layer, QuantizedNetwork, Readout
from gradrtl.rtl.queues import LUT_RAM_WORDS
from gradrtl.rtl.verilog import generate, header
from gradrtl.shapes import LARGEST_STEPS
from gradrtl.sim import engine

CACHE = Path(__file__).parent.parent / "build" / "cache"
SMALL = Options(dense_only=True, largest=80, most_layers=3)


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(4))
def test_all_machines_agree(seed):
    finding = check(case(seed, SMALL), CACHE, seed)
    assert finding.wrong is None, f"{finding.wrong}; repeat with: python -m pytest tests/test_rtl_random.py -k {seed}"
    assert finding.membranes > 0


@pytest.mark.rtl
@pytest.mark.parametrize(("kind", "readout"), [("static", "sum"), ("spikes", "count")])
def test_as_many_steps_as_there_may_be(kind, readout):
    """Sums and counts of 65,535 steps, a cycle for each row of each."""
    neuron = IntNeuron("multiply", "soft", 7, 4, 15, spiking=readout == "count", refractory=int(readout == "count"))
    layer = Layer("only", (2,), Dense(np.array([[3, -2], [7, 1]], np.int8), np.array([1, -1])), neuron, 4)
    net = QuantizedNetwork.chain(Input((2,), 2, kind), (layer,), LARGEST_STEPS, Readout(readout))
    given = frames(net, 3)
    assert check(Case(net, given, (2,)), CACHE).wrong is None
    assert engine.run(net, given).counts.max() >= LARGEST_STEPS // 2


@pytest.mark.rtl
def test_a_batch_has_the_same_verilog_and_findings(tmp_path):
    cases = {seed: case(seed, SMALL) for seed in (1, 3)}
    mappings = [one.mapping for one in cases.values()]
    alone = [generate(mapping, "same") for mapping in mappings]
    together = batches.generate_together(mappings, "same")
    assert [in_order(text) for text in together] == [in_order(text) for text in alone]
    found = batches.check_together(cases, tmp_path, CACHE)
    assert found == {seed: check(one, CACHE, seed) for seed, one in cases.items()}


def in_order(verilog: str) -> list[tuple[list[str], list[str]]]:
    """Of each module, the assignments in alphabetical order, and all else.

    What Yosys has read before shows in the order of its assignments, and in the numbers of its own registers.
    """
    modules = [module.splitlines() for module in re.sub(r"(dump_module\$)\d+", r"\1", verilog).split("endmodule")]
    is_assignment = re.compile(r"  assign ").match
    return [
        (sorted(filter(is_assignment, lines)), [line for line in lines if not is_assignment(line)]) for lines in modules
    ]


@pytest.mark.rtl
@pytest.mark.parametrize("fault", ["Verilog that no tool takes", "another network's Verilog"])
def test_what_fails_in_a_batch_is_asked_alone(fault, tmp_path, monkeypatch):
    cases = {seed: case(seed, SMALL) for seed in (1, 3)}
    generated = batches.generate_together

    def faulty(mappings, command):
        texts = generated(mappings, command)
        if fault == "Verilog that no tool takes":
            return [texts[0], texts[1].replace("endmodule", "")]
        other = replace(cases[3], network=with_sources_reversed(cases[3].network)).mapping
        text = generate(other, command)
        return [texts[0], header(mappings[1], command) + text.removeprefix(header(other, command))]

    monkeypatch.setattr(batches, "generate_together", faulty)
    found = batches.check_together(cases, tmp_path, CACHE)
    assert found[3] is None
    assert (found[1] is None) == (fault == "Verilog that no tool takes")


def with_sources_reversed(network: QuantizedNetwork) -> QuantizedNetwork:
    """The same shape and widths; the first layer's weights belong to other sources."""
    first, *others = network.layers
    other = replace(first, synapses=replace(first.synapses, weight=first.synapses.weight[:, ::-1].copy()))
    return network.changed(layers=(other, *others))


def test_what_has_no_hardware_is_simulated(tmp_path, monkeypatch):
    monkeypatch.setattr(Case, "built", False)
    monkeypatch.setattr(Case, "mapping", property(lambda one: pytest.fail("is not placed")))
    cases = {seed: case(seed, SMALL) for seed in (1, 3)}
    assert batches.check_together(cases, tmp_path, CACHE) == {1: Finding(), 3: Finding()}
    assert check(cases[1], CACHE) == Finding()
    differs = Finding(wrong="engine against reference: frame 2")
    monkeypatch.setattr("random_cases.machines_differ", lambda one: differs.wrong)
    assert check(cases[1], CACHE) == differs


def test_every_seed_is_run_once_and_kept(tmp_path, monkeypatch, capsys):
    begun: list[list[int]] = []

    def run(kind: str, seeds: Sequence[int]) -> list[soak.Result]:
        begun.append(list(seeds))
        found = {seed: Finding(frames=1, wrong="no" if seed == 6 else None) for seed in seeds}
        return [soak.Result(seed, finding, 1.5) for seed, finding in found.items()]

    monkeypatch.setattr(soak, "FOLDER", tmp_path)
    monkeypatch.setattr(soak, "run", run)
    words = ["soak.py", "--graphs", "--first", "5", "--batch", "2", "--jobs", "1", "--cases"]
    monkeypatch.setattr("sys.argv", [*words, "3"])
    assert soak.main() == 1
    monkeypatch.setattr("sys.argv", [*words, "6"])
    assert soak.main() == 1
    assert begun == [[5, 6], [7], [8, 9], [10]]
    assert "6 cases, 0 of them in hardware, 6 frames" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "graphs.jsonl").read_text().splitlines()]
    assert [line["seed"] for line in lines] == list(range(5, 11))
    assert list(lines[0]) == ["seed", *(field.name for field in fields(Finding)), "seconds", "sources"]


def test_an_interrupted_run_keeps_its_figures(tmp_path, monkeypatch):
    with soak.Record(tmp_path / "found.jsonl") as record:
        for seed, finding in enumerate([*[Finding(frames=1)] * 3, Finding(wrong="a difference")]):
            record.add(seed, asdict(finding) | {"seconds": 1.5})
    with (tmp_path / "found.jsonl").open("a") as file:
        file.write('{"seed": 4, "fra')  # killed here
    with soak.Record(tmp_path / "found.jsonl") as again:
        assert (tmp_path / "found.jsonl").read_text().count("\n") == 4
    assert again.summary(range(10)) == (
        "4 cases, 0 of them in hardware, 3 frames, 0 spikes, 0 membranes, 0 cycles; 1 cases wrong; "
        "1.50 s of processor time a case"
    )
    assert again.wrong(range(10)) == [3]
    assert again.wrong(range(3)) == []
    names = [path.name for path in soak.sources()]
    assert {"random_networks.py", "driver.cpp", "pe.py"} <= set(names)
    assert not any("__pycache__" in path.parts for path in soak.sources())  # Numba's change from run to run
    monkeypatch.setattr(soak, "fingerprint", lambda: "other sources")
    with soak.Record(tmp_path / "found.jsonl") as other:
        assert other.lines == {}


@pytest.mark.rtl
def test_a_wrong_case_is_shrunk_and_kept(tmp_path, monkeypatch):
    """A stand-in for a difference: what is kept is smaller and still has it, and its command runs."""
    monkeypatch.setattr(soak, "FOLDER", tmp_path)
    monkeypatch.setattr(soak, "CACHE", CACHE)
    monkeypatch.setattr(soak, "check_together", lambda cases, folder, cache: dict.fromkeys(cases))
    monkeypatch.setattr(
        soak, "check", lambda one, cache, seed: Finding(wrong="no" if has_largest_weight(one) else None)
    )
    seed = next(seed for seed in range(20) if has_largest_weight(soak.chain(seed)))
    (result,) = soak.run("chains", [seed])
    folder = tmp_path / f"chains{seed}"
    assert result.finding.wrong == f"no\npython tests/soak.py --again {folder}"
    small, whole = soak.kept(folder)[0], soak.chain(seed)
    assert soak.kept(folder)[1] == seed
    assert has_largest_weight(small)
    assert small.network.layers[0].synapses.weight.size < whole.network.layers[0].synapses.weight.size
    monkeypatch.setattr("sys.argv", ["soak.py", "--again", str(folder)])
    assert soak.main() == 1
    monkeypatch.undo()
    assert check(small, CACHE, seed).wrong is None


def test_some_chains_cancel_frames_also_when_they_are_kept(tmp_path):
    cancelling = [one for one in map(soak.chain, range(60)) if one.cancel]
    assert len(cancelling) == 8
    soak.keep(cancelling[0], 3, tmp_path)
    assert soak.kept(tmp_path)[0].placement == cancelling[0].placement
    assert cancelling[0].placement.cancel


def test_a_wrong_graph_is_shrunk_and_kept(tmp_path, monkeypatch):
    """A fault of the engine, late by a step less: what is kept shows it, and shows it again from its files."""
    run = engine.run

    def hasty(connection: Connection) -> Connection:
        return replace(connection, delay=max(1, connection.delay - 1)) if connection.delay else connection

    def faulty(network: QuantizedNetwork, given, **options):
        populations = (replace(one, inputs=tuple(map(hasty, one.inputs))) for one in network.populations)
        return run(replace(network, populations=tuple(populations)), given, **options)

    monkeypatch.setattr(soak, "FOLDER", tmp_path)
    monkeypatch.setattr(Case, "built", False)
    monkeypatch.setattr(engine, "run", faulty)
    whole = next(
        one for one in map(graph_cases.case, range(50)) if len(one.network.inputs) > 1 and machines_differ(one)
    )
    monkeypatch.setitem(soak.KINDS, "graphs", replace(soak.KINDS["graphs"], case=lambda seed: whole))
    (result,) = soak.run("graphs", [7])
    assert result.finding.wrong is not None
    assert result.finding.wrong.endswith(f"python tests/soak.py --again {tmp_path / 'graphs7'}")
    small, seed = soak.kept(tmp_path / "graphs7")
    assert seed == 7
    assert len(small.network.populations) <= 2 < len(whole.network.populations)
    assert small.count == 1
    monkeypatch.setattr("sys.argv", ["soak.py", "--again", str(tmp_path / "graphs7")])
    assert soak.main() == 1
    monkeypatch.setattr(engine, "run", run)
    assert soak.main() == 0


@pytest.mark.parametrize("options", soak.OPTIONS)
@pytest.mark.parametrize("seed", range(12))
def test_every_simpler_case_is_valid_and_smaller(seed, options):
    one = case(seed, options)
    for smaller in simpler(one):
        assert smaller.mapping.layers
        assert smaller.frames.shape[-1] == smaller.network.layers[0].sources
        assert size(smaller) < size(one)


def test_shrinks_to_the_one_neuron_that_matters():
    one = next(c for c in map(case, range(20)) if len(c.network.layers) > 1 and has_largest_weight(c))
    small = shrink(one, has_largest_weight, budget=1000)
    assert len(small.frames) == 1
    assert small.pes == (1,) * len(small.network.layers)
    assert sum(layer.synapses.weight.size for layer in small.network.layers) <= 2 * len(small.network.layers)


def test_some_cases_have_long_queues():
    cases = [case(seed, SMALL) for seed in range(60)]
    assert 3 <= sum(one.queue_depth > LUT_RAM_WORDS for one in cases) <= 20
    assert 3 <= sum(one.row_queue_depth > LUT_RAM_WORDS for one in cases) <= 20


def test_shrinks_convolutions_too():
    cases = (case(seed, soak.OPTIONS[1]) for seed in range(40))
    one = next(c for c in cases if isinstance(c.network.layers[0].synapses, Conv) and has_largest_weight(c))
    small = shrink(one, has_largest_weight, budget=1000)
    assert len(small.frames) == 1
    assert small.network.layers[0].synapses.weight.shape[:2] == (1, 1)


def has_largest_weight(one: Case) -> bool:
    """A stand-in for a failure: it depends on one synapse of the first layer."""
    layer = one.network.layers[0]
    return bool((layer.synapses.weight == (1 << layer.weight_bits - 1) - 1).any())


def size(one: Case) -> int:
    network: QuantizedNetwork = one.network
    synapses = sum(layer.synapses.weight.size + np.count_nonzero(layer.synapses.bias) for layer in network.layers)
    kinds = sum(1 for layer in network.layers for _ in plainer(layer.neuron))
    depths = abs(one.queue_depth - 16) + abs(one.row_queue_depth - 8) + abs(one.pixels_a_beat - 4)
    return one.frames.size + synapses + kinds + network.steps + sum(one.pes) + depths + one.cancel
