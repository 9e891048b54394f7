"""The campaign: its runs are valid and comparable, the committed checkpoints are what they say they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_commands_training import write

from gradrtl.errors import UserError
from gradrtl.model import campaign
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.graph import Graph

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
TRAINED_ALONE = ("mnist-first-spike-s0",)  # not by the campaign


def test_only_recipe_and_seed_differ_in_the_comparison() -> None:
    runs = campaign.runs()
    for percent in ("5", "2", "1"):
        for seed in campaign.SEEDS:
            ours, baseline = (runs[f"{recipe}-{percent}-s{seed}"] for recipe in ("gradr-quota", "magnitude"))
            assert replace(ours, recipe="magnitude") == baseline
            assert (ours.seed, ours.epochs) == (seed, campaign.EPOCHS)


@pytest.mark.parametrize("path", sorted(CHECKPOINTS.glob("*.npz")), ids=lambda path: path.stem)
def test_committed(path: Path) -> None:
    checkpoint = Checkpoint.load(path)
    if path.stem in TRAINED_ALONE:  # by a command of docs/networks.md: tests/test_committed.py
        assert checkpoint.command.startswith("gradrtl train ")
    else:
        assert checkpoint.command == f"python -m gradrtl.model.campaign {path.stem}"
        assert TrainConfig.from_json(checkpoint.config) == campaign.runs()[path.stem]
    assert checkpoint.census.connectivity == checkpoint.figures["connectivity"]
    assert checkpoint.census.useful_connectivity == checkpoint.figures["useful_connectivity"]
    assert len(checkpoint.history) == checkpoint.config["epochs"]


@pytest.mark.parametrize(("layers", "percent"), [(12, 20), (20, 40)])
def test_residual_and_plain_differ_in_what_is_added_alone(layers: int, percent: int) -> None:
    residual, plain = (campaign.DEEP[f"mnist-{kind}{layers}-{percent}"] for kind in campaign.KINDS)
    assert replace(residual, network=plain.network) == plain
    assert isinstance(residual.network, Graph)
    assert isinstance(plain.network, Graph)
    assert residual.network.weight_shapes == plain.network.weight_shapes
    added = [population.inputs[0].sources for population in residual.network.populations]
    assert [sources[:1] for sources in added] == [
        population.inputs[0].sources for population in plain.network.populations
    ]
    assert len(added) == layers
    assert [len(sources) for sources in added[4::2]] == list(range(2, layers // 2))
    assert all(len(sources) == 1 for sources in added[:4] + added[5::2])
    assert added[4] == ("maps4", "maps2")


def test_the_maps_of_a_deep_network_become_small_in_its_stem() -> None:
    wide, narrow = (campaign.DEEP[f"mnist-residual{which}"].network for which in ("12-20", "20-40"))
    assert isinstance(wide, Graph)
    assert isinstance(narrow, Graph)
    assert [wide.shapes[f"maps{layer}"] for layer in (1, 2, 10, 11)] == [
        (16, 28, 28), (16, 14, 14), (16, 14, 14), (16, 7, 7)
    ]  # fmt: skip
    assert [narrow.shapes[f"maps{layer}"] for layer in (1, 2, 18, 19)] == [
        (8, 14, 14), (8, 7, 7), (8, 7, 7), (8, 4, 4)
    ]  # fmt: skip
    assert [(network.steps, network.readout.kind) for network in (wide, narrow)] == [(4, "count"), (2, "sum")]


def test_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "OUT", tmp_path)
    some = Checkpoint.load(CHECKPOINTS / "mnist-mlp-5-s0.npz")
    for seed, test in ((0, 0.98), (1, 0.984)):
        figures = {"connectivity": 0.02, "useful_connectivity": 0.019, "validation": 0.985, "test": test}
        replace(some, figures=figures).save(tmp_path / f"magnitude-2-s{seed}" / "checkpoint.npz")
    last = campaign.table().splitlines()[-1]
    deviation = np.std([98.0, 98.4], ddof=1)
    expected = f"2.00 ± 0.00 % | 1.90 ± 0.00 % | 98.50 ± 0.00 % | 98.20 ± {deviation:.2f} % | 2 |"
    assert last == f"| magnitude | 2 | {expected}"


def test_unknown_run() -> None:
    with pytest.raises(UserError, match="run is best"):
        campaign.main(["best"])


def test_images_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    config = campaign.CONVOLUTIONAL["cifar10-small-20"]
    monkeypatch.setattr(campaign, "OUT", tmp_path)
    monkeypatch.setattr(campaign, "CIFAR10", tmp_path / "cifar10")
    monkeypatch.setattr(campaign, "runs", lambda: {"one": config})
    campaign.main([])
    assert capsys.readouterr().out == f"one: left out, there is no {tmp_path / 'cifar10'}\n"
    with pytest.raises(UserError, match="data folder"):
        campaign.main(["one"])


@pytest.mark.slow
def test_two_workers_make_the_checkpoints_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = TrainConfig(network="30-8-4", epochs=2, batch=10, held_out=20)
    monkeypatch.setattr(campaign, "runs", lambda: {f"small-s{seed}": replace(small, seed=seed) for seed in (0, 1)})
    found = []
    for jobs in ("1", "2"):
        folder = tmp_path / jobs
        (folder / "data").mkdir(parents=True)
        write(folder / "data/mnist", images=100)
        monkeypatch.chdir(folder)
        campaign.main(["--jobs", jobs])
        names = {path.name for path in (folder / "build/campaign/small-s1").iterdir()}
        assert names == {"checkpoint.npz"}, "the state of a complete run is removed"
        found.append([Checkpoint.load(path) for path in sorted(folder.glob("build/campaign/*/checkpoint.npz"))])
    for one, two in zip(*found, strict=True):
        assert one.arrays.keys() == two.arrays.keys()
        assert all((one.arrays[name] == two.arrays[name]).all() for name in one.arrays)
        assert one.figures | {"seconds": 0} == two.figures | {"seconds": 0}
        assert one.command == two.command == f"python -m gradrtl.model.campaign small-s{one.config['seed']}"
    campaign.main([])  # there is nothing left to run
    task = campaign.Training("small-s0", small, Path("data/mnist"), "another")
    with pytest.raises(UserError, match=r"digest of data/mnist is .*, expected another"):
        campaign.work([task])
