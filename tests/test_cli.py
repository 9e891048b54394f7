"""The command line: every command does its work, every mistake is one line, and `demo` does not repeat itself."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import html_pages
import numpy as np
import pytest
from command_line import gradrtl

from gradrtl import cli
from gradrtl.commands import COMMANDS
from gradrtl.model.data import Dataset, load
from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.sim import engine
from gradrtl.steps.demo import Chain

ROOT = Path(__file__).parents[1]
NETWORK = str(ROOT / "networks/mnist-1pct.npz")
DATA = ["--data", str(ROOT / "data/mnist")]


def write_idx(folder: Path, part: str, data: Dataset) -> None:
    """A part of a data set as uncompressed IDX files."""
    images = data.images[:, 0]
    header = struct.pack(">4I", 0x803, *images.shape)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(
        struct.pack(">2I", 0x801, len(data.labels)) + data.labels.tobytes()
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(command):
    assert "Usage: " in gradrtl(*command.split(), "--help").output


HEAVY = ("numba", "amaranth", "torch", "matplotlib")


@pytest.mark.parametrize("words", ["--help", "--version", *(f"{name} --help" for name in COMMANDS)])
def test_help_loads_nothing_heavy(words):
    program = f"""
import sys
from gradrtl.cli import main
main({words.split()!r}, standalone_mode=False)
sys.exit(", ".join(set(sys.modules).intersection({HEAVY!r})) or None)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("typed", "expected"), [("gradrtl ", "plain,simulate"), ("gradrtl verify --st", "plain,--stalls")]
)
def test_completion_loads_nothing_heavy(typed, expected):
    program = f"""
import sys
from gradrtl.cli import main
try:
    main(prog_name="gradrtl")
finally:
    print(*set(sys.modules).intersection({HEAVY!r}), file=sys.stderr)
"""
    words = str(len(typed.split(" ")) - 1)
    settings = {"_GRADRTL_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": words}
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=os.environ | settings
    )
    assert expected in done.stdout.splitlines()
    assert done.stderr == "\n"


