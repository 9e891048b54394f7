"""`python -m bench.recurrent`: one recurrent network in the engine, and in snnTorch, Norse and SpikingJelly.

256 neurons that hear 5 % of each other a step later, 100 steps of 64 input spikes, ten outputs. The libraries run the
same integer weights in float32, without gradients, each with its fastest cell: the input's product of all steps is
computed before the loop over time, the recurrent one is added in place, and several batch sizes are tried.

Neurons without leak compute the same in integers and in floats: every spike of every library must equal the engine's,
or the benchmark stops. Leaky neurons round their membranes, each library in its own order, and a recurrent network
carries a single differing spike on: there the share of equal spikes is printed.

snnTorch and SpikingJelly are in the optional dependency group `bench`. Norse is not, since its licence is the LGPL:
`pip install norse`. A library that is not installed is named and not measured.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import click
import numpy as np
import torch

from gradrtl.errors import require
from gradrtl.quantize.network import Connection, Dense, Input, IntNeuron, Population, QuantizedNetwork
from gradrtl.sim import engine

THRESHOLD = 64
BETWEEN = THRESHOLD - 0.5  # the same threshold for `>` and `>=`
SHIFT = 3  # of the leak: a membrane keeps 7/8 in each step
SOURCES, CLASSES = 64, 10

Step = Callable[[torch.Tensor], torch.Tensor]  # sums `[frames, neurons]` to spikes
Matrices = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # from input, hidden to hidden, hidden to output
Simulator = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def network(
    neurons: int = 256, steps: int = 100, connectivity: float = 0.05, seed: int = 0, leaky: bool = True
) -> QuantizedNetwork:
    """The network, with random weights of 5 bits."""
    generator = np.random.default_rng(seed)

    def dense(targets: int, sources: int, fraction: float) -> Dense:
        values = generator.integers(-15, 16, (targets, sources))
        return Dense(np.where(generator.random(values.shape) < fraction, values, 0).astype(np.int8))

    neuron = IntNeuron("shift" if leaky else "none", "hard", threshold=THRESHOLD, shift=SHIFT if leaky else 1)
    given = Connection("input", dense(neurons, SOURCES, 0.2), 5)
    again = Connection("hidden", dense(neurons, neurons, connectivity), 5, delay=1)
    hidden = Population("hidden", (neurons,), neuron, 0, (given, again))
    output = Population("output", (CLASSES,), neuron, 0, (Connection("hidden", dense(CLASSES, neurons, 0.2), 5),))
    return QuantizedNetwork((Input((SOURCES,), kind="spikes"),), (hidden, output), steps)


def snntorch(leaky: bool, again: torch.Tensor) -> tuple[Step, Step]:
    """`Leaky`. `RLeaky`, which holds the recurrent weights itself, is slower: its addition is one more."""
    import snntorch as snn

    beta = 1 - 2.0**-SHIFT if leaky else 1.0
    hidden, output = (
        snn.Leaky(beta=beta, threshold=BETWEEN, reset_mechanism="zero", init_hidden=True) for _ in range(2)
    )
    return hidden, output


def norse(leaky: bool, again: torch.Tensor) -> tuple[Step, Step]:
    """`LIFBox` with weights over `dt / tau`, or `IAF`."""
    from norse.torch.functional.iaf import IAFFeedForwardState, IAFParameters, iaf_feed_forward_step
    from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step

    threshold = torch.as_tensor(BETWEEN)
    box = LIFBoxParameters(tau_mem_inv=torch.as_tensor(2.0**-SHIFT), v_th=threshold)
    plain = IAFParameters(v_th=threshold)

    def cell(neurons: int) -> Step:
        state = LIFBoxFeedForwardState(torch.zeros(neurons)) if leaky else IAFFeedForwardState(torch.zeros(neurons))

        def step(sums: torch.Tensor) -> torch.Tensor:
            nonlocal state
            if leaky:
                spikes, state = lif_box_feed_forward_step(sums, state, box, dt=1.0)
            else:
                spikes, state = iaf_feed_forward_step(sums, state, plain, dt=1.0)
            return spikes

        return step

    return cell(len(again)), cell(CLASSES)


def spikingjelly(leaky: bool, again: torch.Tensor) -> tuple[Step, Step]:
    """`LIFNode` or `IFNode`, in evaluation mode: compiled by TorchScript."""
    from spikingjelly.activation_based import neuron

    def node() -> Step:
        if leaky:
            made = neuron.LIFNode(tau=2.0**SHIFT, decay_input=False, v_threshold=BETWEEN, v_reset=0.0)
        else:
            made = neuron.IFNode(v_threshold=BETWEEN, v_reset=0.0)
        return made.eval()

    return node(), node()


LIBRARIES = {"snntorch": snntorch, "norse": norse, "spikingjelly": spikingjelly}


def library(name: str, made: QuantizedNetwork, leaky: bool) -> Simulator:
    """From float32 spikes `[frames, steps, sources]` to those of both populations, `[steps, frames, neurons]`."""
    gain = 2.0**SHIFT if name == "norse" and leaky else 1.0
    given, again, last = (torch.from_numpy(edge.synapses.weight.astype("float32")).T * gain for edge in made.edges)
    given, again, last = given.contiguous(), again.contiguous(), last.contiguous()

    def simulate(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, output = LIBRARIES[name](leaky, again)
        sums = frames.transpose(0, 1) @ given
        spikes = torch.zeros(len(frames), len(again))
        hiddens, outputs = [], []
        for now in sums:
            spikes = hidden(torch.addmm(now, spikes, again))
            hiddens.append(spikes)
            outputs.append(output(spikes @ last))
        return torch.stack(hiddens), torch.stack(outputs)

    return simulate


def equal(made: QuantizedNetwork, simulate: Simulator, frames: np.ndarray) -> float:
    """The share of the engine's spikes that a library gives too, both populations together, and its silence."""
    trace = engine.run(made, frames, trace="spikes").trace
    assert trace is not None
    with torch.no_grad():
        theirs = simulate(torch.from_numpy(frames).float())
    same = [(np.swapaxes(b.numpy(), 0, 1) == a).mean() for a, b in zip(trace.spikes, theirs, strict=True)]
    sizes = [part.shape[2] for part in trace.spikes]
    return float(np.average(same, weights=sizes))


