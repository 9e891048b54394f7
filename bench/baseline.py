"""Counted figures that must not get worse: those of a fixed random network, committed in `baseline.json`.

Operations, events and energy must be equal, as they follow from the network. Cycles and memory bits must not grow.
After an improvement, `python -m bench --update-baseline` writes a new baseline.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from . import accelerator, networks
from .figures import Figure

PATH = Path(__file__).with_name("baseline.json")
FRAMES = 300


def measure() -> list[Figure]:
    """Counted figures of a random 784-800-10 network of 5 % on sparse random images, the same on every machine."""
    network = networks.random_mlp(pixel_bits=4)
    generator = np.random.default_rng(1)
    frames = generator.integers(0, 256, (2 * FRAMES, 784), dtype=np.uint8)
    frames[generator.random(frames.shape) > 0.19] = 0  # as many non-zero pixels as in MNIST
    return accelerator.figures(network, frames[:FRAMES], frames[FRAMES:])


def update() -> None:
    PATH.write_text(json.dumps({figure.name: figure.value for figure in measure()}, indent=2) + "\n")


def complaints() -> list[str]:
    """One line for each figure that differs from the baseline."""
    expected = json.loads(PATH.read_text())
    found = {figure.name: figure.value for figure in measure()}
    lines = [f"{name}: in one of the two only" for name in sorted(expected.keys() ^ found.keys())]
    for name in expected.keys() & found.keys():
        is_schedule = name.startswith("P = ")
        close = abs(found[name] - expected[name]) <= 1e-9 * abs(expected[name])  # sums of floats, in another order
        if not close and (not is_schedule or found[name] > expected[name]):
            lines.append(f"{name}: {found[name]:g}, the baseline has {expected[name]:g}")
    return sorted(lines)
