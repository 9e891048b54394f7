"""A network that answers with its first spike: the threshold of its outputs, and what the early answer saves.

    python examples/first_spike.py choose build/network.npz -o build/first.npz       # on held-out training images
    python examples/first_spike.py compare build/first.npz networks/mnist-5pct.npz   # on the test images, once

`docs/first-spike.md` tells how the network is trained.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import click
import numpy as np

from gradrtl.cli import OneLine
from gradrtl.errors import require
from gradrtl.model.data import load, split
from gradrtl.quantize.first_spike import Trade, first_spike, ramped, trades
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import engine, operations
from gradrtl.sim.measure import measure
from gradrtl.sim.timing.predict import predict
from gradrtl.steps.frames import frames_for
from gradrtl.steps.place import with_rates

MNIST = Path("data/mnist")
THRESHOLDS = 60  # that are tried
SLOPES = (4, 5, 6, 7, 8, 12)  # ramps that are tried: membranes rise by the threshold in as many steps


@click.group(cls=OneLine, help=__doc__)
def main() -> None:
    pass


def best(found: list[Trade], loss: float) -> Trade:
    """The earliest answers among those that are at most `loss` less accurate than the best."""
    enough = max(trade.accuracy for trade in found) - loss
    return min((trade for trade in found if trade.accuracy >= enough), key=lambda trade: trade.step)


@main.command()
@click.argument("network")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--loss", default=0.001, help="Accuracy on held-out images that earlier answers may cost.")
def choose(network: str, output: Path, loss: float) -> None:
    """Give NETWORK, which is read out in membranes, the threshold that answers early and well."""
    plain = QuantizedNetwork.load(network)
    first_spike(plain, 1)  # refuses what cannot answer so, before the search
    training = load(MNIST)[0]
    held_out = split(training)[1]
    frames = frames_for(plain, held_out)
    read = plain.graph.index[plain.readouts[0].source]

    @cache
    def membranes(ramp: int) -> np.ndarray:
        """Of the outputs, `[n, steps, classes]`."""
        trace = engine.run(ramped(plain, ramp), frames, trace=True).trace
        assert trace is not None
        return trace.membranes[read]

    highest = 2 * int(np.quantile(membranes(0).max(axis=2), 0.99))  # ramps lift them
    tried = np.unique(np.linspace(1, highest, THRESHOLDS).astype(int))
    unit = 1 << plain.populations[read].neuron.fraction
    found: dict[int, tuple[Trade, int]] = {}
    for threshold in tried.tolist():
        for slope in SLOPES:
            ramp = threshold // unit // slope
            (trade,) = trades(membranes(ramp), held_out.labels, [threshold])
            if threshold not in found or trade.accuracy > found[threshold][0].accuracy:
                found[threshold] = trade, ramp
    click.echo(f"{'threshold':>10} {'ramp':>5} {'held out':>9} {'steps':>6} {'silent':>7}")
    for trade, ramp in found.values():
        figures = f"{100 * trade.accuracy:7.2f} % {trade.step:6.2f} {100 * trade.silent:5.1f} %"
        click.echo(f"{trade.threshold:10} {ramp:5} {figures}")
    chosen = best([trade for trade, _ in found.values()], loss)
    ramp = found[chosen.threshold][1]
    made = first_spike(plain, chosen.threshold, ramp)
    outcome = engine.run(made, frames)
    require((outcome.classes == held_out.labels).mean() == chosen.accuracy, "accuracy", chosen.accuracy, "that of it")
    with_rates(made, frames).save(output)
    click.echo(f"threshold {chosen.threshold}, ramp {ramp}: {output}")


@main.command()
@click.argument("networks", nargs=-1, required=True)
@click.option("--pe", default="16,10", help="Processing elements of each layer.")
@click.option("--images", default=10_000)
def compare(networks: tuple[str, ...], pe: str, images: int) -> None:
    """Accuracy, operations and cycles of NETWORKS on the same processing elements: `latency` of a frame alone,
    `interval` of frames back to back, also where the rest of a decided frame is `cancelled`.
    """
    test = load(MNIST)[1][:images]
    click.echo(
        f"{'test':>8} {'synapses':>9} {'answer in step':>14} {'operations':>10} {'until answer':>12} {'latency':>8} "
        f"{'interval':>8} {'cancelled':>9}"
    )
    for path in networks:
        network = QuantizedNetwork.load(path)
        frames = frames_for(network, test)
        placement = Placement(tuple(int(pes) for pes in pe.split(",")))
        measured = measure(map_network(network, placement), frames)
        outcome = measured.outcome
        steps = np.full(len(test), network.steps)
        cancelled = "-"
        if network.readouts[0].kind == "first":
            cancels = map_network(network, replace(placement, cancel=True))
            cancelled = f"{predict(cancels, measured.events).interval.mean():,.0f}"
            largest = outcome.counts.max(axis=1)
            steps = np.where(largest > 0, network.steps + 1 - largest, network.steps)
        whole, until = 0.0, 0.0
        for synaptic in operations.count(network, frames).synaptic:
            in_time = np.arange(synaptic.shape[1]) < steps[:, None]
            whole, until = whole + synaptic.sum(axis=1).mean(), until + (synaptic * in_time).sum(axis=1).mean()
        accuracy = 100 * (outcome.classes == test.labels).mean()
        click.echo(
            f"{accuracy:6.2f} % {network.connected:9,} {steps.mean():14.2f} {whole:10,.0f} {until:12,.0f} "
            f"{measured.apart.latency.mean():8,.0f} {measured.back_to_back.interval.mean():8,.0f} {cancelled:>9}  "
            f"{path}"
        )


if __name__ == "__main__":
    main()