def test_the_package_can_be_run():
    done = subprocess.run([sys.executable, "-m", "gradrtl", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("gradrtl, version ")


def test_info_gives_connectivity_and_digest():
    found = QuantizedNetwork.load(NETWORK)
    output = gradrtl("info", NETWORK, "--device", "up5k").output
    assert found.digest in output
    kept = sum(np.count_nonzero(layer.synapses.weight) for layer in found.layers)
    assert f", {kept} of 635200 weights" in output


def test_a_convolution_becomes_hardware(tmp_path):
    synapses = Conv(np.ones((2, 1, 3, 3), np.int8), np.zeros(2, np.int64))
    layer = Layer("conv", (1, 28, 28), synapses, IntNeuron("none", "hard", np.array([9])), weight_bits=4)
    found = QuantizedNetwork.chain(Input((1, 28, 28)), (layer,), steps=2)
    path = tmp_path / "conv.npz"
    found.save(path)
    assert found.digest in gradrtl("info", str(path), "--device", "ecp5-85").output
    verilog = tmp_path / "conv.v"
    gradrtl("generate", str(path), "--pe", "2", "-o", str(verilog))
    assert f"// network: {found.digest}" in verilog.read_text()


def test_simulate_writes_classes(tmp_path):
    path = tmp_path / "simulation.npz"
    output = gradrtl("simulate", NETWORK, *DATA, "--images", "50", "--threads", "1", "-o", str(path)).output
    assert "50 images, accuracy" in output
    with np.load(path) as arrays:
        assert arrays["classes"].shape == (50,)
        assert arrays["sums"].shape == (50, 10)


def test_quantize_by_the_weights_alone(tmp_path):
    path = tmp_path / "network.npz"
    checkpoint = str(ROOT / "checkpoints/mnist-mlp-1-s0.npz")
    gradrtl(
        "quantize", checkpoint, "-o", str(path), "--method", "weights", "--bits", "5", "--connectivity", "0.004", *DATA
    )
    made = QuantizedNetwork.load(path)
    assert made.layers[0].weight_bits == 5
    assert 0.003 * 635_200 < sum(made.notes["synapses"]["kept"]) <= 0.004 * 635_200


@pytest.mark.rtl
def test_generate_then_verify(tmp_path):
    path = tmp_path / "gradrtl.v"
    settings = ["--pe", "4,4", "--queue-depth", "4"]
    gradrtl("generate", NETWORK, "-o", str(path), *settings)
    first = path.read_text()
    gradrtl("generate", NETWORK, "-o", str(path), *settings)
    assert path.read_text() == first
    assert f"// command: gradrtl generate {NETWORK} --pe 4,4 --queue-depth 4\n" in first
    verify = ["verify", NETWORK, str(path), *DATA, "--images", "3", "--jobs", "1"]
    assert "equal: 3 frames" in gradrtl(*verify).output, "the file says how it was placed"
    log = ["--log", str(tmp_path / "log.jsonl")]
    assert "equal: 3 frames" in gradrtl(*verify, *settings, *log).output
    again = gradrtl(*verify, *settings, *log)
    assert "resumes after 3 of 3" in again.stderr
    assert "note: 3 frames were compared by earlier runs" in again.output
    message = gradrtl(*verify, "--pe", "4,5", code=2).stderr
    assert "pes is 4,4 in the file, 4,5 is asked for; queue_depth is 4 in the file, 16 is asked for" in message
    other = str(ROOT / "networks/mnist-2pct.npz")
    message = gradrtl("verify", other, str(path), *DATA, "--images", "3", code=2).stderr
    assert "the file was made from network 5a4aa0438556, the one given is 4ebe967603b4" in message


@pytest.mark.rtl
def test_a_device_means_the_same_everywhere(tmp_path):
    """The UP5K's plan, with its memories that come without contents, is generated and verified as it is planned."""
    network, path = str(ROOT / "networks/mnist-1pct-up5k.npz"), tmp_path / "up5k.v"
    planned = "up5k: fits with PE 2,3: 24 of 30 block RAMs, 2 of 4 wide RAMs"
    assert planned in gradrtl("info", network, "--device", "up5k").output
    gradrtl("generate", network, "--device", "up5k", "-o", str(path))
    assert "// placement: pe 2,3; pixels a beat 1; queue depth 16; row queue depth 16; strided 0\n" in path.read_text()
    verify = ["verify", network, str(path), *DATA, "--images", "3", "--jobs", "1"]
    assert "equal: 3 frames" in gradrtl(*verify).output
    assert "equal: 3 frames" in gradrtl(*verify, "--device", "up5k").output


def test_a_device_plans_a_graph_for_every_command(tmp_path):
    network, path, verilog = str(ROOT / "networks/mnist-rows-20pct.npz"), tmp_path / "rows.npz", tmp_path / "rows.v"
    chosen = ["--device", "ecp5-25"]
    assert (
        "ecp5-25: fits with PE 8,1: 18 of 56 block RAMs, 26 of 28 multipliers"
        in gradrtl("info", network, *chosen).output
    )
    gradrtl("generate", network, *chosen, "-o", str(verilog))
    assert "// placement: pe 8,1; pixels a beat 4;" in verilog.read_text()
    output = gradrtl("place", network, *chosen, *DATA, "-o", str(path)).output
    made = QuantizedNetwork.load(path)
    assert f"population hidden1 from rows: {made.rates[0].sum():.1f} events per frame, of 28 sources" in output
    assert made.placement.pes == (8, 1)


def test_info_says_why_a_graph_has_no_placement(tmp_path, monkeypatch):
    monkeypatch.setattr("gradrtl.rtl.mapping.refusal", lambda network: "inputs is 2, expected 1 in hardware")
    output = gradrtl("info", str(ROOT / "networks/mnist-rows-20pct.npz")).output
    assert "placement: none, inputs is 2, expected 1 in hardware; gradrtl simulate runs it" in output


def test_place_writes_rates_and_the_placement(tmp_path):
    path = tmp_path / "network.npz"
    found = QuantizedNetwork.load(NETWORK)
    replace(found, rates=None).save(path)
    verilog = ["generate", str(path), "--pe", "1,1", "-o", str(tmp_path / "x.v")]
    assert "no event rates, so all sources count equally" in gradrtl(*verilog).stderr
    gradrtl("place", str(path), *DATA)
    made = QuantizedNetwork.load(path)
    assert (made.digest, made.placement) == (found.digest, None)
    assert all(np.array_equal(a, b) for a, b in zip(made.rates, found.rates, strict=True))
    gradrtl("place", str(path), *DATA, "--device", "gw1nr-9")
    assert QuantizedNetwork.load(path).placement == Placement((4, 4), 2)
    gradrtl("generate", str(path), "-o", str(tmp_path / "y.v"))
    assert "// placement: pe 4,4; pixels a beat 2;" in (tmp_path / "y.v").read_text()


def test_place_keeps_what_is_not_given(tmp_path):
    """As `generate` does: an option changes its own number alone, a device determines all of them."""
    path = tmp_path / "network.npz"
    QuantizedNetwork.load(NETWORK).save(path)
    for chosen, placement in (
        (["--pe", "8,2", "--pixels-a-beat", "8"], Placement((8, 2), 8)),
        (["--row-queue-depth", "32"], Placement((8, 2), 8, row_queue_depth=32)),
        (["--device", "gw1nr-9"], Placement((4, 4), 2)),
    ):
        gradrtl("generate", path, *chosen, "-o", tmp_path / "z.v")
        assert f"// placement: {placement.line}\n" in (tmp_path / "z.v").read_text()
        assert f"placement: {placement.line}\n" in gradrtl("place", path, *DATA, *chosen).stdout
        assert QuantizedNetwork.load(path).placement == placement


@pytest.mark.rtl
def test_demo_leaves_everything_in_one_folder_and_does_not_repeat_itself(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    training, test = load(ROOT / "data/mnist")
    write_idx(data, "train", training[:5400])
    write_idx(data, "t10k", test[:20])
    words = ["demo", "--out", str(out), "--data", str(data), "--epochs", "1", "--fine-tuning", "1", "--images", "2"]
    output = gradrtl(*words).output
    assert "mismatches" in output
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["figures"]["mismatches"] == 0
    assert all(f"note: {note}\n" in output for note in manifest["figures"]["notes"])
    assert manifest["figures"]["images_rtl"] == 2
    assert set(manifest["artifacts"]) < {path.name for path in out.iterdir()}
    assert gradrtl(*words).output.count("unchanged") == 6
    manifest["figures"]["notes"] = ["something to know"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / "report.html").unlink()
    gradrtl("report", str(out))
    page = html_pages.read(out / "report.html")
    html_pages.check_self_contained(page, out)
    assert page.one("p", role="status").text.startswith("pass The Verilog computes what the simulator computes.")
    assert [link.text for link in page.one("nav").all("a")] == [
        "Results", "Training", "Answers", "Spikes and membranes", "Activity", "Cycles", "Energy", "Hardware",
        "Network", "Files",
    ]  # fmt: skip
    assert "Note: something to know." in page.text
    assert len(page.all("img")) == len(manifest["figures"]["wrong"])
    (out / "traces.npz").write_bytes(b"PK")
    assert "traces.npz" in gradrtl("report", str(out), code=2).stderr
    assert gradrtl(*words).output.count("unchanged") == 5, "what is damaged is made again"
    network = (out / "network.npz").read_bytes()
    shutil.copy(NETWORK, out / "network.npz")
    message = gradrtl("report", str(out), code=2).stderr
    assert message.endswith("network.npz, expected the one that `gradrtl demo` has made; run it again\n")
    (out / "network.npz").write_bytes(network)
    gradrtl("report", str(out))

    def interrupted(chain):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # other settings; the network is new, and never compared
        patched.setattr(Chain, "simulate", interrupted)
        gradrtl(*words, "--connectivity", "0.1", code=130)
    assert not (out / "report.html").exists()
    assert json.loads((out / "manifest.json").read_text()).keys() == {"steps"}
    assert "expected a folder that `gradrtl demo` has completed" in gradrtl("report", str(out), code=2).stderr
    assert not (out / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["train", "nonsense"], "unexpected extra argument"),
        (["info", "absent.npz"], "absent.npz"),
        (["info", str(ROOT / "Makefile")], "not a gradrtl archive"),
        (["simulate", NETWORK, "--images", "many"], "not a valid integer"),
        (["simulate", NETWORK, *DATA, "--images", "0"], "images is 0, expected 1 to 10000"),
        (["simulate", NETWORK, "--data", "absent"], "data folder absent"),
        (["generate", NETWORK, "--pe", "4,x"], "pe is 4,x"),
        (["generate", NETWORK, "--pe", "4,0"], "pe is 4,0"),
        (["generate", NETWORK, "--pixels-a-beat", "3"], "pixels_a_beat is 3"),
        (["synth", NETWORK, *DATA, "--device", "up5k", "--pe", "4,x"], "pe is 4,x"),
        (
            [
                "synth",
                str(ROOT / "networks/mnist-rows-20pct.npz"),
                *DATA,
                "--device",
                "xc7z020",
                "--pe",
                "1,1",
                "--stream",
            ],
            "stream is True, expected given to generate or package: synth and run have frames",
        ),
        (["run", NETWORK, *DATA, "--port", "/dev/null", "--device", "zx81"], "device is zx81"),
        (["generate", NETWORK, "-o", "/dev/null/gradrtl.v"], "/dev/null"),
        (["verify", NETWORK, "absent.v", *DATA], "verilog is absent.v"),
        (["verify", NETWORK, *DATA, "--stalls", "1.5"], "stall"),
        (
            ["verify", NETWORK, *DATA, "--stalls", "0.999999"],
            "to 0.99: with more, a slow design looks like one that hangs",
        ),
        (
            ["verify", NETWORK, *DATA, "--stalls", "1e-9"],
            "stalls.density_in is 1e-09, expected 0, or 1.52587890625e-05 to",
        ),
        (["verify", NETWORK, *DATA, "--log", "r.json", "-o", "./r.json"], "log is r.json, expected another file than"),
        (["verify", NETWORK, *DATA, "--log", str(ROOT)], "cannot be written: it is a folder"),
        (["verify", NETWORK, "--images", "-1"], "images is -1, expected 1 to"),
        (["verify", NETWORK, "--frames", "f.npy"], "frames file is f.npy, expected a file that exists"),
        (["simulate", NETWORK, "--labels", "l.npy"], "labels is l.npy, expected given together with --frames"),
        (["verify", NETWORK, "--frames", "f.npy", *DATA], "not given together with --frames"),
        (["verify", NETWORK, *DATA, "--all", "--images", "5"], "images is 5, expected not given together with --all"),
        (["quantize", "absent.npz"], "absent.npz"),
        (["quantize", str(ROOT / "checkpoints/mnist-mlp-1-s0.npz"), "--bits", "9", *DATA], "9"),
        (["quantize", str(ROOT / "checkpoints/mnist-mlp-1-s0.npz"), "--connectivity", "1.5", *DATA], "connectivity"),
        (["train", "--network", "nonsense", *DATA], "nonsense"),
        (["train", "--connectivity", "2", *DATA], "connectivity is 2"),
        (["train", "--dense", "0.9", *DATA], "dense is 0.9, expected at most rewire = 0.6"),
        (["demo", "--bits", "1", *DATA], "weight_bits is 1"),
        (["demo", "--pe", "many", *DATA], "pe is many"),
        (["demo", "--images", "20000", *DATA], "images is 20000"),
        (["demo", "--stream", *DATA], "kind is static, expected spikes or graded in a stream"),
        (["report", "absent"], "run is absent"),
        (["quantize", "two\r\nlines\x1b.npz"], "checkpoint file two  lines?.npz: no such file"),
    ],
)
def test_a_mistake_is_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = gradrtl(*words, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("redirection", "command", "code", "message"),
    [
        (">&-", "info sample --pe 4,4", 0, ""),
        (">&- 2>&- <&-", "info sample --pe 4,4", 0, ""),
        ("> /dev/full", "info sample --pe 4,4", 2, "error: output cannot be written: No space left on device\n"),
        ("> /dev/full", "--help", 2, "error: output cannot be written: No space left on device\n"),
        ("> /dev/full", "generate sample -o -", 2, "error: output cannot be written: No space left on device\n"),
    ],
)
def test_closed_and_full_streams_are_no_traceback(redirection, command, code, message, tmp_path):
    line = f'exec "{sys.executable}" -m gradrtl {command} {redirection}'
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)


