"""`verify` may not be fooled and may do no harm: designs that cheat, print, end, hang or grow, behind walls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_accelerator import fake_verilog, small_network
from hostile import without_comments

from gradrtl.errors import RtlFault, UserError
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import confinement, driving, records, toolchain, verilated
from gradrtl.sim.confinement import DESIGN
from gradrtl.sim.driving import LARGEST_SEED, Stalls
from gradrtl.sim.screening import screened_again
from gradrtl.sim.verify import verify

pytestmark = pytest.mark.rtl

NETWORK = small_network((5, 3, 2), steps=2)
MAPPING = map_network(NETWORK, (1, 1))
TEXT = fake_verilog(MAPPING).replace("// mapping:", "// placed:")
FRAMES = np.random.default_rng(3).integers(0, 256, (6, 5)).astype(np.uint8)
FRAMES[:, -1] = 0


def added(line: str) -> str:
    """The stand-in with `line` in it."""
    return TEXT.replace("  localparam TAKE", f"  {line}\n  localparam TAKE", 1)


def outcome(text: str, **options):
    return verify(MAPPING, text, FRAMES, quick=True, patience=2000, **options)


@pytest.fixture(scope="module")
def model():
    return verilated.build(TEXT, MAPPING, quick=True)


HARMLESS = """initial begin $display("done"); $finish; $write("%c", 0); end
  always @(posedge clk) begin $display("x %0d", state); $stop; $finish; $error("e"); end"""


def test_printing_and_stopping_change_nothing():
    found = outcome(added(HARMLESS))
    assert str(found).startswith("equal: 6 frames")
    assert found.passed


EMPTY = """module gradrtl (
  input clk, input rst, input [31:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready, input s_axis_tlast,
  output [31:0] m_axis_tdata, output m_axis_tvalid, input m_axis_tready, output m_axis_tlast, output m_axis_tuser);
  initial begin $display("{\\"verdict\\": \\"done\\"}"); $finish; end
endmodule
"""


def test_a_design_that_computes_nothing_is_a_fault():
    found = outcome(EMPTY)
    assert not found.passed
    assert "nothing moves for 2000 cycles" in str(found)


@pytest.mark.parametrize("line", ['initial $system("touch pwned");', 'initial $c("_Exit(0);");'])
def test_hostile_lines_are_refused_and_do_nothing(line, tmp_path):
    with pytest.raises(UserError, match="may run commands or access files"):
        outcome(added(line), cache=tmp_path)
    assert not list(tmp_path.rglob("pwned"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("making", "model"))]


# Memories are moved to files after the screening. Here that turns comments into code: `/*/` opens one or ends one.
COMMENTED = """reg [7:0] m [0:1];
  initial begin
 /*/[0] = 8'h00;
 /*/[1] = 8'h00;
  end
/*/ m); initial $system("touch pwned"); /*/
// */
"""


def test_moving_memories_makes_no_code_of_comments(tmp_path):
    text, memories = toolchain.compilable(f"module a;\n{COMMENTED}endmodule\n", tmp_path, str)
    assert memories == {}
    assert "$system" not in without_comments(text)
    moved = 'initial $readmemh("memory0.hex", /*/ );' + COMMENTED.partition("end")[2]
    assert "$system" in without_comments(moved)
    with pytest.raises(UserError, match=r"uses [$]system"):
        screened_again(f"module a; {moved}")


def test_what_is_compiled_is_what_was_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(toolchain, "split_memories", lambda text: (f"{text}initial $system(1);", {}))
    with pytest.raises(UserError, match=r"uses [$]system"):
        toolchain.compilable("module a; endmodule\n", tmp_path, str)


@pytest.mark.parametrize("end", ["", ".v", ".sv"])
@pytest.mark.parametrize("seen", [True, False])
def test_an_instance_is_not_read_from_a_file(end, seen, tmp_path, monkeypatch):
    """Verilator reads the module of an instance from a file of its name."""
    name = tmp_path / "elsewhere"
    Path(f"{name}{end}").write_text(f"module \\{name} ; initial $system(1); endmodule\n")
    if not seen:  # such as a file that is put there later, or found in another way
        monkeypatch.setattr(toolchain.os.path, "lexists", lambda path: False)
    told = "is the name of a file" if seen else "which Verilator read from that file"
    with pytest.raises(UserError, match=told):
        outcome(added(f"\\{name} x ();"))


def test_names_of_no_files_pass():
    assert outcome(added("wire \\a/b ; wire \\/none/such , \\../x ;")).passed


def test_trusted_verilog_is_compiled_as_it_is():
    found = outcome(added(f'initial $c("/* {os.getpid()} */");'), trusted=True)
    assert found.passed


def test_trust_ends_with_its_run(monkeypatch):
    monkeypatch.setattr(verilated, "CORES", verilated.CORES[1:])  # those of the stand-in: found at the first try
    text = added('initial $c("/* once */");')
    assert verilated.build(text, MAPPING, quick=True, trusted=True).trusted
    with pytest.raises(UserError, match=r"uses [$]c, which"):
        verilated.build(text, MAPPING, quick=True)


def test_the_command_refuses_unless_trusted(tmp_path):
    NETWORK.save(tmp_path / "network.npz")
    np.save(tmp_path / "frames.npy", FRAMES)
    (tmp_path / "hostile.v").write_text(added('initial $c("/* */");'))
    command = ["verify", "network.npz", "hostile.v", "--pe", "1,1", "--frames", "frames.npy"]

    def gradrtl(*more: str):
        program = [sys.executable, "-c", "from gradrtl.cli import main; main()", *command, *more]
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)

    refused = gradrtl()
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: the Verilog, line ")
    assert "$c" in refused.stderr
    assert refused.stderr.count("\n") == 1
    trusted = gradrtl("--trusted", "--jobs", "1")
    assert "equal: 6 frames" in trusted.stdout
    assert trusted.returncode == 0
    assert gradrtl().returncode == 2


# With `trusted` in the building and without it in the run: walls that hold although the screening has let it pass.
def confined(line: str):
    return replace(verilated.build(added(line), MAPPING, quick=True, trusted=True), trusted=False)


def test_a_design_that_ends_the_driver_is_a_fault():
    with pytest.raises(RtlFault, match="ended with code 0, without a verdict"):
        confined('initial $c("_Exit(0);");').run(FRAMES)


def test_a_forged_verdict_is_not_believed():
    forged = "for (int f = 0; f < 200; f++) for (int i = 0; i < 100; i++) { long x = 0; write(f, &x, 8); } _Exit(0);"
    with pytest.raises(RtlFault, match="without a verdict"):
        confined(f'initial $c("{forged}");').run(FRAMES)


WALLS = {
    "files": 'initial if ($c32("open(\\"/etc/passwd\\", 0) >= 0")) hit = 1;',
    "writing": 'initial if ($c32("open(\\"pwned\\", 0101, 0600) >= 0")) hit = 1;',
    "processes": 'initial if ($c32("({ int p = fork(); if (p == 0) _exit(0); p > 0; })")) hit = 1;',
    "commands": 'initial if ($c32("system(\\"true\\") == 0")) hit = 1;',
    "network": 'initial if ($c32("socket(2, 1, 0) >= 0")) hit = 1;',
    "signals": 'initial if ($c32("kill(getppid(), 0) == 0")) hit = 1;',
}
HIT = ("assign m_axis_tuser =", "bit hit; assign m_axis_tuser = hit ||")


@pytest.mark.parametrize("wall", WALLS)
def test_walls_around_a_design(wall):
    text = TEXT.replace(*HIT).replace("endmodule", f"  {WALLS[wall]}\nendmodule", 1)
    names = ("fcntl.h", "unistd.h", "sys/socket.h", "csignal")
    hook = "\n".join(["`systemc_header", *(f"#include <{name}>" for name in names), "`verilog", ""])
    text = text.replace("  localparam TAKE", hook + "  localparam TAKE", 1)
    model = verilated.build(text, MAPPING, quick=True, trusted=True)
    assert model.run(FRAMES).flagged.all(), "without the wall it can"
    assert not replace(model, trusted=False).run(FRAMES).flagged.any()
    assert not (model.folder / "pwned").exists() or (model.folder / "pwned").unlink() is None


LOOP = 'initial while (1) $write("x");'


def test_a_loop_without_end_is_told():
    model = verilated.build(added(LOOP), MAPPING, quick=True)
    limits = replace(DESIGN, cycle_seconds=1)
    with pytest.raises(RtlFault, match="cycle 0 takes more than 1 s of processor time"):
        model.run(FRAMES, limits=limits)


def test_a_memory_beyond_the_limit_is_told():
    line = "reg [1023:0] big [0:49999999]; always @(posedge clk) big[ticks[25:0]] <= state;"  # 6.4 GB
    text = added(line).replace("assign m_axis_tuser =", "assign m_axis_tuser = big[beat[25:0]][5] ||")
    with pytest.raises(UserError, match="takes more than 4096 MB of memory to simulate"):
        outcome(text)


def test_time_beyond_the_limit_is_told(model):
    with driving.Run(model, 1, limits=replace(DESIGN, seconds=1)) as run:
        run._process.send_signal(signal.SIGXCPU)  # as the system does it
        assert "more than 1 s of processor time" in run.finish().details["message"]


def test_results_that_cannot_be_written_are_told(model, monkeypatch):
    with pytest.raises(UserError, match="results cannot be written: File too large"):
        model.run(FRAMES, limits=replace(DESIGN, output=100))


def test_no_folder_for_results_is_told(model, monkeypatch):
    monkeypatch.setattr(driving.tempfile, "tempdir", "/none")
    with pytest.raises(UserError, match="no folder for temporary files"):
        model.run(FRAMES)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"frames": 5}, "5 of 6 frames"), ({"spikes": 1}, "1 spikes and"), ({"membranes": 1}, "and 1 membranes")],
)
def test_a_verdict_that_lacks_something_is_a_fault(change, words, model, monkeypatch):
    whole = driving.Run._lacks

    def lacks(self, frames, spikes, membranes):
        given = {"frames": frames, "spikes": spikes, "membranes": membranes} | change
        return whole(self, **given)

    monkeypatch.setattr(driving.Run, "_lacks", lacks)
    found = verify(MAPPING, TEXT, FRAMES, model=model)
    assert not found.passed
    assert words in str(found)


def test_a_verdict_of_another_run_is_a_fault(model, monkeypatch):
    with driving.Run(model, 1) as run:
        run.feed(FRAMES[:1])
        run._nonce += 1
        assert run.finish().kind == "fault"


def test_a_verdict_with_an_exit_code_is_a_fault(model):
    with driving.Run(model, 1) as run:
        run.feed(FRAMES[:1])
        told = run._process.communicate()
        run._process.communicate = lambda: told
        run._process.returncode = 3
        assert "ended with code 3" in run.finish().details["message"]


def test_results_that_are_cut_off_are_a_fault(model):
    with driving.Run(model, 2) as run:
        run.feed(FRAMES[:2])
        told = run._process.communicate()
        run._process.communicate = lambda: told
        os.ftruncate(run._results.fileno(), os.fstat(run._results.fileno()).st_size - 8)
        assert run.finish().details["message"] == "1 of 2 frames came back"
        assert len(run.outcome().classes) == 1


def test_missing_walls_are_told(model, monkeypatch):
    assert confinement.missing_walls((1 << len(records.WALLS)) - 1) == ()
    (note,) = confinement.missing_walls(0b1011)
    assert "Landlock" in note
    found = verify(MAPPING, TEXT, FRAMES, model=model)
    assert not [note for note in found.notes if "this system lacks it" in note]
    monkeypatch.setattr(records, "WALLS", (*records.WALLS, "calls"))
    assert [note for note in verify(MAPPING, TEXT, FRAMES, model=model).notes if "this system lacks it" in note]


def test_foreign_lint_is_no_error():
    text = added("wire [3:0] narrow = ticks; assign implicit = state; always @* case (state) 0: ; endcase")
    text = text.replace("// network", "/* verilator lint_on WIDTH */ // network")
    assert outcome(text).passed


def test_text_that_is_not_utf8_is_read(tmp_path):
    path = tmp_path / "latin.v"
    path.write_bytes(TEXT.replace("module gradrtl", "// \xe9\nmodule gradrtl", 1).encode("latin-1"))
    assert outcome(path).passed
    with pytest.raises(UserError, match=r"verilog is .*none.v, expected a file"):
        outcome(tmp_path / "none.v")


LIVES = """import sys; sys.path.insert(0, sys.argv[1])
from test_sim_verify import MAPPING, TEXT, verilated
from gradrtl.sim.driving import Run
model = verilated.build(TEXT, MAPPING, quick=True)
with Run(model, 1) as run:
    print(run._process.pid, flush=True)
    run.finish() if False else __import__("time").sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_ends_with_its_parent(how, model):
    parent = subprocess.Popen([sys.executable, "-c", LIVES, str(Path(__file__).parent)], stdout=subprocess.PIPE)
    driver = int(parent.stdout.readline())
    parent.send_signal(how)
    parent.communicate()
    assert ended(driver)


def ended(process: int) -> bool:
    for _ in range(200):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_each_part_of_a_run_has_stalls_of_its_own_also_from_the_largest_seed():
    last = Stalls(0.5, 0.5, LARGEST_SEED)
    assert [last.of_part(number).seed for number in range(3)] == [LARGEST_SEED, 0, 1]
    assert Stalls(0.5, 0.25, 7).of_part(2) == Stalls(0.5, 0.25, 9)
