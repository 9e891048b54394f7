"""The sweep: one row a point, nothing measured twice, a front that nothing beats."""

from __future__ import annotations

import csv
import gzip
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import float_networks
import pytest
from click.testing import CliRunner
from kills import images_and_checkpoint

from gradrtl import cli
from gradrtl.errors import UserError
from gradrtl.locks import hold
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import load
from gradrtl.model.description import DenseSpec, LayerSpec, Network
from gradrtl.sim import engine
from gradrtl.sim.measure import measure
from gradrtl.steps import explore as steps
from gradrtl.steps.explore import Named, Point, Sweep, explored, front
from gradrtl.steps.frames import frames_for
from gradrtl.steps.place import Wanted, place, with_rates
from gradrtl.steps.quantise import formats_for, quantise

ROOT = Path(__file__).parents[1]
POINT = Point("a.npz", "0123", 0.01, 4, "16,auto", 4, 100, accuracy=0.97, cycles=7.0, memory_bits=250, made_from="9")


def explore(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.main, ["explore", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_front_holds_what_nothing_beats():
    faster = replace(POINT, pe="32,auto", cycles=5.0, memory_bits=300)
    better = replace(POINT, bits=8, accuracy=0.98, memory_bits=400)
    worse = replace(POINT, bits=3, accuracy=0.96)
    equal = replace(POINT, checkpoint="b.npz")
    assert front([POINT, faster, better, worse, equal]) == [POINT, faster, better, equal]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_sweep_resumes_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = str(ROOT / "checkpoints/mnist-mlp-1-s0.npz")
    words = [checkpoint, "--bits", "4", "--images", "20", "--jobs", "1", "--data", str(ROOT / "data/mnist")]
    assert "1 of 1 points on the front" in explore(*words, "--pe", "8,2", "--out", "one")
    [point] = table(Path("one"))
    assert float(point["accuracy"]) > 0.9
    assert Path("one/pareto.svg").is_file()
    with monkeypatch.context() as patched:
        patched.setattr(steps, "explored", None)  # a second run has nothing to measure, whatever its folder holds
        told = explore(*words, "--pe", "8,2", "--out", "two", "--verbose")
        assert told.count("from the cache: build/cache/point-") == 1
        Path("one/points.csv").write_text(Path("one/points.csv").read_text().replace(point["cycles"], "1.0"))
        explore(*words, "--pe", "8,2", "--pe", "08, 2", "--out", "one")
    assert table(Path("one")) == table(Path("two")) == [point]
    explore(*words, "--pe", "4,2", "--pe", "8,2", "--out", "one")
    assert table(Path("one"))[1] == point, "the table holds what was asked for, sorted"
    monkeypatch.setattr(steps, "sources", lambda *names: "edited")
    with monkeypatch.context() as patched:
        patched.setattr(steps, "explored", None)
        with pytest.raises(TypeError):  # figures of other sources do not count: it would measure again
            CliRunner().invoke(cli.main, ["explore", *words, "--pe", "8,2", "--out", "one"], catch_exceptions=False)
    explore(*words, "--pe", "8,2", "--out", "one")
    [again] = table(Path("one"))
    assert again["made_from"] != point["made_from"]
    assert again | {"made_from": point["made_from"]} == point


def test_what_points_depend_on(tmp_path, monkeypatch):
    """Sources, libraries and the files of the one set that is named, as docs/own-images.md says, of a folder."""
    images_and_checkpoint(tmp_path)
    (tmp_path / "several").mkdir()
    for name in ("one", "other"):
        for path in (tmp_path / "data").iterdir():
            shutil.copy(path, tmp_path / "several" / f"{name}-{path.name}")
    folder = tmp_path / "several/one"
    before = steps.made_from(folder)
    (tmp_path / "several/notes.txt").write_text("not read")
    assert steps.made_from(folder) == before
    for what, edited in (("sources", "edited"), ("libraries", {"numpy": "1.0"})):
        with monkeypatch.context() as patched:
            patched.setattr(steps, what, lambda *names, edited=edited: edited)
            assert steps.made_from(folder) != before
    for name in ("other", "one"):
        [labels] = (tmp_path / "several").glob(f"{name}-train-labels*")
        labels.write_bytes(labels.read_bytes()[:8] + bytes(300))
        assert (steps.made_from(folder) == before) == (name == "other")


def test_a_design_that_cannot_be_built_ends_nothing(tmp_path, monkeypatch):
    """The first checkpoint is too large for the UP5K, and both have two layers; the second run measures nothing."""
    monkeypatch.chdir(tmp_path)
    images_and_checkpoint(tmp_path)
    large = Network("large", (1, 5, 6), (LayerSpec(DenseSpec(3000)), LayerSpec(DenseSpec(4))))
    float_networks.checkpoint(large, 1).save("large.npz")
    words = ["large.npz", "checkpoint.npz", "--bits", "8", "--images", "20", "--jobs", "1", "--data", "data"]
    words += ["--pe", "2,2,2", "--pe", "2,2", "--device", "up5k", "--out", "one", "--report", "one.html"]
    told = explore(*words)
    assert [(row["checkpoint"], row["pe"]) for row in table(Path("one"))] == [
        ("checkpoint.npz", "2,2"), ("checkpoint.npz", "up5k"), ("large.npz", "2,2"),
    ]  # fmt: skip
    for one in (
        "large.npz, 8 bits, pe 2,2,2: pe is 2,2,2, expected",
        "large.npz, 8 bits, pe up5k: device is up5k: its",
    ):
        assert f"note: not built: {one}" in told
    assert "3 cannot be built" in Path("one.html").read_text()
    with monkeypatch.context() as patched:
        patched.setattr(steps, "explored", None)
        assert told.endswith(explore(*words)), "but for the lines of progress"
    words[words.index("2,2")] = "1,1,1"
    last = explore("large.npz", *words[2:], code=2).splitlines()[-1]
    assert last.startswith("error: none of 3 designs can be built; the first: large.npz, 8 bits, pe 2,2,2: pe is")
    assert table(Path("one")) == []


def test_a_graph_is_quantised_placed_and_timed(tmp_path, monkeypatch):
    """The recurrent network on the first 60 images: as its own steps do it, and one line of the table for each PE."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    for part in ("train", "t10k"):
        for kind, head, item in (("images-idx3", 16, 784), ("labels-idx1", 8, 1)):
            whole = gzip.decompress((ROOT / f"data/mnist/{part}-{kind}-ubyte.gz").read_bytes())[: head + 60 * item]
            cut = whole[:4] + (60).to_bytes(4, "big") + whole[8:]
            (data / f"{part}-{kind}-ubyte").write_bytes(cut)
    checkpoint = Named.of(str(ROOT / "checkpoints/mnist-rows-20-s0.npz"))
    points = explored(Sweep(str(data), None, 4, "these sources"), checkpoint, 6, ["16,auto", "2,1"])
    assert [(point.bits, point.pe, point.images) for point in points] == [(6, "16,auto", 4), (6, "2,1", 4)]
    training, test = load(data)
    found = Checkpoint.load(checkpoint.path)
    network = quantise(found, formats_for(found, per_channel=False, weight_bits=6), training, "weights")
    network = with_rates(network, frames_for(network, training))
    frames = frames_for(network, test)
    right = engine.run(network, frames).classes == test.labels
    assert {point.accuracy for point in points} == {right.mean()}
    for point, pe in zip(points, ("16,auto", "2,1"), strict=True):
        mapping = place(network, Wanted(pes=pe))
        assert point.memory_bits == mapping.memory_bits
        assert point.cycles == round(float(measure(mapping, frames[:4]).back_to_back.interval.mean()), 2)
    assert points[0].cycles < points[1].cycles
    assert points[0].connectivity == round(network.connectivity, 6) < 0.2


def test_workers_elsewhere_give_the_table_of_one_process(tmp_path, monkeypatch):
    """Their caches are their own: what they find is kept here, and a second run needs no worker."""
    from distributed import LocalCluster

    for name in ("here", "there", "first"):
        (tmp_path / name).mkdir()
    images_and_checkpoint(tmp_path)
    words = [str(tmp_path / "checkpoint.npz"), "--bits", "2,3,4", "--pe", "2,2", "--pe", "4,2", "--images", "20"]
    words += ["--data", str(tmp_path / "data"), "--out", "sweep"]
    monkeypatch.chdir(tmp_path / "first")
    explore(*words, "--jobs", "1")
    monkeypatch.chdir(tmp_path / "there")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=50
    ) as made:
        monkeypatch.chdir(tmp_path / "here")
        explore(*words, "--scheduler", made.scheduler_address)
        assert table(tmp_path / "here/sweep") == table(tmp_path / "first/sweep")
        assert len(table(tmp_path / "here/sweep")) == 6
        other = shutil.copy(ROOT / "checkpoints/mnist-mlp-1-s0.npz", "only-here.npz")
        output = explore(other, *words[1:], "--scheduler", made.scheduler_address, code=2)
        assert re.fullmatch(r"error: worker tcp://\S+: checkpoint file only-here.npz: .*\n", output)
    assert (tmp_path / "there/build/cache").is_dir()
    monkeypatch.setattr(steps, "explored", None)
    assert explore(*words, "--jobs", "1").splitlines()[:-1] == explore(*words, "--jobs", "2").splitlines()[:-1]
    with pytest.raises(UserError, match=r"digest of .*checkpoint.npz is .*, expected 0123"):
        Named(str(tmp_path / "checkpoint.npz"), "", "0123").load()


def test_a_folder_in_use_is_told(tmp_path):
    with hold(tmp_path), ThreadPoolExecutor() as other:
        output = other.submit(
            explore, "--images", "20", "--data", str(ROOT / "data/mnist"), "--out", str(tmp_path), code=2
        )
        assert "is in use by another run" in output.result()


def test_mistakes_are_one_line(tmp_path):
    data = ["--data", str(ROOT / "data/mnist"), "--out", str(tmp_path / "out")]
    for words, message in (
        (["--bits", "4,9"], "error: bits is 4,9, expected numbers 2 to 8"),
        (["absent.npz"], "error: checkpoint file absent.npz"),
        (["--images", "1"], "error: images is 1"),
    ):
        output = explore(*words, *data, code=2)
        assert output.startswith(message)
        assert output.count("\n") == 1