def test_an_unknown_option_of_the_program_itself_is_one_line():
    assert gradrtl("--nonsense", code=2).stderr == "error: No such option '--nonsense' (see gradrtl --help)\n"


def test_an_error_of_the_system_is_one_line(capsys):
    with pytest.raises(cli.Failure) as caught, cli.in_one_line("gradrtl"):
        raise FileNotFoundError(2, "No such file or directory", "two\nlines")
    caught.value.show()
    assert capsys.readouterr().err == "error: two lines: No such file or directory\n"


def test_an_interruption_is_no_traceback(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "blocks", interrupt)
    assert gradrtl("simulate", NETWORK, *DATA, code=130).stderr == "interrupted\n"


@pytest.mark.rtl
def test_frames_of_ones_own_need_no_data_set(tmp_path, monkeypatch):
    network = QuantizedNetwork.load(NETWORK)
    frames = tmp_path / "frames.npy"
    np.save(frames, np.zeros((2, network.layers[0].sources), np.uint8))
    verilog = str(tmp_path / "gradrtl.v")
    gradrtl("generate", NETWORK, "-o", verilog, "--pe", "4,4")
    monkeypatch.chdir(tmp_path)  # where there is none
    assert "equal: 2 frames" in gradrtl("verify", NETWORK, verilog, "--frames", "frames.npy", "--jobs", "1").output


