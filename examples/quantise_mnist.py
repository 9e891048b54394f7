"""The MNIST networks of `networks/` and the figures of `docs/quantisation.md`, from the trained checkpoints.

    python examples/quantise_mnist.py networks                 # by weights and fine-tuned, three seeds, and a table
    python examples/quantise_mnist.py sweep checkpoints/mnist-mlp-5-s1.npz    # 2 to 8 bits: table and plot
    python examples/quantise_mnist.py curve checkpoints/mnist-conv-curve-*    # from dense to sparse: table and plot

Results go to `build/quantise/`; nothing is made twice. Scales are searched on training images. Epochs, networks and the
rate of fine-tuning are chosen on the held-out ones. Test accuracies were known when the rate was chosen, so fine-tuned
figures may be slightly optimistic. The networks are fine-tuned with the images and the objective of
their training.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from gradrtl.cli import OneLine
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import Dataset, load, split
from gradrtl.model.networks import network_of
from gradrtl.model.train import evaluate
from gradrtl.quantize.config import QatConfig
from gradrtl.quantize.fold import FloatNetwork, fold
from gradrtl.quantize.network import WEIGHT_BITS, QuantizedNetwork
from gradrtl.quantize.plots import draw
from gradrtl.quantize.ptq import quantize
from gradrtl.quantize.qat import Row, fine_tune
from gradrtl.quantize.rounding import Formats
from gradrtl.quantize.sweep import Method, csv, markdown, plot, sweep
from gradrtl.sim import engine
from gradrtl.steps.place import with_rates

OUT = Path("build/quantise")
SEEDS = (0, 1, 2)
PERCENT = ("5", "2", "1")  # connectivity
BITS = 4
SEARCH_FRAMES = 10_000


def accuracy(network: QuantizedNetwork, data: Dataset) -> float:
    """Fraction of `data` that the integer network classifies correctly."""
    outcome = engine.run(network, data.frames, threads=torch.get_num_threads())
    return float((outcome.classes == data.labels).mean())


def searched(network: FloatNetwork, formats: Formats, training: Dataset) -> QuantizedNetwork:
    """Post-training quantisation, with a search of the scales on some training images."""
    chosen = np.random.default_rng(0).choice(len(training), SEARCH_FRAMES, replace=False)
    some = Dataset(training.images[chosen], training.labels[chosen])
    return quantize(network, formats, lambda candidate: accuracy(candidate, some), rounds=1)


def tuned(network: FloatNetwork, formats: Formats, train: Dataset, config: QatConfig, state: Path) -> QuantizedNetwork:
    """Quantisation-aware training that can be interrupted: `state` is kept until it has ended."""
    found = fine_tune(network, formats, train, config, resume=state, on_epoch=show)
    state.unlink(missing_ok=True)
    return found


def made_in(name: str, network: FloatNetwork, epochs: int) -> Path:
    """Folder of the results for these weights and this number of epochs."""
    return OUT / name / f"{network.notes['checkpoint']['weights'][:8]}-{epochs}"


def made_from(train: Dataset, config: QatConfig) -> dict[str, Any]:
    """What a network depends on beside its checkpoint and formats: the images and the settings of fine-tuning."""
    return {"data": train.digest, **asdict(config)}


def show(row: Row) -> None:
    click.echo(f"epoch {row['epoch']:3}  validation {100 * row['validation']:.2f} %  synapses {sum(row['synapses'])}")


def spread(values: list[float]) -> str:
    """Mean, standard deviation, and the values."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation} ({', '.join(f'{value:.2f}' for value in values)})"


@click.group(cls=OneLine)
@click.option("--threads", default=1, show_default=True, help="Threads of torch and of the simulator.")
def main(threads: int) -> None:
    """Quantise the MNIST networks."""
    torch.set_num_threads(threads)


