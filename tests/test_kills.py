"""The campaign of kills sees what it looks for, and a short one finds nothing. The long one: `make kills`."""

from __future__ import annotations

import sys

import kills
import pytest
from kills import CASES, Case, Failure, campaign

SLOW = "import time; open('result', 'w').write('1'); time.sleep(0.4); print('done')"
# A run that is killed leaves a file behind, and the next one reports another result because of it.
RESUMES = "import os, time; n = os.path.exists('state'); open('state', 'w').write(''); time.sleep(0.4); print(n)"
LEAVES = "import time; open('a.part', 'w').write(''); time.sleep(0.4); print(1)"
ORPHAN = "import subprocess, time; subprocess.Popen(['sleep', '15']); time.sleep(0.4); print(1)"


def run(program: str, tmp_path, monkeypatch, case: Case | None = None) -> None:
    monkeypatch.setattr(kills, "GRADRTL", (sys.executable, "-S", "-c", program))
    campaign(case or Case("case", (), printed=True), 4, 1, 0, tmp_path)


def test_a_command_without_state_passes(tmp_path, monkeypatch):
    run(SLOW, tmp_path, monkeypatch)
    run(SLOW, tmp_path, monkeypatch, Case("case", (), files=("result",)))


@pytest.mark.parametrize(("program", "words"), [(RESUMES, "results differ"), (LEAVES, "left behind"), ("1", "nothing")])
def test_what_goes_wrong_is_told(program, words, tmp_path, monkeypatch):
    with pytest.raises(Failure, match=words):
        run(program, tmp_path, monkeypatch)


def test_processes_that_live_on_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "PATIENCE", 0.3)
    with pytest.raises(Failure, match=r"live on .*sleep 15"):
        run(ORPHAN, tmp_path, monkeypatch)


def test_a_missing_result_is_told(tmp_path, monkeypatch):
    with pytest.raises(Failure, match="no none"):
        run(SLOW, tmp_path, monkeypatch, Case("case", (), files=("none",)))


@pytest.mark.rtl
def test_verify_killed_once(tmp_path):
    campaign(next(case for case in CASES if case.name == "verify"), 1, 1, 1, tmp_path)
