"""The search of training settings: resumed, shared by processes, and chosen by held-out images."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from command_line import run as gradrtl
from test_commands_training import write

from gradrtl import cli
from gradrtl.errors import UserError
from gradrtl.model.config import TrainConfig
from gradrtl.steps import tune as steps
from gradrtl.steps.tune import Range, Search, command_of, finished, storage_of, study_of

WORDS = (
    "--network",
    "30-8-4",
    "--data",
    "data",
    "--batch",
    "20",
    "--held-out",
    "40",
    "--rotation",
    "0",
    "--shift",
    "0",
)
VARY = ("--vary", "lr=0.001:0.05", "--vary", "hidden=0.5,1")
SHORT = (*WORDS, *VARY, "--epochs", "2", "--connectivity", "0.6", "--jobs", "1")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Images of four classes, each with a quarter that is bright."""
    write(tmp_path / "data", images=200)
    for path in tmp_path.glob("data/*images*"):
        head, pixels = path.read_bytes()[:16], np.frombuffer(path.read_bytes()[16:], np.uint8).reshape(-1, 30) // 4
        bright = np.arange(30) // 8 == (np.arange(len(pixels)) % 4)[:, None]
        path.write_bytes(head + np.where(bright, pixels + 150, pixels).astype(np.uint8).tobytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def search(trials: int = 4, storage: str = "t/study.journal", **changed) -> Search:
    config = TrainConfig(network="30-8-4", batch=20, held_out=40, rotation=0.0, shift=0.0, epochs=2, connectivity=0.6)
    ranges = (Range("lr", 0.001, 0.05), Range("hidden", choices=(0.5, 1.0)))
    return replace(Search(config, ranges, Path("data"), Path("t"), storage, trials, network="30-8-4"), **changed)


def test_quiet_tells_of_no_trial(here):
    words = ("tune", *SHORT, "--trials", "1", "--out")
    assert re.search("^trial   0", gradrtl(*words, "t"), re.MULTILINE)
    assert gradrtl(*words, "u", "-q") == ""


@pytest.mark.slow
def test_a_search_resumes_and_its_command_trains_the_best(here, monkeypatch):
    gradrtl("tune", *SHORT, "--trials", "1", "--out", "t")
    first = [(one.number, one.params) for one in finished(study_of(search()))]
    told = gradrtl("tune", *SHORT, "--trials", "3", "--out", "t")
    assert len(re.findall(r"^trial", told, re.MULTILINE)) == 2
    trials = finished(study_of(search()))
    assert [(one.number, one.params) for one in trials[:1]] == first
    assert len({one.params["lr"] for one in trials}) == len(trials) == 3
    gradrtl("tune", *SHORT, "--trials", "3", "--out", "u", "--storage", "sqlite:///once.db")
    assert [one.params for one in finished(study_of(search(storage="sqlite:///once.db")))] == [
        one.params for one in trials
    ], "the same trials as without an interruption"
    best = max(one.value for one in trials if one.value is not None and one.state.name == "COMPLETE")
    labels = Path("data/t10k-labels-idx1-ubyte")
    labels.write_bytes(labels.read_bytes()[:8] + bytes(30))
    result = json.loads(CliRunner().invoke(cli.main, [*shlex.split(told.splitlines()[-1])[1:], "--json"]).stdout)
    assert result["validation"] == best
    with pytest.raises(UserError, match=r"storage is t/study\.journal, expected one of these settings, data and"):
        study_of(search())
    monkeypatch.setattr(steps, "made_from", lambda folder: "other sources")
    assert "expected one of these settings" in gradrtl("tune", *SHORT, "--trials", "9", "--out", "t", code=2)


def test_the_command_names_what_differs(here):
    config = replace(search().config, flip=True, recipe="gradr", connectivity=None, spike_cost=0.1, epochs=3)
    asked = search(config=config, ranges=(Range("lr", 0.001, 0.05),))
    words = shlex.split(command_of(asked, {"lr": 0.01}))
    assert words[:2] == ["gradrtl", "train"]
    assert "--flip" in words
    assert words[words.index("--lr") + 1] == "0.01"
    command = cli.main.get_command(None, "train")
    given = {
        name: value for name, value in command.make_context("train", words[2:]).params.items() if value is not None
    }
    known = {name: value for name, value in given.items() if name in TrainConfig.__dataclass_fields__}
    assert TrainConfig(connectivity=None, **known) == replace(asked.config, lr=0.01)


def test_the_command_trains_the_network_of_the_best(here):
    words = ("tune", *WORDS[2:], "--epochs", "1", "--connectivity", "0.6", "--jobs", "1", "--trials", "2", "--out", "t")
    told = json.loads(gradrtl(*words, "--vary", "network=30-4,30-5-4", "--json", "-q"))
    command = shlex.split(told["command"])
    assert told["settings"] == {"network": command[command.index("--network") + 1]}


@pytest.mark.parametrize("tried", ["30-4", "30-5-4"])
def test_the_command_names_the_network_that_was_tried(tried):
    varied = search(ranges=(Range("network", choices=("30-4", "30-5-4")),))
    words = shlex.split(command_of(varied, {"network": tried}))
    assert words[words.index("--network") + 1] == tried
    words = shlex.split(command_of(search(network="own.json"), {"lr": 0.01}))
    assert words[words.index("--network") + 1] == "own.json"


def test_a_process_that_is_killed_leaves_no_lock(here):
    """Also under a relative name, where Optuna's own lock would be waited for without end."""
    script = (
        "import sys, time\nfrom gradrtl.steps.tune import storage_of\n"
        "lock = storage_of('t/study.journal')._backend._lock\nlock.acquire()\n"
        "print('held', flush=True)\ntime.sleep(float(sys.argv[1]))"
    )
    killed = subprocess.Popen([sys.executable, "-c", script, "600"], stdout=subprocess.PIPE, text=True)
    assert killed.stdout.readline() == "held\n"
    killed.kill()
    killed.communicate()
    after = subprocess.run([sys.executable, "-c", script, "0"], capture_output=True, text=True, timeout=60, check=True)
    assert after.stdout == "held\n"


def test_a_last_line_that_was_cut_off_is_lost_alone(here, monkeypatch):
    """Wherever a process was killed in a write; the next one, or another that goes on, appends to whole lines."""
    monkeypatch.setattr(steps, "made_from", lambda folder: "the same")
    path = Path("t/study.journal")
    for value in (0.5, 0.7):
        study = study_of(search())
        study.tell(study.ask(), value)
    content = path.read_bytes()
    for kept in [*range(0, len(content), 61), *range(len(content) - 3, len(content) + 1)]:
        path.write_bytes(content[:kept])
        whole = content[: content[:kept].rfind(b"\n") + 1]
        study = study_of(search())
        assert path.read_bytes().startswith(whole)
        assert len(finished(study)) == whole.count(b'"op_code":6')
        with path.open("ab") as file:
            file.write(content[:33])
        study.tell(study.ask(), 0.9)
        assert [one.value for one in finished(study_of(search()))][-1] == 0.9


@pytest.mark.parametrize(
    "content",
    [
        b"# A page\n\nof it\n", b"a line without an end", b"\n" + steps.BEGINNING, b"[1]\n", b'{"op_code": 99}', b"\0",
        steps.BEGINNING + b'a"}\n', steps.BEGINNING + b'\n[1]\n',
        steps.BEGINNING + b'a","study_name":"gradrtl","directions":[2]}\n{"op_code":99}\n',
        steps.BEGINNING + b'a","study_name":"gradrtl","directions":[2]}\n\xff\n[1]\n',
    ],
)  # fmt: skip
def test_a_file_that_is_no_study_is_refused_and_stays(here, content):
    Path("README.md").write_bytes(content)
    told = gradrtl("tune", *SHORT, "--trials", "1", "--out", "t", "--storage", "README.md", code=2)
    assert told == "error: storage is README.md, expected a study of gradrtl tune, or the name of a new file\n"
    assert Path("README.md").read_bytes() == content
    assert not list(here.glob("*.lock"))


def test_a_storage_that_is_no_file_is_refused(here):
    os.mkfifo("pipe")
    for name in ("data", "pipe"):
        told = gradrtl("tune", *SHORT, "--trials", "1", "--out", "t", "--storage", name, code=2)
        assert told.startswith(f"error: storage is {name}, expected a study of gradrtl tune")
        assert told.count("\n") == 1


@pytest.mark.parametrize(
    "rest",
    ["//", "///", "///:memory:", "///file::memory:?uri=true", "///file:x?mode=memory&cache=shared&uri=true"],
)
@pytest.mark.parametrize("driver", ["sqlite", "sqlite+pysqlite"])
def test_a_database_in_memory_is_refused(here, driver, rest):
    """Each process has another one, and the study would never be complete."""
    name = f"{driver}:{rest}"
    with pytest.raises(UserError, match=re.escape(f"storage is {name}, expected a database in a file")):
        study_of(search(storage=name))
    assert [path.name for path in here.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:////nonexistent/x.db", "expected a database that can be reached (unable to open database file)"),
        ("sqlite:///page.md", "expected a database that can be reached (file is not a database)"),
        ("sqlite:///file:kept.db?mode=ro&uri=true", "reached (attempt to write a readonly database)"),
        ("page.md/two\nlines", "page.md/two lines cannot be written: "),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_in_one_line(here, storage, message):
    Path("page.md").write_text("# A page\n" * 200)
    storage_of("sqlite:///kept.db")
    told = gradrtl("tune", *SHORT, "--trials", "1", "--out", "t", "--storage", storage, code=2)
    assert told.startswith("error: storage ")
    assert message in told
    assert told.count("\n") == 1


def test_a_database_that_breaks_in_a_trial_is_told_in_one_line(here, monkeypatch):
    def breaks(config, data, folder, trial):
        Path("kept.db").write_text("# A page\n" * 2000)
        trial.report(0.5, 1)

    monkeypatch.setattr(steps, "_accuracy", breaks)
    words = ("--trials", "1", "--out", "t", "--storage", "sqlite:///kept.db")
    told = gradrtl("tune", *SHORT, *words, code=2)
    assert told.splitlines()[-1].startswith(
        "error: storage is sqlite:///kept.db, expected a database that can be reached ("
    )


@pytest.mark.slow
def test_processes_share_a_study_and_a_killed_trial_is_begun_again(here):
    command = [sys.executable, "-m", "gradrtl", "tune", *SHORT, "--trials", "6", "--out", "t"]
    long = [word if word != "2" else "2000" for word in command[:-4]]
    killed = subprocess.Popen([*long, "--trials", "6", "--out", "t"], stderr=subprocess.DEVNULL)
    while not list(here.glob("t/trial-0/resume.pt")):
        assert killed.poll() is None
        time.sleep(0.1)
    killed.kill()
    killed.wait()
    alone = search(config=replace(search().config, epochs=2000))
    steps._give_up_the_dead(study := study_of(alone))
    assert [one.state.name for one in study.get_trials()] == ["FAIL", "WAITING"]
    trial = study.ask()
    assert trial.user_attrs["folder"] == "t/trial-0"
    assert {one.name: one.suggest(trial) for one in alone.ranges} == study.get_trials()[0].params
    Path("t/study.journal").unlink()

    several = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=300) for process in several]
    assert any(process.returncode == 0 for process in several), told
    done = finished(study_of(search(6)))
    assert len(done) == 6
    assert len({one.params["lr"] for one in done}) == 6
    assert sum(len(re.findall(r"^trial", errors, re.MULTILINE)) for _, errors in told) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lr", "vary is lr, expected NAME=LOW:HIGH or NAME=A,B,C"),
        ("luck=1:2", "vary is luck, expected a setting of gradrtl train: "),
        ("lr=a:b", "lr is a:b, expected LOW:HIGH"),
        ("lr=2:1", "lr is 2:1, expected a lower and a higher number"),
        ("recipe=a:b", "recipe is a:b, expected a lower"),
    ],
)
def test_ranges_that_cannot_be(words, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Range.parse(words)


def test_ranges():
    assert Range.parse("spike-cost=0:0.1") == Range("spike_cost", 0.0, 0.1)
    assert Range.parse("batch=16,32").choices == (16, 32)
    assert [Range.parse(words).logarithmic for words in ("lr=0.001:0.01", "lr=0.001:0.002", "p=0:0.9")] == [
        True, False, False,
    ]  # fmt: skip


def test_settings_that_training_refuses(here):
    for words, message in (
        (("--vary", "lr=-1:1"), "error: lr is -1.0, expected above 0"),
        (("--vary", "lr=0.1,0.2", "--lr", "0.1"), "error: vary is lr, expected not given by its own option"),
        (("--trials", "0"), "error: trials is 0, expected at least 1"),
        (("--network", "30-4", "--vary", "network=30-4"), "error: vary is network, expected not given by its own"),
        (("--vary", "network=30-4,own.json"), "error: network is own.json, expected one of mnist-mlp"),
        (("--vary", "network=30-4,31-4"), "error: layers 31-4, input is 31"),
        (("--vary", "network=30-4,"), "error: network is , expected one of mnist-mlp"),
        (("--network", "31-4"), "error: layers 31-4, input is 31"),
    ):
        output = gradrtl("tune", *WORDS[2:4], *words, "--jobs", "1", "--out", "t", code=2)
        assert output.startswith(message)
        assert output.count("\n") == 1
