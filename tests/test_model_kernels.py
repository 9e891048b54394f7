"""Loops on several threads, and not compiled. What they compute is tested in `test_model_fused.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from gradrtl.model import kernels


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("images", [1, 2, 10])
def test_parts_cover_all(images: int, threads: int) -> None:
    parts: list[tuple[int, int]] = []
    kernels.in_parts(lambda first, last: parts.append((first, last)), images, 10**6)
    assert sorted(n for part in parts for n in range(*part)) == list(range(images))
    assert len(parts) == min(images, threads)


def test_a_part_that_fails_is_heard_of(threads: int) -> None:
    def kernel(first: int, last: int) -> None:
        raise ValueError(f"{first}:{last}")

    with pytest.raises(ValueError, match="0:"):
        kernels.in_parts(kernel, 1000, 10**6)


TRAINING = """
import hashlib, json
import numpy as np
import torch
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset
from gradrtl.model.train import train
from gradrtl.quantize.config import QatConfig
from gradrtl.quantize.fold import fold
from gradrtl.quantize.qat import fine_tune
from gradrtl.quantize.rounding import Formats

torch.set_num_threads(1)
images = np.random.default_rng(0).integers(0, 256, (24, 1, 5, 6), np.uint8)
data = Dataset(images, (np.arange(24) % 3).astype(np.uint8))
shared = dict(batch=8, held_out=8, spike_cost=0.1)
for layers, precision in (("30-6-3", "float32"), ("2C3-P2-3", "bfloat16")):
    config = TrainConfig(layers, precision=precision, epochs=2, connectivity=0.5, steps=3, **shared)
    made = train(config, data)
    formats = Formats(4, per_channel=True, membrane_bits=9)
    tuned = fine_tune(fold(made), formats, data, QatConfig(epochs=1, **shared))
    weights = b"".join(made.arrays[name].tobytes() for name in sorted(made.arrays))
    print(hashlib.sha256(json.dumps(made.history).encode() + weights).hexdigest(), tuned.digest)
"""


def test_without_compiling_the_results_are_the_same() -> None:
    """`NUMBA_DISABLE_JIT=1`: training and fine-tuning give the same bits."""
    found = []
    for disabled in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": disabled}
        command = [sys.executable, "-W", "error::RuntimeWarning", "-c", TRAINING]
        found.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found[0].split()) == 4
    assert found[0] == found[1]
