"""The committed checkpoints and the table of recipes: `python -m gradrtl.model.campaign [NAME ...]`.

Runs one training after another; with `--jobs` several side by side, with `--scheduler` on the workers of a Dask
scheduler. It skips complete runs, so it may be interrupted at any time. Each run has a folder under `build/campaign/`
with its `checkpoint.npz`; `table.md` there compares the recipes. Test images are evaluated once, after a run has ended;
settings were chosen on the validation images. CIFAR-10 is read from `build/cifar10`, spoken digits from `build/spoken`;
without them, runs that need them are skipped unless they are named.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from ..cluster import Cluster, run
from ..errors import UserError, require
from ..files import write_bytes
from ..shapes import Pool
from . import sets, spoken
from .checkpoint import Checkpoint
from .config import TrainConfig
from .description import ConvSpec, DenseSpec
from .graph import ConnectionSpec, Graph, InputSpec, NeuronSpec, PopulationSpec, ReadoutSpec
from .held_out import HELD_OUT
from .networks import network_of
from .train import Row, evaluate, train
from .workers import join

OUT = Path("build/campaign")
MNIST = Path("data/mnist")
CIFAR10 = Path("build/cifar10")  # its official binary batches, which are not part of the project
BASE = TrainConfig(precision="bfloat16", held_out=HELD_OUT)
SPARSEST = replace(BASE, rotation=5.0, shift=0.03)  # less augmentation: a network of 1 % underfits with more

SEEDS = (0, 1, 2)

# the networks of checkpoints/, three seeds each
COMMITTED: dict[str, TrainConfig] = {  # fine-tuning to 4 bits removes some more synapses: to 5, 2.3 and 1 %
    "mnist-mlp-5": replace(BASE, epochs=60, connectivity=0.056, margin=20.0, spike_cost=0.02),
    "mnist-mlp-2": replace(BASE, epochs=60, connectivity=0.024, hidden=0.5),
    "mnist-mlp-1": replace(SPARSEST, epochs=60, connectivity=0.0102, hidden=0.3),
}

# convolutional networks
CONVOLUTIONAL: dict[str, TrainConfig] = {
    "mnist-conv-20": replace(
        SPARSEST,
        network="mnist-conv",
        epochs=80,
        dense=0.2,
        rewire=0.5,
        constant=0.35,
        connectivity=0.209,
        lr=3e-3,
    ),
    "mnist-conv-wide-5": replace(BASE, network="mnist-conv-wide", epochs=15, connectivity=0.052, lr=3e-3, rotation=5.0),
    "cifar10-small-20": replace(
        BASE,
        network="cifar10-small",
        epochs=24,
        connectivity=0.205,
        lr=3e-3,
        rotation=0.0,
        shift=0.08,
        flip=True,
        spike_cost=0.01,
    ),
}


def deep_maps(blocks: int, residual: bool) -> Graph:
    """A stem of two convolutions, `blocks` of two, one with stride 2 and an output layer; all maps are 16, T = 4.

    The stem is pooled once: the blocks see 14 x 14 neurons a map.
    """
    return _with_blocks(
        blocks,
        residual,
        convolution=lambda layer, last: ConvSpec(16, stride=(2, 2) if layer == last else (1, 1)),
        pooled=True,
        output=PopulationSpec("output", (ConnectionSpec((f"maps{2 * blocks + 3}",), DenseSpec(10)),)),
        readout=ReadoutSpec("output"),
        steps=4,
    )


def narrow_maps(blocks: int, residual: bool) -> Graph:
    """The same with 8 maps, strides of 2 in the stem, which leave the blocks 7 x 7 neurons a map, and T = 2.

    So few steps have few counts; membranes are read out, summed over the steps.
    """
    leaky = NeuronSpec(reset="none", spiking=False)
    heard = ConnectionSpec((f"maps{2 * blocks + 3}",), DenseSpec(10))
    return _with_blocks(
        blocks,
        residual,
        convolution=lambda layer, last: ConvSpec(8, stride=(2, 2) if layer in (1, 2, last) else (1, 1)),
        pooled=False,
        output=PopulationSpec("output", (heard,), leaky),
        readout=ReadoutSpec("output", "sum"),
        steps=2,
    )


def _with_blocks(
    blocks: int,
    residual: bool,
    convolution: Callable[[int, int], ConvSpec],
    pooled: bool,
    output: PopulationSpec,
    readout: ReadoutSpec,
    steps: int,
) -> Graph:
    """Layer 1 to `last` are convolutions, of which `convolution(layer, last)` is the synapses.

    In a residual network a block's spikes are added to what the block has heard (Fang et al. 2021): what follows
    the stem hears the sum of all blocks before it. In the chain it hears the last one alone.
    """
    last = 2 * blocks + 3
    heard = ConnectionSpec(("image",), convolution(1, last))
    populations = [PopulationSpec("maps1", (heard,), batch_norm=True)]
    for layer in range(2, last + 1):
        first = layer % 2 if residual and layer > 3 else 0  # of a block, or behind the last one
        sources = [f"maps{n}" for n in range(layer - 1, 1 if first else layer - 2, -2)]
        pool = Pool("max", 2) if pooled and layer == 2 else None
        heard = ConnectionSpec(tuple(sources), convolution(layer, last), pool=pool)
        populations.append(PopulationSpec(f"maps{layer}", (heard,), batch_norm=True))
    name = f"{'residual' if residual else 'plain'}-{last + 1}"
    return Graph(name, (InputSpec("image", (1, 28, 28)),), (*populations, output), readout, steps)


# residual networks, and chains of as many synapses: the same but for the spikes that are added
KINDS = ("residual", "plain")
DEEP: dict[str, TrainConfig] = {
    **{
        f"mnist-{kind}12-20": replace(
            SPARSEST,
            network=deep_maps(4, kind == "residual"),
            precision="float32",
            epochs=15,
            batch=256,
            dense=0.2,
            rewire=0.6,
            connectivity=0.2,
            lr=3e-3,
        )
        for kind in KINDS
    },
    **{
        f"mnist-{kind}20-40": replace(
            SPARSEST,
            network=narrow_maps(8, kind == "residual"),
            precision="float32",
            epochs=4,
            dense=0.25,
            rewire=0.5,
            connectivity=0.4,
        )
        for kind in KINDS
    },
}

# MNIST row by row, 28 steps of 28 pixels: a recurrent network with synaptic currents, 250 neurons in all
RECURRENT: dict[str, TrainConfig] = {
    "mnist-rows-20": replace(
        SPARSEST, network="28-R240c-10", precision="float32", epochs=60, dense=0.1, rewire=0.6, connectivity=0.2
    ),
}

# mnist-conv from dense to sparse, in short trainings: percent connectivity
SHORT = replace(SPARSEST, network="mnist-conv", epochs=9, rewire=2 / 3, lr=3e-3)
CURVE = {
    f"mnist-conv-curve-{percent}": replace(SHORT, dense=1 / 3, connectivity=percent / 100)
    for percent in (50, 20, 10, 5)
}
CURVE["mnist-conv-curve-100"] = replace(SHORT, recipe="dense", connectivity=None)

# the comparison of the recipes: all other settings are equal
EPOCHS = 10
COMPARED: dict[str, dict[str, TrainConfig]] = {
    "gradr": {  # alpha is given, and the connectivity is a result
        "alpha0.05": replace(BASE, recipe="gradr", connectivity=None, alpha=0.05),
        "alpha0.1": replace(BASE, recipe="gradr", connectivity=None, alpha=0.1),
        "alpha0.2": replace(SPARSEST, recipe="gradr", connectivity=None, alpha=0.2),
    },
    **{
        recipe: {
            "5": replace(BASE, recipe=recipe, connectivity=0.05),
            "2": replace(BASE, recipe=recipe, connectivity=0.02),
            "1": replace(SPARSEST, recipe=recipe, connectivity=0.01),
        }
        for recipe in ("gradr-quota", "magnitude")
    },
}


def runs() -> dict[str, TrainConfig]:
    """All runs by name, in the order in which they are made."""
    committed = {f"{name}-s{seed}": replace(config, seed=seed) for seed in SEEDS for name, config in COMMITTED.items()}
    once = {f"{name}-s0": config for name, config in (CONVOLUTIONAL | RECURRENT | spoken.TRAININGS | CURVE).items()}
    deep = {f"{name}-s{seed}": replace(config, seed=seed) for name, config in DEEP.items() for seed in SEEDS}
    once["mnist-conv-20-s1"] = replace(CONVOLUTIONAL["mnist-conv-20"], seed=1)  # the better on held-out images is kept
    compared = {
        f"{recipe}-{which}-s{seed}": replace(config, seed=seed, epochs=EPOCHS)
        for seed in SEEDS
        for recipe, settings in COMPARED.items()
        for which, config in settings.items()
    }
    heard = {
        f"{name}-s{seed}": replace(config, seed=seed) for name, config in spoken.COMPARED.items() for seed in SEEDS
    }
    return committed | once | deep | compared | heard


def data_of(name: str, config: TrainConfig) -> Path:
    """The data set of a run."""
    if name.startswith("spoken"):
        return spoken.data_of(name.rpartition("-s")[0])
    return CIFAR10 if str(config.network).startswith("cifar10") else MNIST


@dataclass(frozen=True)
class Training:
    """A run: its configuration, the folder of its images and their digest."""

    name: str
    config: TrainConfig
    images: Path
    data: str


def work(trainings: Sequence[Training]) -> list[tuple[dict[str, Any], bytes]]:
    """Of each training, the figures and the content of the checkpoint's file. The state stays in the run's folder."""
    return [_trained(training) for training in trainings]


def _trained(of: Training) -> tuple[dict[str, Any], bytes]:
    torch.set_num_threads(1)
    device = join("auto").device
    training, test = sets.load(of.images)
    require(training.digest == of.data, f"digest of {of.images}", training.digest[:16], of.data[:16])
    bar = None if threading.current_thread() is threading.main_thread() else False  # a worker of Dask has no terminal
    made = train(
        of.config,
        training,
        OUT / of.name,
        on_epoch=partial(_show, of.name),
        progress=bar,
        command=f"python -m gradrtl.model.campaign {of.name}",
        device=device.type,
    )
    figures = {**made.figures, "test": evaluate(network_of(made).to(device), test, device=device).accuracy}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.npz"
        replace(made, figures=figures).save(file)
        return figures, file.read_bytes()


def _keep(name: str, made: tuple[dict[str, Any], bytes]) -> None:
    write_bytes(OUT / name / "checkpoint.npz", made[1])
    (OUT / name / "resume.pt").unlink(missing_ok=True)
    (OUT / "table.md").write_text(table())


def main(words: list[str]) -> None:
    """Make the runs that are named, or all, then the table of the complete ones."""
    parser = argparse.ArgumentParser(prog="python -m gradrtl.model.campaign", description="Committed checkpoints.")
    parser.add_argument("names", nargs="*", help="runs; without a name, all")
    Cluster.add_arguments(parser)
    given = parser.parse_args(words)
    alone = given.jobs is None and given.scheduler is None  # a training uses what there is, a GPU for example
    cluster = Cluster(1) if alone else Cluster.of(given)
    everything = runs()
    for name in given.names:
        require(name in everything, "run", name, ", ".join(everything))
    digest = cache(lambda images: sets.load(images)[0].digest)
    todo = {}
    for name in given.names or everything:
        if (OUT / name / "checkpoint.npz").exists():
            continue
        config = everything[name]
        images = data_of(name, config)
        if not given.names and not images.exists():
            print(f"{name}: left out, there is no {images}", flush=True)
            continue
        todo[name] = Training(name, config, images, digest(images))
    for name, (figures, _) in run(work, todo, cluster, keep=_keep, say=print):
        print(name, json.dumps(figures), flush=True)


def _show(name: str, row: Row) -> None:
    print(
        f"{name} epoch {row['epoch']:3}  loss {row['loss']:.5f}  validation {100 * row['validation']:.2f} %", flush=True
    )


def table() -> str:
    """Markdown table of the finished runs of the comparison: mean and standard deviation over the seeds."""
    lines = [
        "| recipe | setting | connectivity | without dead neurons | validation | test | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for recipe, settings in COMPARED.items():
        for which in settings:
            paths = [OUT / f"{recipe}-{which}-s{seed}" / "checkpoint.npz" for seed in SEEDS]
            done = [Checkpoint.load(path).figures for path in paths if path.exists()]
            if done:
                columns = [
                    _spread([100 * figures[key] for figures in done])
                    for key in ("connectivity", "useful_connectivity", "validation", "test")
                ]
                lines.append(f"| {recipe} | {which} | {' | '.join(columns)} | {len(done)} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f} %"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} %"


if __name__ == "__main__":
    from gradrtl.model import campaign  # by its name, by which workers import it

    try:
        campaign.main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
