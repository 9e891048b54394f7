"""Every committed checkpoint and network has the command that makes it, with the settings that the file holds."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from gradrtl import cli
from gradrtl.commands.options import given_only, words_of
from gradrtl.model.architecture import described, read_description
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import NO_TARGET, TrainConfig
from gradrtl.model.settings import Setting, settings
from gradrtl.quantize.config import QatConfig
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.steps.quantise import default_method, formats_for

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/networks.md").read_text()
CHECKPOINTS = sorted((ROOT / "checkpoints").glob("*.npz"))
NETWORKS = sorted((ROOT / "networks").glob("*.npz"))
STATED = dict(re.findall(r"^\| `([\w-]+)` \| `(gradrtl [^`]*)` \|$", PAGE, re.MULTILINE))
# Networks of several commands: the page that has them, and how many there are.
SEVERAL = {
    "cifar10-150k": (ROOT / "docs/conversion.md", 6),
    "cifar10-50k": (ROOT / "docs/conversion.md", 6),
    "mnist-first-spike": (ROOT / "docs/first-spike.md", 4),
    "mnist-mlp-1pct-converted": (ROOT / "docs/conversion.md", 5),
    "mnist-mlp-2pct-converted": (ROOT / "docs/conversion.md", 5),
}


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a command line, checked as if it were run."""
    name, *words = shlex.split(line)[1:]
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command is not None
    return name, command.make_context(name, words).params


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_a_checkpoint_has_the_settings_of_its_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, given = parsed(STATED[path.stem])
    assert (name, given["out"]) == ("train", Path("build", path.stem))
    made = Checkpoint.load(path)
    shape, known = made.network.input_shape, {one.name for one in settings(TrainConfig)}
    own = given_only({field: value for field, value in given.items() if field in known})
    network = given["layers"] or given["network"] or TrainConfig.network
    own["network"] = read_description(network, shape) if network.endswith(".json") else network
    if own.get("recipe") in NO_TARGET:
        own["connectivity"] = None
    assert TrainConfig(**own) == TrainConfig.from_json(made.config)
    assert described(own["network"])(shape) == made.network


@pytest.mark.parametrize("path", [path for path in NETWORKS if path.stem not in SEVERAL], ids=lambda path: path.stem)
def test_a_network_has_the_settings_of_its_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, given = parsed(STATED[path.stem])
    assert (name, given["output"]) == ("quantize", Path("networks", path.name))
    network, checkpoint = QuantizedNetwork.load(path), Checkpoint.load(given["checkpoint"])
    assert network.notes["checkpoint"]["weights"] == checkpoint.weights_digest
    before, limit = sum(checkpoint.census.living), given["connectivity"]
    if "synapses" in network.notes:
        left = before if limit is None else min(before, int(limit * checkpoint.census.total))
        assert sum(network.notes["synapses"]["trained"]) == left
    asked = {"weight_bits": given["bits"], "membrane_fraction": given["membrane_fraction"]}
    asked |= {field: given[field] for field in ("input_bits", "membrane_bits", "decay_bits")}
    formats = formats_for(checkpoint, per_channel=given["per_channel"], **given_only(asked))
    for field, value in network.notes["formats"].items():
        assert getattr(formats, field) == value, field
    assert ((given["method"] or default_method(checkpoint)) == "qat") == ("qat" in network.notes)
    if "qat" in network.notes:
        fields = {one.name for one in settings(QatConfig)}
        config = QatConfig.as_trained(checkpoint.config, **given_only({f: given[f] for f in fields}))
        for field in fields & network.notes["qat"].keys():
            assert getattr(config, field) == network.notes["qat"][field], field


def test_the_tables_are_those_that_the_program_prints() -> None:
    assert runpy.run_path(str(ROOT / "examples/commands_table.py"))["table"]() in PAGE
    assert STATED.keys() | SEVERAL.keys() == {path.stem for path in (*CHECKPOINTS, *NETWORKS)}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_commands_parse(name: str) -> None:
    """Lines of a shell: `C="..."` gives a name to words, `$C` takes them."""
    page, commands = SEVERAL[name]
    (block,) = (b for b in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
                if f"networks/{name}.npz" in b)  # fmt: skip
    variables: dict[str, str] = {}
    ran = 0
    for line in block.splitlines():
        full = re.sub(r"\$(\w)", lambda found: variables[found[1]], line)
        if found := re.fullmatch(r'(\w)="(.*)"', full):
            variables[found[1]] = found[2]
        elif full.startswith("gradrtl "):
            parsed(full)
            ran += 1
        else:  # a program among the examples
            words = shlex.split(full)
            programme = runpy.run_path(str(ROOT / words[1]))["main"]
            command = programme.get_command(click.Context(programme), words[2])
            command.make_context(words[2], words[3:])
            ran += 1
    assert ran == commands


def test_the_auto_encoder_has_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    import autoencoder

    told = QuantizedNetwork.load(ROOT / "networks/autoencoder/encoder.npz").notes["command"]
    program, name, *words = told.removeprefix("python ").split(" ")
    assert (ROOT / program).is_file()
    given = autoencoder.main.commands[name].make_context(name, words).params
    config = TrainConfig.from_json(Checkpoint.load(ROOT / "networks/autoencoder/floats.npz").config)
    assert (given["connectivity"], given["epochs"], given["seed"]) == (config.connectivity, config.epochs, config.seed)


def another(known: Setting) -> Any:
    """A value of a field that is not its default."""
    choices = known.accepted.choices if known.accepted is not None else ()
    values = {bool: (not known.default,), int: (3, 5), float: (1 / 3, 0.625), str: choices}[known.kind]
    fits = [value for value in values if known.accepted is None or known.accepted.holds(value)]
    return next(value for value in fits if value != known.default)


def test_every_setting_has_an_option_that_reads_back_what_it_writes() -> None:
    known = [one for one in settings(TrainConfig) if one.name != "network"]
    own = {one.name: another(one) for one in known} | {
        "recipe": "gradr-quota",
        "dense": 0.1,
        "rewire": 0.5,
        "epochs": 7,
    }
    config = TrainConfig(**own)
    _, given = parsed(shlex.join(["gradrtl", "train", *words_of(config, leave_out=("network",))]))
    assert TrainConfig(**given_only({one.name: given[one.name] for one in known})) == config
    assert words_of(config, config) == []
    rest = [one.name for one in known if one.name != "flip"]
    assert words_of(TrainConfig(), config, leave_out=[*rest, "network"]) == ["--no-flip"]