def shortest(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The shortest time of each, in seconds: one run each that is not timed, then `rounds` in which they alternate."""
    times = dict.fromkeys(runs, np.inf)
    for round in range(rounds + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            if round:
                times[name] = min(times[name], time.perf_counter() - begin)
    return times


def compare(leaky: bool, frames: int, rounds: int, batches: list[int], threads: int, checked: int = 64) -> None:
    """Print frames per second of each simulator, and how many spikes are the engine's."""
    made, generator = network(leaky=leaky), np.random.default_rng(1)
    given = (generator.random((frames, made.steps, SOURCES)) < 0.2).astype(np.uint8)
    floats = torch.from_numpy(given).float()
    trace = engine.run(made, given[:checked], trace="spikes").trace
    assert trace is not None
    kind = f"leak 1/{2**SHIFT}" if leaky else "no leak"
    click.echo(f"{kind}, {trace.spikes[0].mean():.3f} spikes per neuron and step, {torch.get_num_threads()} threads")
    runs: dict[str, Callable[[], object]] = {"engine": lambda: engine.run(made, given, threads=threads)}
    for name in LIBRARIES:
        if find_spec(name) is None:
            click.echo(f"{name}: not installed, not measured; pip install {name}")
            continue
        simulate = library(name, made, leaky)
        share = equal(made, simulate, given[:checked])
        require(leaky or share == 1, f"{name} equal spikes", share, "all of them")
        click.echo(f"{name}: {100 * share:.2f} % of all spikes and silences are the engine's")
        for batch in batches:

            def run(simulate: Simulator = simulate, batch: int = batch) -> None:
                with torch.no_grad():
                    for part in floats.split(batch):
                        simulate(part)

            runs[f"{name}, batches of {batch}"] = run
    times = shortest(runs, rounds)
    for name, taken in times.items():
        ratio = "" if name == "engine" else f", the engine is {taken / times['engine']:.1f} times as fast"
        click.echo(f"{name}: {frames / taken:,.0f} frames/s{ratio}")


@click.command()
@click.option("--frames", default=1024, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", default=2, show_default=True, help="Of the engine, and of torch.")
@click.option("--batch", "batches", default=[64, 256, 1024], multiple=True, show_default=True)
def main(frames: int, rounds: int, threads: int, batches: tuple[int, ...]) -> None:
    """Print frames per second of each simulator, without leak and with it."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # TorchScript, which SpikingJelly uses
    torch.set_num_threads(threads)
    for leaky in (False, True):
        compare(leaky, frames, rounds, list(batches), threads)


if __name__ == "__main__":
    main()
