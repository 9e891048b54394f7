"""A hybrid auto-encoder: a sparse spiking encoder in hardware, and a decoder of two layers on the host.

    python examples/autoencoder.py train          # Grad R, then integers; the decoder learns along in both
    python examples/autoencoder.py compare        # errors beside a float auto-encoder and principal components
    python examples/autoencoder.py show           # compile, prove, reconstruct from the RTL's own spikes, draw

After Skatchkovsky, Simeone and Jang, "Learning to Time-Decode in Spiking Neural Networks Through the Information
Bottleneck" (NeurIPS 2021): spikes are the code, an ordinary network reads them. Here the encoder is trained with
surrogate gradients. The packet of a frame says how often each neuron of the code has spiked.

Errors are mean squared differences of pixels, which are 0 to 1. Settings were chosen on held-out training images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradrtl import archive
from gradrtl.checks import fields, whole
from gradrtl.cli import OneLine
from gradrtl.errors import require
from gradrtl.model.augment import Augment
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset, load, split
from gradrtl.model.description import DenseSpec, FloatNeuron, LayerSpec, Network
from gradrtl.model.networks import arrays_of, module_of
from gradrtl.model.recipes import KINDS, Recipe
from gradrtl.model.train import activity, batches, learning_rate
from gradrtl.quantize.fold import fold
from gradrtl.quantize.integer_module import IntegerNetwork
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.ptq import weight_scales
from gradrtl.quantize.rounding import Formats
from gradrtl.sim import engine, generated
from gradrtl.sim.outcome import Outcome
from gradrtl.sim.verify import verify
from gradrtl.sim.verilated import build
from gradrtl.steps.place import Wanted, place, with_rates

COMMITTED = Path("networks/autoencoder")
ENCODER, DECODER, FLOATS = "encoder.npz", "decoder.npz", "floats.npz"
KIND = "decoder"
BITS = 4  # of a weight
FEW = 100  # images for which quick compilation pays
LR, TUNING_LR, PLAIN_LR = 4e-3, 1e-3, 1e-3
COUNTS = FloatNeuron("if", reset="soft")  # fires as often as its sum is large: what it says is a number


@dataclass(frozen=True)
class Decoder:
    """The half on the host: spike counts `[n, code]` over `steps` -> pixels `[n, pixels]`, 0 to 1, in NumPy alone.

    `arrays`: float32 `weight0` `[hidden, code]`, `bias0`, `weight1` `[pixels, hidden]`, `bias1`.
    """

    steps: int
    arrays: dict[str, np.ndarray]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        x = (counts / self.steps).astype(np.float32) @ self.arrays["weight0"].T + self.arrays["bias0"]
        x = np.maximum(x, 0) @ self.arrays["weight1"].T + self.arrays["bias1"]
        return 1 / (1 + np.exp(-x))

    def save(self, path: Path) -> None:
        archive.save(path, KIND, {"steps": self.steps}, self.arrays)

    @staticmethod
    def load(path: Path) -> Decoder:
        """Read a decoder; `UserError` if the file is not one."""

        def read(header: dict[str, Any], claims: archive.Claims) -> int:
            shapes = {name: claim.shape for name, claim in claims.items() if claim.dtype == np.float32}
            known = shapes.keys() == claims.keys() == {"weight0", "bias0", "weight1", "bias1"}
            require(known, "decoder arrays", ", ".join(sorted(claims)), "two weights and two biases, float32")
            fits = all(
                len(shapes[f"weight{n}"]) == 2 and shapes[f"bias{n}"] == shapes[f"weight{n}"][:1] for n in (0, 1)
            )
            fits = fits and shapes["weight1"][1:] == shapes["bias0"]
            require(fits, "decoder shapes", shapes, "[hidden, code], [hidden], [pixels, hidden], [pixels]")
            return whole("steps", fields("header", header, ("steps",))["steps"], 1, 1 << 16)

        steps, arrays = archive.load(path, KIND, read)
        return Decoder(steps, arrays)


def decoder_module(code: int, hidden: int, pixels: int) -> nn.Sequential:
    """The same to be trained: rates `[n, code]`, 0 to 1, -> pixels."""
    return nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.Sigmoid())


def decoder_of(module: nn.Sequential, steps: int) -> Decoder:
    """What `module` has learnt."""
    own = {name: values.detach().numpy().copy() for name, values in module.state_dict().items()}
    names = {"0.weight": "weight0", "0.bias": "bias0", "2.weight": "weight1", "2.bias": "bias1"}
    return Decoder(steps, {names[name]: values for name, values in own.items()})


Rates = Callable[[Tensor], tuple[Tensor, list[Tensor]]]  # images -> code `[n, code]`, and firing rates of all layers


def pixels_of(images: Tensor) -> Tensor:
    return images.flatten(1).float() / 255


def one_epoch(
    encode: Rates, decoder: nn.Module, data: Dataset, config: TrainConfig, epoch: int,
    optimizer: torch.optim.Optimizer, rate_at: Callable[[int], float], after: Callable[[int], None],
) -> None:  # fmt: skip
    """Make the squared error of the pixels small, and the firing rates of hidden neurons at `spike_cost`.

    `rate_at(step)` is a factor on the learning rates that the optimiser began with; `after(step)` follows each step.
    """
    augment, per_epoch = Augment(config.rotation, config.shift), len(data) // config.batch
    drawn = batches(data, config.batch, augment, config.seed, epoch)
    for step, (images, _) in enumerate(drawn, start=epoch * per_epoch):
        for group in optimizer.param_groups:
            group.setdefault("first_lr", group["lr"])
            group["lr"] = group["first_lr"] * rate_at(step)
        code, layers = encode(images)
        loss = functional.mse_loss(decoder(code), pixels_of(images))
        if config.spike_cost:
            loss = loss + config.spike_cost * activity(layers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after(step)


@torch.no_grad()
def error_of(encode: Rates, decoder: nn.Module, data: Dataset) -> float:
    """Mean squared error of the pixels."""
    total = 0.0
    for first in range(0, len(data), 500):
        images = torch.from_numpy(data.images[first : first + 500])
        total += float(functional.mse_loss(decoder(encode(images)[0]), pixels_of(images))) * len(images)
    return total / len(data)


def train_floats(config: TrainConfig, hidden: int, data: Dataset, command: str) -> tuple[Checkpoint, nn.Sequential]:
    """The sparse encoder in floats, and its decoder: a dense phase, Grad R, then a fixed mask, as for a classifier."""
    torch.manual_seed(config.seed)
    training, held_out = split(data, config.held_out)
    description = config.description(data.shape)
    network, per_epoch = module_of(description), len(training) // config.batch
    decoder = decoder_module(description.classes, hidden, int(np.prod(data.shape)))
    recipe, optimizer = Recipe(network, config), _adam(config, network, decoder)
    history: list[dict[str, Any]] = []

    def encode(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return network(images, layer_rates=True)

    def rate_at(step: int) -> float:
        return learning_rate(step, config.constant_epochs * per_epoch, config.epochs * per_epoch)

    first, last = config.sparse_from * per_epoch, config.frozen_from * per_epoch

    def rewire(step: int) -> None:
        if first <= step < last:
            recipe.after_step(step + 1 - first, last - first)

    for epoch in range(config.epochs):
        if epoch in (0, config.sparse_from, config.frozen_from):
            if epoch == config.sparse_from:
                recipe = KINDS[config.recipe](network, config)
            if epoch == config.frozen_from:
                recipe.freeze()
            optimizer = _adam(config, network, decoder)
            if epoch == config.sparse_from:
                recipe.attach(optimizer)
        network.train()
        one_epoch(encode, decoder, training, config, epoch, optimizer, rate_at, rewire)
        network.eval()
        history.append({"epoch": epoch + 1, "error": error_of(encode, decoder, held_out)})
        click.echo(f"epoch {epoch + 1:3}  error {history[-1]['error']:.5f}  {100 * recipe.connectivity:.1f} %")
    figures = {"error": history[-1]["error"], "connectivity": recipe.connectivity}
    made_from = {"data": data.digest, "torch": torch.__version__}
    return Checkpoint(description, arrays_of(network), config.to_json(), history, figures, command, made_from), decoder


def _adam(config: TrainConfig, *modules: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        [parameter for module in modules for parameter in module.parameters()], lr=config.lr, fused=True
    )


def fine_tuned(
    checkpoint: Checkpoint, decoder: nn.Sequential, epochs: int, data: Dataset
) -> tuple[QuantizedNetwork, Decoder, float]:
    """The integers of the encoder, trained on together with the decoder, which learns to read them. The best epoch."""
    config = TrainConfig.from_json(checkpoint.config)
    training, held_out = split(data, config.held_out)
    floats = fold(checkpoint)
    module = IntegerNetwork(floats, Formats(weight_bits=BITS), weight_scales(floats, Formats(weight_bits=BITS)))
    optimizer = torch.optim.Adam([*module.parameters(), *decoder.parameters()], lr=TUNING_LR, fused=True)
    total = epochs * (len(training) // config.batch)

    def encode(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return module(images, layer_rates=True)

    def found(error: float) -> tuple[QuantizedNetwork, Decoder, float]:
        module.check()
        notes = {"autoencoder": {"error": error, "tuned": epochs, "data": data.digest}}
        return module.export(notes), decoder_of(decoder, floats.steps), error

    best = found(error_of(encode, decoder, held_out))
    click.echo(f"integers of {BITS} bits  error {best[2]:.5f}")
    for epoch in range(epochs):
        one_epoch(
            encode,
            decoder,
            training,
            config,
            epoch,
            optimizer,
            lambda step: learning_rate(step, 0, total),
            lambda _: None,
        )
        error = error_of(encode, decoder, held_out)
        click.echo(f"fine-tuning, epoch {epoch + 1:3}  error {error:.5f}")
        if error <= best[2]:
            best = found(error)
    return best


def decoded(network: QuantizedNetwork, decoder: Decoder, data: Dataset) -> np.ndarray:
    """Pixels `[n, pixels]` of the counts that the simulator finds."""
    return decoder(engine.run(network, data.frames).counts)


def squared(pixels: np.ndarray, data: Dataset) -> float:
    return float(np.square(pixels - data.frames.astype(np.float32) / 255).mean())


def components(data: Dataset, count: int) -> Callable[[np.ndarray], np.ndarray]:
    """Frames -> their nearest images in the space of the first principal components of `data`, cut to 0 to 1."""
    x = data.frames.astype(np.float64) / 255
    mean = x.mean(axis=0)
    axes = np.linalg.eigh(np.cov(x.T))[1][:, ::-1][:, :count]
    return lambda frames: ((frames / 255 - mean) @ axes @ axes.T + mean).clip(0, 1)


def train_plain(config: TrainConfig, width: int, hidden: int, data: Dataset) -> tuple[Rates, nn.Sequential]:
    """The same with an encoder of floats, all connections, and a code of any real numbers."""
    torch.manual_seed(config.seed)
    training, _ = split(data, config.held_out)
    pixels, code = int(np.prod(data.shape)), config.description(data.shape).classes
    encoder = nn.Sequential(nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, code))
    decoder = decoder_module(code, hidden, pixels)
    optimizer, total = (
        _adam(replace(config, lr=PLAIN_LR), encoder, decoder),
        len(training) // config.batch * config.epochs,
    )

    def encode(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return encoder(pixels_of(images)), []

    own = replace(config, spike_cost=0.0)
    for epoch in range(config.epochs):
        one_epoch(
            encode, decoder, training, own, epoch, optimizer, lambda step: learning_rate(step, 0, total), lambda _: None
        )
    return encode, decoder


def picture(data: Dataset, spikes: np.ndarray, pixels: np.ndarray, path: Path) -> None:
    """Images, the spikes of the code `[n, steps, code]`, and the decoded pixels: a column for each image."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count, shape = len(data), data.shape[1:]
    rows = {
        "image": [*data.images[:, 0]],
        "spikes": [*spikes],
        "decoded": [*pixels.reshape(count, *data.shape)[:, 0]],
    }
    figure, axes = pyplot.subplots(
        len(rows), count, figsize=(0.8 * count, 2.2), layout="constrained", squeeze=False,
        gridspec_kw={"height_ratios": [1, spikes.shape[1] / spikes.shape[2] * shape[1] / shape[0] + 0.2, 1]},
    )  # fmt: skip
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for panel, image in zip(line, images, strict=True):
            panel.imshow(image, cmap="gray_r", interpolation="nearest", aspect="equal", vmin=0)
            panel.set_xticks([])
            panel.set_yticks([])
        line[0].set_ylabel(name, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


@click.group(cls=OneLine)
def main() -> None:
    """A sparse spiking encoder in hardware, and a decoder on the host."""
    torch.set_num_threads(1)


folder_option = click.option(
    "--from", "folder", default=COMMITTED, type=click.Path(path_type=Path), help="What `train` wrote."
)
data_option = click.option(
    "--data", default="data/mnist", type=click.Path(path_type=Path), help="Folder of the data set."
)


@main.command()
@click.option("--width", default=256, show_default=True, help="Hidden neurons of the encoder.")
@click.option("--code", default=32, show_default=True, help="Neurons of the code.")
@click.option("--steps", default=8, show_default=True, help="Time steps T.")
@click.option("--hidden", default=128, show_default=True, help="Hidden neurons of the decoder.")
@click.option("--connectivity", default=0.1, show_default=True, help="Fraction of the encoder's weights that remain.")
@click.option("--epochs", default=40, show_default=True, help="In floats.")
@click.option("--tune", default=10, show_default=True, help="Epochs of the integers.")
@click.option("--seed", default=0, show_default=True)
@data_option
@click.option(
    "--out", default=Path("build/autoencoder"), type=click.Path(path_type=Path), help="Folder of the results."
)
def train(
    width: int, code: int, steps: int, hidden: int, connectivity: float, epochs: int, tune: int, seed: int, data: Path,
    out: Path,
) -> None:  # fmt: skip
    """Train encoder and decoder; writes OUT/encoder.npz, OUT/decoder.npz and the encoder in floats."""
    training, _ = load(data)
    layers = LayerSpec(DenseSpec(width, bias=True), COUNTS), LayerSpec(DenseSpec(code, bias=True), COUNTS)
    config = TrainConfig(
        network=Network("autoencoder", training.shape, layers, steps), connectivity=connectivity, epochs=epochs,
        dense=0.2, lr=LR, margin=20.0, rotation=0.0, shift=0.0, seed=seed,
    ).for_images(len(training))  # fmt: skip
    given = {"width": width, "code": code, "steps": steps, "hidden": hidden, "connectivity": connectivity}
    given |= {"epochs": epochs, "tune": tune, "seed": seed}
    command = " ".join(
        ["python examples/autoencoder.py train", *(f"--{name} {value}" for name, value in given.items())]
    )
    checkpoint, module = train_floats(config, hidden, training, command)
    checkpoint.save(out / FLOATS)
    network, decoder, error = fine_tuned(checkpoint, module, tune, training)
    network = replace(with_rates(network, training.frames), notes={**network.notes, "command": command})
    network.save(out / ENCODER)
    decoder.save(out / DECODER)
    kept = 100 * network.connectivity
    click.echo(f"wrote {out}: {network.connected} synapses ({kept:.2f} %), held-out error {error:.5f}")


@main.command()
@folder_option
@data_option
@click.option("--test", is_flag=True, help="On the test images too.")
def compare(folder: Path, data: Path, test: bool) -> None:
    """Errors of the integers, of a float auto-encoder with as many numbers in its code, and of as many components.

    On the images that were held out of training. A line of a table for each.
    """
    network, decoder = QuantizedNetwork.load(folder / ENCODER), Decoder.load(folder / DECODER)
    training, own = load(data)
    config = TrainConfig.from_json(Checkpoint.load(folder / FLOATS).config)
    some, held_out = split(training, config.held_out)
    encode, module = train_plain(config, network.layers[0].neurons, len(decoder.arrays["bias0"]), training)
    code, connectivity = network.classes, 100 * network.connectivity
    mean, axes = components(some, 0), components(some, code)
    rows: dict[str, Callable[[Dataset], float]] = {
        "mean image": lambda seen: squared(mean(seen.frames), seen),
        f"{code} principal components": lambda seen: squared(axes(seen.frames), seen),
        f"float auto-encoder, dense, a code of {code} real numbers": lambda seen: error_of(encode, module, seen),
        f"{code} spike counts of T = {network.steps}, {connectivity:.1f} %, {BITS} bits": lambda seen: squared(
            decoded(network, decoder, seen), seen
        ),
    }
    sets = {"held-out images": held_out} | ({"test images": own} if test else {})
    click.echo(f"| error | {' | '.join(sets)} |\n| --- |{' ---: |' * len(sets)}")
    for name, error in rows.items():
        click.echo(f"| {name} | {' | '.join(f'{error(seen):.5f}' for seen in sets.values())} |")


@main.command()
@folder_option
@data_option
@click.option("--images", default=1000, show_default=True, help="Test images, the first ones.")
@click.option("--picture", "path", type=click.Path(path_type=Path), help="Draw the first image of each class: .png.")
def show(folder: Path, data: Path, images: int, path: Path | None) -> None:
    """Prove the compiled encoder, and decode the spikes that it gives: the same images as from the simulator."""
    network, decoder = QuantizedNetwork.load(folder / ENCODER), Decoder.load(folder / DECODER)
    test = load(data)[1][:images]
    mapping = place(network, Wanted())
    verilog = generated.verilog(mapping, "examples/autoencoder.py show")
    model = build(verilog, mapping, quick=images <= FEW)
    proof = verify(mapping, verilog, test.frames, model=model)
    click.echo(str(proof))
    rtl = model.run(test.frames, trace=True)
    simulated = engine.run(network, test.frames, trace=True)
    same, told = agree(rtl, simulated, decoder)
    click.echo(told)
    error, spikes = squared(decoder(rtl.counts), test), rtl.counts.sum() / len(test)
    click.echo(f"error of the decoded spikes {error:.5f}, {spikes:.1f} spikes of the code per frame")
    if path is not None:
        assert rtl.trace is not None
        chosen = np.array([int((test.labels == label).argmax()) for label in np.unique(test.labels)])
        shown = Dataset(test.images[chosen], test.labels[chosen])
        picture(shown, rtl.trace.spikes[-1][chosen], decoder(rtl.counts)[chosen], path)
        click.echo(f"wrote {path}")
    raise SystemExit(0 if proof.passed and same else 1)


def agree(rtl: Outcome, simulated: Outcome, decoder: Decoder) -> tuple[bool, str]:
    """Whether two outcomes with traces have the same code, spike by spike, and give the same pixels; and that in words.

    The counts of each packet also have to be those of the spikes in the trace.
    """
    assert rtl.trace is not None
    assert simulated.trace is not None
    ours, theirs = rtl.trace.spikes[-1], simulated.trace.spikes[-1]
    wrong = int((ours != theirs).sum())
    miscounted = int((ours.sum(axis=1) != rtl.counts).sum()) + int((rtl.counts != simulated.counts).sum())
    pixels = decoder(rtl.counts), decoder(simulated.counts)
    differ = int((pixels[0] != pixels[1]).sum())
    told = (
        f"code: {wrong} of {ours.size} spikes differ, {miscounted} counts; decoded: {differ} of {pixels[0].size} pixels"
    )
    return wrong + miscounted + differ == 0, told


if __name__ == "__main__":
    main()
