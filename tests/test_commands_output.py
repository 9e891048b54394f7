"""--json, --quiet and --verbose, which every command has."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from command_line import gradrtl

from gradrtl.commands import COMMANDS
from gradrtl.commands.output import command, figures
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.samples import NETWORK


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_them(name):
    told = gradrtl(name, "--help").output
    assert all(words in told for words in ("--json", "-q, --quiet", "-v, --verbose"))


def test_json_is_all_that_stdout_gets(tmp_path):
    made = gradrtl("simulate", "sample", "--images", "7", "--json", "-o", str(tmp_path / "out.npz"))
    found = json.loads(made.stdout)
    assert found["images"] == 7
    assert found["digest"] == QuantizedNetwork.load(NETWORK).digest
    assert list(found["events"]) == ["layer0", "layer1"]
    assert "7 images, accuracy" in made.stderr
    told = json.loads(gradrtl("info", "sample", "--device", "up5k", "--json").stdout)
    network = QuantizedNetwork.load(NETWORK)
    assert told["synapses"] == network.connected
    assert [one["sum_bits"] for one in told["populations"]] == [one.current_bits for one in network.ranges]
    assert list(told["devices"]) == ["up5k"]


def test_quiet_prints_errors_alone():
    made = gradrtl("simulate", "sample", "--images", "7", "--quiet")
    assert (made.stdout, made.stderr) == ("", "")
    assert json.loads(gradrtl("simulate", "sample", "--images", "7", "-q", "--json").stdout)["images"] == 7
    refused = gradrtl("simulate", "absent.npz", "-q", code=2)
    assert (refused.stdout, refused.stderr.count("\n")) == ("", 1)


def test_quiet_still_writes_a_file_on_stdout():
    made = gradrtl("generate", "sample", "-o", "-", "-q")
    assert "module gradrtl" in made.stdout
    assert made.stderr == ""
    assert gradrtl("simulate", "sample", "--images", "7", "-o", "-").stderr.startswith("7 images")


def test_quiet_has_no_notes(tmp_path):
    replace(QuantizedNetwork.load(NETWORK), rates=None).save(tmp_path / "plain.npz")
    words = ("generate", tmp_path / "plain.npz", "--pe", "1,1", "-o", tmp_path / "x.v")
    assert gradrtl(*words).stderr.startswith("note: the network file has no event rates")
    assert gradrtl(*words, "-q").output == ""


def test_json_and_a_file_cannot_share_stdout():
    refused = gradrtl("generate", "sample", "-o", "-", "--json", code=2)
    assert refused.stderr.startswith("error: output is -, expected a file beside --json")
    assert refused.stdout == ""


def test_a_dash_is_a_name_where_stdout_is_not_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gradrtl("export", "sample", "-o", "-", "-q").stdout == ""
    assert Path("-").is_file()
    assert json.loads(gradrtl("export", "sample", "-o", "-", "--json").stdout)["output"] == "-"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["simulate", "n.npz", "--images", "7", "-o", "./n.npz"],
            "output is n.npz, expected another file than NETWORK",
        ),
        (["generate", "n.npz", "-o", "n.npz"], "output is n.npz, expected another file than NETWORK"),
        (["generate", "n.npz", "-o", "x.v", "--header", "x.v"], "output is x.v, expected another file than --header"),
        (["export", "n.npz", "-o", "n.npz"], "output is n.npz, expected another file than NETWORK"),
        (["import", "n.npz", "-o", "n.npz"], "output is n.npz, expected another file than MODEL"),
        (["quantize", "n.npz", "-o", "link.npz"], "output is link.npz, expected another file than CHECKPOINT"),
        (["info", "n.npz", "--picture", "n.npz"], "picture is n.npz, expected another file than NETWORK"),
        (["verify", "n.npz", "-o", "n.npz"], "output is n.npz, expected another file than NETWORK"),
        (["verify", "n.npz", "--log", "w.vcd", "--wave", "w.vcd"], "log is w.vcd, expected another file than --wave"),
        (["verify", "n.npz", "--log", "v.html", "--report", "v.html"], "log is v.html, expected another file than --r"),
        (["verify", "n.npz", "-o", "v.html", "--report", "v.html"], "output is v.html, expected another file than --r"),
        (["moving", "n.npz", "--data", "n.npz"], "OUT is n.npz, expected another file than --data"),
    ],
)
def test_no_file_is_written_over_what_is_read_or_written(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("n.npz").write_bytes(NETWORK.read_bytes())
    Path("link.npz").symlink_to("n.npz")
    assert gradrtl(*words, code=2).stderr.startswith(f"error: {message}")
    assert Path("n.npz").read_bytes() == NETWORK.read_bytes()


def test_a_loop_of_links_is_replaced_by_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    gradrtl("generate", "sample", "-o", "a")
    assert "module gradrtl" in Path("a").read_text()


def test_place_may_write_what_it_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("n.npz").write_bytes(NETWORK.read_bytes())
    gradrtl("place", "n.npz", "--pe", "2,2", "-o", "n.npz", "--data", Path(__file__).parents[1] / "data/mnist")
    assert QuantizedNetwork.load("n.npz").placement.pes == (2, 2)


def test_verbose_tells_of_programs_and_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ("place", "sample", "--device", "up5k", "-o", "placed.npz", "--data", str(Path(__file__).parents[1]))
    assert gradrtl(*line, "-v", code=2).stderr.startswith("error: ")  # there are no images
    words = ("info", "sample", "--device", "up5k", "-v")
    assert "makes build/cache/" in gradrtl(*words).stderr
    assert "from the cache: build/cache/" in gradrtl(*words).stderr
    assert gradrtl(*words[:-1]).stderr == ""


@pytest.mark.rtl
def test_verify_reports_in_a_file(tmp_path):
    path = tmp_path / "report.json"
    made = gradrtl("verify", "sample", "--images", "3", "--jobs", "1", "-o", str(path), "--json")
    found = json.loads(path.read_text())
    assert json.loads(made.stdout) == found
    assert found["passed"] is True
    assert (found["frames"], found["frames_with_predicted_cycles"]) == (3, 3)
    assert found["command"].startswith("gradrtl verify sample --images 3")
    assert sum(found["interval_cycles"]) <= found["cycles"]


def test_figures_are_printed_although_the_command_fails():
    @command()
    def fails() -> None:
        figures(passed=False, classes=np.arange(2), path=Path("a"))
        click.echo("different")
        raise SystemExit(1)

    result = CliRunner().invoke(fails, ["--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"passed": False, "classes": [0, 1], "path": "a"})
    assert result.stderr == "different\n"


def test_the_package_is_a_program():
    words = [sys.executable, "-m", "gradrtl", "simulate", "absent.npz"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    told = subprocess.run([*words[:3], "--help"], capture_output=True, text=True, check=True)
    assert "Usage: gradrtl " in told.stdout
