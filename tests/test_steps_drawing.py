"""A graph as text."""

from __future__ import annotations

from click.testing import CliRunner
from graphs import recurrent

from gradrtl.commands.network import info
from gradrtl.steps.drawing import drawing


def test_shows_connections_with_their_delays():
    lines = drawing(recurrent())
    assert lines[0] == "input input: 6, graded, 2 bit"
    assert lines[1].startswith("population hidden: 5, leak shift, reset soft, sum ")
    assert lines[2].startswith("  |-- input: dense, ")
    assert lines[3].startswith("  `-- hidden: dense, ")
    assert lines[3].endswith(" of 25 weights of 4 bit, delay 1, from itself")
    assert "read-out of output: count, 3 sums" in lines


def test_info_draws_a_graph(tmp_path):
    network = recurrent()
    network.save(tmp_path / "graph.npz")
    result = CliRunner().invoke(info, [str(tmp_path / "graph.npz")])
    assert result.exit_code == 0, result.output
    assert drawing(network)[3] in result.output
    assert network.digest in result.output
