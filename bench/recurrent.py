"""`python -m bench.recurrent`: one recurrent network in the engine, and in snnTorch, Norse and SpikingJelly.

256 leaky neurons that hear 5 % of each other a step later, 100 steps of 64 input spikes, ten outputs. snnTorch and
SpikingJelly are in the optional dependency group `bench`; Norse is not (`pip install norse`). One that is not installed
is named and not measured. The weights of the libraries are the same integers in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import click
import numpy as np
import torch

from gradrtl.quantize.network import Connection, Dense, Input, IntNeuron, Population, QuantizedNetwork
from gradrtl.sim import engine

THRESHOLD = 64


def network(neurons: int = 256, steps: int = 100, connectivity: float = 0.05, seed: int = 0) -> QuantizedNetwork:
    """The network, with random weights of 5 bits."""
    generator = np.random.default_rng(seed)

    def dense(targets: int, sources: int, fraction: float) -> Dense:
        values = generator.integers(-15, 16, (targets, sources))
        return Dense(np.where(generator.random(values.shape) < fraction, values, 0).astype(np.int8))

    leaky = IntNeuron(leak="shift", shift=3, reset="hard", threshold=THRESHOLD)
    given = Connection("input", dense(neurons, 64, 0.2), 5)
    again = Connection("hidden", dense(neurons, neurons, connectivity), 5, delay=1)
    hidden = Population("hidden", (neurons,), leaky, 0, (given, again))
    output = Population("output", (10,), leaky, 0, (Connection("hidden", dense(10, neurons, 0.2), 5),))
    return QuantizedNetwork((Input((64,), kind="spikes"),), (hidden, output), steps)


def cells(name: str, made: QuantizedNetwork) -> Callable[[], list[Callable[[torch.Tensor], torch.Tensor]]]:
    """For each new frame, a function for each of the two populations: sums `[frames, neurons]` to spikes."""
    decay = 7 / 8

    def snntorch() -> list[Callable[[torch.Tensor], torch.Tensor]]:
        import snntorch as snn

        found = [snn.Leaky(beta=decay, threshold=THRESHOLD, reset_mechanism="zero", init_hidden=True) for _ in range(2)]
        return list(found)

    def norse() -> list[Callable[[torch.Tensor], torch.Tensor]]:
        from norse.torch.functional.lif_box import LIFBoxParameters, lif_box_feed_forward_step

        parameters = LIFBoxParameters(tau_mem_inv=torch.as_tensor(1 - decay), v_th=torch.as_tensor(float(THRESHOLD)))

        def one() -> Callable[[torch.Tensor], torch.Tensor]:
            state = None

            def step(sums: torch.Tensor) -> torch.Tensor:
                nonlocal state
                spikes, state = lif_box_feed_forward_step(sums / (1 - decay), state, parameters, dt=1.0)
                return spikes

            return step

        return [one(), one()]

    def spikingjelly() -> list[Callable[[torch.Tensor], torch.Tensor]]:
        from spikingjelly.activation_based import neuron

        tau = 1 / (1 - decay)
        return [neuron.LIFNode(tau=tau, decay_input=False, v_threshold=float(THRESHOLD), v_reset=0.0) for _ in range(2)]

    return {"snntorch": snntorch, "norse": norse, "spikingjelly": spikingjelly}[name]


def library(name: str, made: QuantizedNetwork) -> Callable[[torch.Tensor], torch.Tensor]:
    """float32 spikes `[frames, steps, sources]` to counts `[frames, classes]`."""
    matrices = [torch.from_numpy(edge.synapses.weight.astype("float32")).T.contiguous() for edge in made.edges]
    given, again, last = matrices
    new = cells(name, made)

    def classify(frames: torch.Tensor) -> torch.Tensor:
        hidden, output = new()
        spikes, counts = torch.zeros(len(frames), len(again)), torch.zeros(len(frames), made.classes)
        for step in range(made.steps):
            spikes = hidden(frames[:, step] @ given + spikes @ again)
            counts += output(spikes @ last)
        return counts

    return classify


def fastest(run: Callable[[], object], rounds: int) -> float:
    """The shortest time of `rounds`, in seconds, after one that is not timed."""
    run()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


@click.command()
@click.option("--frames", default=1024, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(frames: int, rounds: int) -> None:
    """Print frames per second of each simulator."""
    made, generator = network(), np.random.default_rng(1)
    given = (generator.random((frames, made.steps, 64)) < 0.2).astype(np.uint8)
    outcome = engine.run(made, given[:64], trace="spikes")
    assert outcome.trace is not None
    click.echo(f"spikes per neuron and step: {outcome.trace.spikes[0].mean():.3f}")
    ours = fastest(lambda: engine.run(made, given), rounds)
    click.echo(f"engine: {frames / ours:,.0f} frames/s")
    floats = torch.from_numpy(given).float()
    for name in ("snntorch", "norse", "spikingjelly"):
        if find_spec(name) is None:
            click.echo(f"{name}: not installed, not measured; pip install {name}")
            continue
        classify = library(name, made)
        with torch.no_grad():
            theirs = fastest(lambda classify=classify: [classify(part) for part in floats.split(256)], rounds)  # type: ignore[misc]
        click.echo(f"{name}: {frames / theirs:,.0f} frames/s, the engine is {theirs / ours:.1f} times as fast")


if __name__ == "__main__":
    main()
