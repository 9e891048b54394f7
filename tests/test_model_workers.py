"""Training with two CPU processes under `torchrun`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gradrtl.errors import UserError
from gradrtl.model import data, relu_train
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.train import train
from gradrtl.model.workers import Workers, join, leads

MNIST = Path(__file__).parent.parent / "data" / "mnist"
SETTINGS = {"recipe": "magnitude", "connectivity": 0.1, "epochs": 2, "batch": 50, "held_out": 100, "images": 200}

OPTIONS = (
    "--layers 784-20-10 --epochs 2 --images 400 --held-out 100 --batch 50 --lr 0.05 --steps 2 --json "
    "--recipe magnitude --connectivity 0.3"
)

SCRIPT = """
import json
import sys
import torch
from torch import distributed
from gradrtl.model import data
from gradrtl.model.config import TrainConfig
from gradrtl.model.train import train

torch.set_num_threads(1)
folder, out, settings = sys.argv[1:]
config = TrainConfig(**json.loads(settings))
rows = []
made = train(config, data.load_idx(folder)[0][:300], on_epoch=rows.append)
every = [None, None]
distributed.all_gather_object(every, made.weights_digest)
assert every[0] == every[1], "all processes hold the same network"
if distributed.get_rank() == 0:
    assert len(rows) == 2
    made.save(out)
else:
    assert not rows
distributed.destroy_process_group()
"""


def of_two_processes(folder: Path, **settings: object) -> Checkpoint:
    script, out = folder / "script.py", folder / "checkpoint.npz"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [*command, script, MNIST, out, json.dumps(settings)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return Checkpoint.load(out)


def test_two_processes_make_what_one_makes(tmp_path: Path) -> None:
    """The gradients are averaged over the parts of each batch: the same training but for the order of sums."""
    two = of_two_processes(tmp_path, **SETTINGS)
    one = train(TrainConfig(**SETTINGS), data.load_idx(MNIST)[0][:300])
    assert two.config == one.config
    for row_of_two, row_of_one in zip(two.history, one.history, strict=True):
        assert row_of_two["loss"] == pytest.approx(row_of_one["loss"], rel=0.3)  # rank 0 sees half of the loss
    weights = np.concatenate([w.ravel() for w in one.weights]), np.concatenate([w.ravel() for w in two.weights])
    assert np.corrcoef(*weights)[0, 1] > 0.99


def test_processes_that_normalise_hold_the_same_network(tmp_path: Path) -> None:
    """Each normalises over its own part of a batch, and the running means are those of the first."""
    assert of_two_processes(tmp_path, **SETTINGS, network="4C3-P4-10").network.layers[0].batch_norm


@pytest.mark.parametrize("command", ["convert", "train"])
def test_commands_run_under_torchrun(command: str, tmp_path: Path) -> None:
    """One process writes the files, which are those of a single process but for the order of sums."""
    options = shlex.split(f"{OPTIONS} --data {MNIST}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = []
    for name, processes in (("one", 1), ("two", 2)):
        launched = (
            ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
        )
        words = [sys.executable, *launched, "-m", "gradrtl", command, *options, "--out", str(tmp_path / name)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["history"]) == 2, "printed once"
        found.append(np.concatenate([w.ravel() for w in Checkpoint.load(tmp_path / name / "checkpoint.npz").weights]))
    assert np.corrcoef(*found)[0, 1] > 0.99


LEAVES = """
from pathlib import Path
import torch
from gradrtl.model.workers import join, part

workers = join()
import torch._dynamo  # as an optimizer does
network = torch.nn.Linear(3, 2)
network(torch.ones(1, 3)).sum().backward()
workers.average(network)

def threads():
    return [one.joinpath("comm").read_text().strip() for one in Path("/proc/self/task").iterdir()]

assert [one for one in threads() if "gloo" in one]
part()
assert not [one for one in threads() if "gloo" in one], threads()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed by Linux")
def test_no_thread_of_the_group_is_left(tmp_path: Path) -> None:
    """One that releases its last tensor while Python exits aborts the process."""
    script = tmp_path / "script.py"
    script.write_text(LEAVES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Workers(torch.device("cpu"), 0, 2)
    monkeypatch.setattr(relu_train, "join", lambda device: two)
    with pytest.raises(UserError, match="batch is 25, expected a multiple of the 2 processes"):
        relu_train.train_relu(ReluConfig(network="784-10", batch=25), data.load_idx(MNIST)[0][:300])


def test_the_first_process_leads_and_one_alone_whatever_its_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, size, first in ((None, None, True), ("0", "2", True), ("1", "2", False), ("1", None, True)):
        for name, value in (("RANK", rank), ("WORLD_SIZE", size)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        assert leads() == first


def test_devices() -> None:
    workers = join()
    assert (workers.rank, workers.size, workers.device.type, workers.leads) == (0, 1, "cpu", True)
    with pytest.raises(UserError, match="device is tpu"):
        join("tpu")
