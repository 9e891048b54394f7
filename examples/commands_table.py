"""The commands that make the committed checkpoints and networks, from the settings that each file holds.

    python examples/commands_table.py            # print
    python examples/commands_table.py --write    # write it into docs/networks.md, between its markers

A file of layers is written beside the committed ones for each checkpoint of a graph: `examples/NAME.json`.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click

from gradrtl.commands.options import words_of
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.quantize.config import QatConfig
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.rounding import Formats
from gradrtl.steps.quantise import default_method

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/networks.md"
BEGIN, END = "<!-- commands: begin -->", "<!-- commands: end -->"
CONVERTED_MLPS = "conversion.md#mnist-784-800-10-at-2-and-1-per-cent"
ELSEWHERE = {  # made by several commands
    "cifar10-150k": "conversion.md#cifar-10",
    "cifar10-50k": "conversion.md#cifar-10",
    "mnist-first-spike": "first-spike.md#a-network",
    "mnist-mlp-1pct-converted": CONVERTED_MLPS,
    "mnist-mlp-2pct-converted": CONVERTED_MLPS,
}
# `--connectivity` of older files, which do not tell it
LIMITS = {"mnist-conv-20pct": 0.2, "mnist-conv-wide-5pct": 0.05}
DATA = {"cifar10-small-20-s0": "build/cifar10", "spoken-10-s0": "build/spoken/all.npz"}  # of what is not MNIST


def description_file(name: str) -> Path:
    """The layers of a checkpoint that is a graph of its own; a seed is not among them."""
    return Path("examples") / f"{name.rpartition('-s')[0]}.json"


def training(name: str, checkpoint: Checkpoint) -> str:
    """The command that trains a checkpoint."""
    config = TrainConfig.from_json(checkpoint.config)
    network: list[str] = []
    if not isinstance(config.network, str):
        network = ["--network", str(description_file(name))]
    elif config.network != TrainConfig.network:
        network = ["--layers" if config.network[0].isdecimal() else "--network", config.network]
    data = ["--data", DATA[name]] if name in DATA else []
    own = words_of(config, leave_out=("network",))
    return shlex.join(["gradrtl", "train", *network, *own, *data, "--out", f"build/{name}"])


def quantisation(network: QuantizedNetwork, name: str, checkpoints: dict[str, Checkpoint], output: str) -> str:
    """The command that makes a network from one of `checkpoints`."""
    told = network.notes.get("command")
    if told is not None:
        return f"{told} -o {output}"
    weights = network.notes["checkpoint"]["weights"]
    of, checkpoint = next((of, one) for of, one in checkpoints.items() if one.weights_digest == weights)
    formats: dict[str, Any] = network.notes["formats"]
    words = ["--bits" if field == "weight_bits" else f"--{field.replace('_', '-')}" for field in formats]
    usual = {field: getattr(Formats(), field) for field in formats}
    own: list[str] = []
    for word, (field, value) in zip(words, formats.items(), strict=True):
        if value != usual[field]:
            own += [word] if value is True else [word, str(value)]
    tuned = network.notes["qat"]
    config = QatConfig(**{field: tuned[field] for field in QatConfig.__dataclass_fields__ if field in tuned})
    assert default_method(checkpoint) == "qat"
    own += ["--connectivity", str(LIMITS[name])] if name in LIMITS else []
    own += words_of(config, QatConfig.as_trained(checkpoint.config))
    data = ["--data", DATA[of]] if of in DATA else []
    return shlex.join(["gradrtl", "quantize", f"checkpoints/{of}.npz", *own, *data, "-o", output])


def files() -> tuple[dict[str, Checkpoint], dict[str, QuantizedNetwork]]:
    """All committed checkpoints and networks by name; those of the auto-encoder have a page of their own."""
    checkpoints = {path.stem: Checkpoint.load(path) for path in sorted((ROOT / "checkpoints").glob("*.npz"))}
    return checkpoints, {path.stem: QuantizedNetwork.load(path) for path in sorted((ROOT / "networks").glob("*.npz"))}


def table() -> str:
    """Both tables, in Markdown."""
    checkpoints, networks = files()
    lines = ["| checkpoint | command |", "| --- | --- |"]
    lines += [f"| `{name}` | `{training(name, one)}` |" for name, one in checkpoints.items()]
    lines += ["", "| network | command |", "| --- | --- |"]
    for name, network in networks.items():
        made = quantisation(network, name, checkpoints, f"networks/{name}.npz") if name not in ELSEWHERE else ""
        lines.append(f"| `{name}` | {f'`{made}`' if made else f'[several]({ELSEWHERE[name]})'} |")
    return "\n".join(lines)


@click.command()
@click.option("--write", is_flag=True, help="Write the tables into the page, and the files of layers.")
def main(write: bool) -> None:
    """Print the commands of the committed files."""
    found = table()
    click.echo(found)
    if not write:
        return
    text = PAGE.read_text()
    PAGE.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{found}\n{END}", text, flags=re.DOTALL))
    for name, checkpoint in files()[0].items():
        config = TrainConfig.from_json(checkpoint.config)
        if not isinstance(config.network, str):
            (ROOT / description_file(name)).write_text(json.dumps(config.network.to_json(), indent=1) + "\n")


if __name__ == "__main__":
    main()
