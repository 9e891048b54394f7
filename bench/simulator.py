"""Timed figures of the simulator: ratios to the plain loop and to other libraries, in alternating runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np

from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.sim import engine

from . import networks, yardstick
from .figures import Figure
from .timing import best_of

FIRST_CALL = """
import time, numpy as np
from bench import networks
from gradrtl.sim import engine
network = networks.random_mlp()
begin = time.process_time()
engine.run(network, np.zeros((1, 784), np.uint8))
print(time.process_time() - begin)
"""
LARGE = """
import os, resource, time, numpy as np
from bench import networks
from gradrtl.sim import engine
network = networks.random_cifar10_paper()
threads = len(os.sched_getaffinity(0))
frames = np.random.default_rng(0).integers(0, 256, (64 * threads, 3072), dtype=np.uint8)
engine.run(network, frames[:1])
times = []
for _ in range(3):
    begin = time.process_time()
    engine.run(network, frames, threads=threads)
    times.append((time.process_time() - begin) / threads)
print(len(frames) / min(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def figures(network: QuantizedNetwork, frames: np.ndarray, few: int, rounds: int) -> list[Figure]:
    """Speeds on `frames`, uint8 `[n, sources]`; the other libraries run the first `few` of them."""
    threads = len(os.sched_getaffinity(0))
    plain = yardstick.prepare(network, threads)
    np.testing.assert_array_equal(plain(frames[:200]), engine.run(network, frames[:200]).counts)
    times = best_of(
        {"engine": lambda: engine.run(network, frames, threads=threads), "plain": lambda: plain(frames)}, rounds
    )
    rate = len(frames) / times["engine"]
    found = [
        Figure(f"engine, {threads} threads", rate, "frames/s", False),
        Figure("engine over the plain event-driven loop", times["plain"] / times["engine"], "x", False, least=3),
    ]
    found += _others(network, frames[:few], threads, max(1, rounds // 2))
    found += [_first_call(), *_large()]
    return found


def _others(network: QuantizedNetwork, frames: np.ndarray, threads: int, rounds: int) -> list[Figure]:
    """Ratios to the installed libraries; each must agree with the engine on at least 99 % of the classes."""
    every: dict[str, tuple[str, float | None]] = {
        "snnTorch": ("snntorch", 15.0),
        "snnTorch, first layer hoisted": ("snntorch", 5.0),
        "SpikingJelly": ("spikingjelly", None),
    }
    wanted = {name: found for name, found in every.items() if find_spec(found[0])}
    for name in sorted(every.keys() - wanted.keys()):
        print(f"{name} is not installed and not measured: pip install -e '.[bench]'", file=sys.stderr)
    if not wanted:
        return []
    import torch

    from . import others

    torch.set_num_threads(threads)
    makers: dict[str, Callable[[], others.Classifier]] = {
        "snnTorch": lambda: others.snntorch(network),
        "snnTorch, first layer hoisted": lambda: others.snntorch(network, hoisted=True),
        "SpikingJelly": lambda: others.spikingjelly(network),
    }
    images = torch.from_numpy((network.input.seen(frames)).astype(np.float32))
    ours = engine.run(network, frames).classes
    runs: dict[str, Callable[[], object]] = {"engine": lambda: engine.run(network, frames, threads=threads)}
    for name in wanted:
        classify = makers[name]()
        agreement = float((others.batched(classify, images).argmax(1).numpy() == ours).mean())
        assert agreement > 0.99, f"{name} agrees on {agreement:.1%} of the classes only: not the same network"
        runs[name] = partial(others.batched, classify, images)
    times = best_of(runs, rounds)
    return [
        Figure(f"engine over {name}", times[name] / times["engine"], "x", False, least=least)
        for name, (_, least) in wanted.items()
    ]


def _first_call() -> Figure:
    """Processor seconds of a first call in a fresh process with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        seconds = _script(FIRST_CALL, NUMBA_CACHE_DIR=cache)[0]
    return Figure("first call of the engine, nothing cached, processor time", seconds, "s", False, most=10)


def _large() -> list[Figure]:
    """The paper's CIFAR-10 shape, random weights and images, in processor time (a separate process)."""
    rate, memory = _script(LARGE)
    shape = f"CIFAR-10 shape of the paper, {networks.CIFAR10_CONNECTIVITY:.0%} random weights"
    cores = len(os.sched_getaffinity(0))
    return [
        Figure(f"engine, {shape}, {cores} cores, processor time", rate, "frames/s", False, least=20),
        Figure("the same, memory of the process", memory, "GiB", False, most=4),
    ]


def _script(text: str, **environment: str) -> list[float]:
    """The numbers that a Python script prints in a separate process."""
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]
