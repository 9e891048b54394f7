"""States of interrupted runs: of this run alone, of this version, whole; anything else is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradrtl.cache import libraries
from gradrtl.errors import UserError
from gradrtl.locks import hold
from gradrtl.model import resume
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset
from gradrtl.model.train import RESUME_FILE, train

CONFIG = TrainConfig(network="16-6-3", epochs=2, batch=20, held_out=20, connectivity=0.5)


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    labels = (np.arange(80) % 3).astype(np.uint8)
    return Dataset(rng.integers(0, 256, (80, 1, 4, 4), np.uint8), labels)


@pytest.fixture
def state(data: Dataset, tmp_path: Path) -> Path:
    """The state of a complete run."""
    train(CONFIG, data, tmp_path)
    return tmp_path / RESUME_FILE


def test_a_complete_run_is_said_to_be(data: Dataset, state: Path) -> None:
    found: list[int] = []
    rows: list[dict] = []
    again = train(CONFIG, data, state.parent, on_epoch=rows.append, on_resume=found.append)
    assert (found, rows) == ([2], [])
    whole = train(CONFIG, data)
    assert all(np.array_equal(again.arrays[name], whole.arrays[name]) for name in whole.arrays)
    assert [path.name for path in state.parent.iterdir()] == [RESUME_FILE], "neither locks nor parts are left"


def test_other_data_does_not_resume(data: Dataset, state: Path) -> None:
    for other in (Dataset(data.images, 2 - data.labels), Dataset(255 - data.images, data.labels)):
        expected = f"data is {data.digest[:16]}, expected {other.digest[:16]}: delete resume.pt"
        with pytest.raises(UserError, match=expected):
            train(CONFIG, other, state.parent)


def test_other_sources_and_packages_do_not_resume(data: Dataset, state: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(resume, "sources", lambda *names: "0" * 64)
    with pytest.raises(UserError, match="sources is"):
        train(CONFIG, data, state.parent)
    monkeypatch.undo()
    monkeypatch.setattr(resume, "libraries", lambda: libraries() | {"numpy": "1.0"})
    with pytest.raises(UserError, match="numpy is"):
        train(CONFIG, data, state.parent)


def rename(kept: dict) -> None:
    network = kept["state"]["network"]
    kept["state"]["network"] = {name.replace("synapses", "connections"): value for name, value in network.items()}


def resize(kept: dict) -> None:
    network = kept["state"]["network"]
    kept["state"]["network"] = {name: value[..., :2].clone() for name, value in network.items()}


def reshape_moments(kept: dict) -> None:
    for moments in kept["state"]["optimizer"]["state"].values():
        moments["exp_avg"] = moments["exp_avg"][:1].clone()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, "does not fit this run"),
        (resize, "does not fit this run"),
        (reshape_moments, "exp_avg of shape"),
        (lambda kept: kept["state"]["optimizer"]["param_groups"].append({"params": [9]}), "does not fit this run"),
        (lambda kept: kept["state"].update(history=7), "does not fit this run"),
        (lambda kept: kept["state"].pop("history"), "contents is incomplete"),
        (lambda kept: kept["state"].pop("optimizer"), "contents is incomplete"),
        (lambda kept: kept["state"].pop("recipe"), "contents is incomplete"),
        (lambda kept: kept.pop("of"), "contents is incomplete"),
        (lambda kept: kept.update(version=0), "version is 0, expected 1"),
        (lambda kept: kept.pop("format"), "version is missing, expected 1"),
        (lambda kept: kept.update(kind="fine-tuning"), "kind is fine-tuning, expected training"),
        (lambda kept: kept["of"].update(another=1), "another is 1, expected None"),
        (lambda kept: kept["of"].update(lr=1.0), "lr is 1.0, expected 0.004"),
    ],
)
def test_a_state_of_another_version_is_one_line(
    change: Callable[[dict], Any], message: str, data: Dataset, state: Path
) -> None:
    kept = torch.load(state, weights_only=True)
    change(kept)
    torch.save(kept, state)
    with pytest.raises(UserError, match=message) as caught:
        train(CONFIG, data, state.parent)
    assert "\n" not in str(caught.value)
    assert "resume.pt" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04" + bytes(60)])
def test_a_damaged_state_is_one_line(content: bytes, data: Dataset, state: Path) -> None:
    state.write_bytes(content)
    with pytest.raises(UserError, match="damaged") as caught:
        train(CONFIG, data, state.parent)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_state(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "resume.pt")
    with pytest.raises(UserError, match="not a regular file"):
        resume.load(tmp_path / "resume.pt", "training", {}, ())


def test_a_state_of_another_run_can_be_dropped(data: Dataset, state: Path) -> None:
    """Only if it is that: what is damaged, or in use, is told."""
    other = replace(CONFIG, seed=1)
    fresh = train(other, data)
    found = resume.of_this_run(lambda: train(other, data, state.parent), state)
    assert all(np.array_equal(found.arrays[name], fresh.arrays[name]) for name in fresh.arrays)
    state.write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        resume.of_this_run(lambda: train(other, data, state.parent), state)


HOLDS = """
import sys
from pathlib import Path
from gradrtl.model.resume import held
from gradrtl.locks import hold
with held(Path(sys.argv[1]) / "own.resume.pt"), hold(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_told(data: Dataset, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"in use by process {first.pid}"):
            train(CONFIG, data, tmp_path)
        with pytest.raises(UserError, match="in use by another run"), resume.held(tmp_path / "own.resume.pt"):
            pass
        with resume.held(tmp_path / "other.resume.pt"):
            pass
        first.communicate("")
    with resume.held(tmp_path / "own.resume.pt"), hold(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_found_before_training(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    rows: list[dict] = []
    with pytest.raises(UserError, match="file"):
        train(replace(CONFIG, epochs=1), data, tmp_path / "file", on_epoch=rows.append)
    with pytest.raises(UserError, match="cannot be written"), resume.held(tmp_path / "file" / "state.pt"):
        pass
    assert not rows


def test_a_full_disk_is_one_line(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        resume.save(Path("/dev/full"), "training", {}, {})