@main.command()
@click.option("--percent", type=click.Choice(PERCENT), multiple=True, default=PERCENT)
@click.option("--seed", type=int, multiple=True, default=SEEDS, help="Seed of training and fine-tuning.")
@click.option("--epochs", default=10, show_default=True, help="Of a fine-tuning.")
def networks(percent: tuple[str, ...], seed: tuple[int, ...], epochs: int) -> None:
    """4-bit networks at about 5, 2 and 1 % connectivity, the seed best on held-out images of each, and their table."""
    train, test = load("data/mnist")
    _, held_out = split(train)
    lines = ["| network | connectivity | float | by weights | fine-tuned | seed that is best held-out |"]
    lines.append("| --- |" + " ---: |" * 5)
    for p in percent:
        name = f"mnist-{p}pct"
        found: dict[int, QuantizedNetwork] = {}
        tests: dict[str, list[float]] = {"float": [], "weights": [], "fine-tuned": []}
        for s in seed:
            made = Checkpoint.load(f"checkpoints/mnist-mlp-{p}-s{s}.npz")
            network = fold(made)
            config = QatConfig.as_trained(made.config, seed=s, epochs=epochs)
            tune = partial(tuned, train=train, config=config, state=OUT / f"{name}-s{s}.pt")
            ways: dict[str, Method] = {"weights": quantize, "fine-tuned": tune}
            folder = made_in(name, network, epochs)
            tests["float"].append(100 * evaluate(network_of(made), test).accuracy)
            for way, method in ways.items():
                click.echo(f"{name} seed {s}: {way}")
                of = made_from(train, config)
                measure = partial(accuracy, data=test)
                sweep(network, {way: method}, measure, folder, bits=[BITS], made_from=of, on_row=click.echo)
                found[s] = QuantizedNetwork.load(folder / f"{way}-{BITS}bit.npz")
                tests[way].append(100 * accuracy(found[s], test))
        best = max(seed, key=lambda s: accuracy(found[s], held_out))
        with_rates(found[best], train.frames).save(f"networks/{name}.npz")
        kept = [sum(n.notes["synapses"]["kept"]) / sum(n.notes["synapses"]["places"]) for n in found.values()]
        lines.append(f"| `{name}` | {spread([100 * k for k in kept])} | ")
        lines[-1] += " | ".join(spread(values) for values in tests.values()) + f" | {best} |"
    table = "\n".join(lines) + "\n"
    (OUT / "networks.md").write_text(table)
    click.echo(table)


@main.command("sweep")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--bits", type=int, multiple=True, default=WEIGHT_BITS, show_default=True)
@click.option("--epochs", default=5, show_default=True, help="Of each fine-tuning.")
def sweep_bits(checkpoint: Path, bits: tuple[int, ...], epochs: int) -> None:
    """Accuracy against weight bits, 2 to 8, for one CHECKPOINT."""
    train, test = load("data/mnist")
    training, _ = split(train)
    made = Checkpoint.load(checkpoint)
    folder = OUT / f"sweep-{checkpoint.stem}"
    config = QatConfig(epochs=epochs)
    methods: dict[str, Method] = {
        "weights": quantize,
        "search": partial(searched, training=training),
        "fine-tuned": partial(tuned, train=train, config=config, state=folder / "state.pt"),
    }
    floats = evaluate(network_of(made), test).accuracy
    measure, of = partial(accuracy, data=test), made_from(train, config)
    rows = sweep(fold(made), methods, measure, folder, bits=bits, made_from=of, on_row=click.echo)
    table = markdown(rows, floats)
    (folder / "table.md").write_text(table)
    (folder / "rows.csv").write_text(csv(rows))
    plot(rows, folder / "plot.svg", float_accuracy=floats, title=f"{checkpoint.stem}, 10,000 test images")
    click.echo(table)


@main.command()
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--epochs", default=3, show_default=True, help="Of each fine-tuning.")
def curve(checkpoints: tuple[Path, ...], epochs: int) -> None:
    """Accuracy against connectivity: CHECKPOINTS and their networks of 4 bits, with a scale for each channel."""
    train, test = load("data/mnist")
    formats, measure = Formats(per_channel=True), partial(accuracy, data=test)
    rows = []
    for path in checkpoints:
        click.echo(path.stem)
        made = Checkpoint.load(path)
        network = fold(made)
        folder = made_in(f"curve/{path.stem}", network, epochs)
        config = QatConfig.as_trained(made.config, epochs=epochs)
        tune = partial(tuned, train=train, config=config, state=folder / "state.pt")
        of = made_from(train, config)
        (row,) = sweep(network, {"fine-tuned": tune}, measure, folder, formats=formats, bits=[BITS], made_from=of)
        floats = evaluate(network_of(made), test).accuracy
        rows.append((round(100 * row.connectivity, 1), 100 * floats, 100 * row.accuracy))
    rows.sort(reverse=True)
    lines = ["| connectivity | float | 4 bits |", "| ---: |" + " ---: |" * 2]
    lines += [f"| {connectivity:.1f} % | {floats:.2f} | {integers:.2f} |" for connectivity, floats, integers in rows]
    table = "\n".join(lines) + "\n"
    (OUT / "curve/table.md").write_text(table)
    curves = {"float": [(x, y) for x, y, _ in rows], "4 bits": [(x, y) for x, _, y in rows]}
    labels = {"xlabel": "connectivity, %", "ylabel": "accuracy, %", "title": "10,000 test images"}
    draw(curves, OUT / "curve/plot.svg", logarithmic=True, **labels)
    click.echo(table)


if __name__ == "__main__":
    main()