def written_by_python_2() -> bytes:
    """A .npy file that NumPy reads with a warning of several sentences."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1L,)}\n"
    return np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header + b"\0"


def test_a_network_of_another_input_than_the_default_images(tmp_path):
    layer = Layer("out", (2,), Dense(np.ones((3, 2), np.int8)), IntNeuron("none", "hard", 1), 4)
    QuantizedNetwork.chain(Input((2,)), (layer,), 2).save(tmp_path / "n.npz")
    told = gradrtl("simulate", tmp_path / "n.npz", code=2).output
    default = "(these are the default images: choose others with --data or --frames)"
    assert told == f"error: image pixels is 784, expected 2, what the network reads {default}\n"
    told = gradrtl("simulate", tmp_path / "n.npz", *DATA, code=2).output
    assert told == "error: image pixels is 784, expected 2, what the network reads\n"


def test_a_check_writes_nothing_and_so_over_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("build").mkdir()
    shutil.copy(NETWORK, "build/network.npz")  # where an import writes if nothing else is said
    told = gradrtl("import", "build/network.npz", "--check", code=2).output
    assert told.startswith("error: NIR file build/network.npz: not an HDF5 file")
    told = gradrtl("import", "build/network.npz", code=2).output
    assert told == "error: output is build/network.npz, expected another file than MODEL\n"


def test_names_that_are_not_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"own\xff.npz")
    shutil.copy(NETWORK, name)
    gradrtl("generate", name, "--pe", "4,4", "-o", "own.v")
    assert "// command: gradrtl generate 'own\\xff.npz' --pe 4,4\n" in Path("own.v").read_text(encoding="utf8")
    gradrtl("simulate", name, *DATA, "--images", "20", "--report", "own.html")
    assert 'href="own%FF.npz"' in Path("own.html").read_text(encoding="utf8")


@pytest.mark.parametrize("content", [b"", b"no array", np.lib.format.magic(1, 0), written_by_python_2()])
def test_frames_file_that_is_none(content, tmp_path):
    path = tmp_path / "frames.npy"
    path.write_bytes(content)
    assert "not a .npy file" in gradrtl("verify", NETWORK, "--frames", str(path), code=2).stderr
