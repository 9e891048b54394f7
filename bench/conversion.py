"""`python -m bench.conversion`: what a step of the training before a conversion costs, and where its time goes.

The images are random. Operations are those of the convolutions and products of a step, forwards and backwards; the peak
is that of a large product of matrices or of a large convolution, whichever is faster, on the same machine, in the same
precision and with as many threads.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import click
import numpy as np
import torch
from torch.autograd import DeviceType
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from gradrtl.model.data import Dataset
from gradrtl.model.description import DenseSpec
from gradrtl.model.graph import Graph
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_train import train_relu

SIDES = {"cpu": 2048, "cuda": 8192}  # of the matrices whose product tells the peak
ROUNDS = 5
KINDS = (  # the first that is part of an operation's name tells its kind
    ("_Population", "sparse convolutions with all that follows"),
    ("convolution", "convolutions and products"),
    ("mkldnn", "convolutions and products"),
    ("mm", "convolutions and products"),
    ("pool", "pools"),
    ("batch_norm", "normalisation"),
    ("triton", "normalisation and activations, compiled"),
    ("sgd", "optimiser"),
    ("copy_", "copies: formats and layouts"),
)
OTHERS = "activations and the rest"


@dataclass(frozen=True)
class Cost:
    """Of a step: seconds, operations, those of a second at the peak, and the share of the time by kind."""

    seconds: float
    operations: float
    peak: float
    shares: dict[str, float]


def operations(graph: Graph, batch: int, weights_of: list[int]) -> float:
    """Multiplications and additions of a step: forwards, and backwards to weights and, but for pixels, to sources.

    `weights_of`: by connection, in the order of the description.
    """
    total, pixels, left = 0, {part.name for part in graph.inputs}, list(weights_of)
    for population in graph.populations:
        for connection in population.inputs:
            weights = left.pop(0)
            is_dense = isinstance(connection.synapses, DenseSpec)
            places = 1 if is_dense else prod(graph.shapes[population.name][1:])
            passes = 2 if set(connection.sources) <= pixels else 3
            total += 2 * passes * weights * places
    return float(total * batch)


def peak(device: str, precision: str) -> float:
    """Operations a second of the fastest of some products of two large matrices, and convolutions of large maps."""
    side, maps = SIDES[device], SIDES[device] // 8
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = torch.randn((2, side, side), device=device).to(kind)
    x = torch.randn((8, maps, 32, 32), device=device).to(kind).contiguous(memory_format=torch.channels_last)
    w = torch.randn((maps, maps, 3, 3), device=device).to(kind).contiguous(memory_format=torch.channels_last)

    def fastest(work: Callable[[], torch.Tensor]) -> float:
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            float(work().flatten()[0])  # waits for an accelerator
            best = min(best, time.perf_counter() - began)
        return best

    product, convolution = fastest(lambda: a @ b), fastest(lambda: functional.conv2d(x, w, padding=1))
    return max(2 * side**3 / product, 2 * x.numel() * maps * 9 / convolution)


def measure(config: ReluConfig, shape: tuple[int, ...], classes: int, steps: int, device: str) -> Cost:
    """Train for three epochs of `steps`: the first warms up, the second is timed, the third is profiled."""
    generator = np.random.default_rng(0)
    count = steps * config.batch + config.batch
    images = generator.integers(0, 256, (count, *shape)).astype(np.uint8)
    data = Dataset(images, (np.arange(count) % classes).astype(np.uint8))
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    profiler, marks = profile(activities=activities, acc_events=True), list[float]()

    def on_epoch(row: dict[str, object]) -> None:
        marks.append(time.perf_counter())
        if row["epoch"] == 2:
            profiler.start()
        if row["epoch"] == 3:
            profiler.stop()

    trained = train_relu(config, data, None, on_epoch, device)
    shares: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        if device == "cuda":
            spent = event.self_device_time_total if event.device_type == DeviceType.CPU else 0
        else:
            spent = event.self_cpu_time_total
        shares[next((kind for part, kind in KINDS if part in event.key), OTHERS)] += spent
    total = sum(shares.values())
    found = {kind: spent / total for kind, spent in sorted(shares.items(), key=lambda item: -item[1])}
    done = operations(trained.network.description, config.batch, trained.history[-1]["living"])
    return Cost((marks[1] - marks[0]) / steps, done, peak(device, config.precision), found)


@click.command()
@click.option("--layers", default="64C3-64C3-AP2-192C3-192C3-AP2-384C3-384C3-AP4-10", show_default=True)
@click.option("--side", default=32, show_default=True, help="Of the images, which have three colours.")
@click.option("--batch", default=128, show_default=True)
@click.option("--steps", default=10, show_default=True)
@click.option("--precision", default="bfloat16", show_default=True)
@click.option("--device", type=click.Choice(list(SIDES)), default="cpu", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--connectivity", type=float, help="Of a sparse network; without: dense.")
def main(
    layers: str,
    side: int,
    batch: int,
    steps: int,
    precision: str,
    device: str,
    threads: int,
    connectivity: float | None,
) -> None:
    """Print the time of a step, its share of the peak, and where the time goes."""
    torch.set_num_threads(threads)
    sparse: dict[str, Any] = {}
    if connectivity is not None:  # pruned at the end of the first epoch
        sparse = {"recipe": "magnitude", "connectivity": connectivity, "dense": 0.0, "rewire": 1 / 3}
    config = ReluConfig(
        **sparse,
        network=layers,
        epochs=3,
        batch=batch,
        precision=precision,
        shift=4,
        flip=True,
        cutout=8,
        held_out=batch,
    )
    cost = measure(config, (3, side, side), 10, steps, device)
    reached = cost.operations / cost.seconds
    click.echo(
        f"{1e3 * cost.seconds:.1f} ms a step, {cost.operations / 1e9:.1f} G operations: {reached / 1e9:.0f} G a second"
    )
    click.echo(f"peak {cost.peak / 1e9:.0f} G a second: a step reaches {100 * reached / cost.peak:.0f} % of it")
    for kind, share in cost.shares.items():
        click.echo(f"  {100 * share:5.1f} %  {kind}")


if __name__ == "__main__":
    main()
