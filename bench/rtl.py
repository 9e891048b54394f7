"""Timed figure of the timing model against the compiled RTL, on the same frames and the same mapping."""

from __future__ import annotations

import numpy as np

from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.verilog import generate
from gradrtl.sim import verilated
from gradrtl.sim.measure import measure
from gradrtl.sim.timing.predict import predict

from .accelerator import PES
from .figures import Figure
from .timing import best_of

FRAMES = 200  # number of frames for the compiled RTL


def figures(network: QuantizedNetwork, frames: np.ndarray, rounds: int) -> list[Figure]:
    """Builds the accelerator (cached by content), runs the first `FRAMES` in it, predicts all frames.

    Both must give the same cycles, each on one thread, as the times of a frame depend on those of the frame before. The
    prediction is timed alone, and together with the engine's run that computes its events.
    """
    mapping = map_network(network, PES[0])
    model = verilated.build(generate(mapping, "python -m bench"), mapping)
    few = frames[:FRAMES]
    ready = measure(mapping, frames, threads=1).events
    predicted = predict(mapping, ready).result[:FRAMES]
    np.testing.assert_array_equal(model.run(few).cycles.result, predicted)
    times = best_of(
        {
            "rtl": lambda: model.run(few),
            "alone": lambda: predict(mapping, ready),
            "whole": lambda: measure(mapping, frames, threads=1).back_to_back,
        },
        rounds,
    )
    frame = times["rtl"] / len(few)
    return [
        Figure("timing model over compiled RTL", frame / (times["alone"] / len(frames)), "x", False, least=100),
        Figure("the same, engine and events included", frame / (times["whole"] / len(frames)), "x", False),
    ]
