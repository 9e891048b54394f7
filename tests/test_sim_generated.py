"""Kept Verilog is the generator's, made once, and made anew when anything changes that it depends on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fake_accelerator import small_network

from gradrtl.cache import FOUNDATIONS
from gradrtl.quantize.placement import Placement
from gradrtl.rtl import verilog
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import generated

NETWORK = small_network()


@pytest.fixture
def made(monkeypatch):
    """The mappings for which the generator was called."""
    calls = []

    def generate(mapping, command):
        calls.append(mapping)
        return f"{mapping.digest} {command} {len(calls)}"

    monkeypatch.setattr(verilog, "generate", generate)
    return calls


def test_the_text_is_the_generators(tmp_path):
    mapping = map_network(NETWORK, (2, 2))
    for _ in range(2):
        assert generated.verilog(mapping, "command", cache=tmp_path) == verilog.generate(mapping, "command")


def test_made_once(made, tmp_path):
    texts = {generated.verilog(map_network(NETWORK, (2, 2)), "command", cache=tmp_path) for _ in range(3)}
    assert len(texts) == len(made) == 1


@pytest.mark.parametrize("changed", ["placement", "queues", "command", "sources", "versions"])
def test_made_anew_when_something_changes(changed, made, monkeypatch, tmp_path):
    mapping, command = map_network(NETWORK, (2, 2)), "command"
    generated.verilog(mapping, command, cache=tmp_path)
    if changed == "placement":
        mapping = map_network(NETWORK, (2, 3))
    elif changed == "queues":
        mapping = map_network(NETWORK, Placement((2, 2), queue_depth=8))
    elif changed == "command":
        command = "another"
    else:
        monkeypatch.setattr(generated, changed, lambda *names: "others")
    generated.verilog(mapping, command, cache=tmp_path)
    assert len(made) == 2


def test_every_module_that_writes_the_text_counts():
    loaded = "import sys, gradrtl.rtl.verilog; print(*(n for n in sys.modules if n.startswith('gradrtl.')))"
    modules = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    counted = (*generated.GENERATOR, *FOUNDATIONS, "gradrtl.processes")  # the last starts programs, and writes no text
    assert [m for m in modules if not m.startswith(counted)] == []
