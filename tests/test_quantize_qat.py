"""Fine-tuning: repeatable, resumable, and honest about its accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import float_networks
import numpy as np
import pytest
import torch

from gradrtl.errors import UserError
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset, split
from gradrtl.model.description import DenseSpec, LayerSpec, Network
from gradrtl.model.resume import OtherRun
from gradrtl.model.train import Evaluation
from gradrtl.quantize import ptq, qat
from gradrtl.quantize.config import QatConfig
from gradrtl.quantize.fold import FloatNetwork, fold
from gradrtl.quantize.integer_module import IntegerNetwork
from gradrtl.quantize.living import without_dead
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.qat import fine_tune
from gradrtl.quantize.rounding import Formats
from gradrtl.sim import engine

CONFIG = QatConfig(epochs=8, batch=10, lr=0.1, scale_lr=0.02, rotation=0, shift=0, held_out=60, seed=3)
SHORT = replace(CONFIG, epochs=4, batch=30)
FORMATS = Formats(3)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Bright halves: class 0 above, class 1 below, class 2 left."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300).astype(np.uint8)
    images = rng.integers(0, 120, (300, 1, 6, 6), dtype=np.uint8)
    for image, label in zip(images[:, 0], labels, strict=True):
        half = (image[:3], image[3:], image[:, :3])[label]
        half += 100
    return Dataset(images, labels)


@pytest.fixture(scope="module")
def network() -> FloatNetwork:
    layers = (LayerSpec(DenseSpec(16)), LayerSpec(DenseSpec(3)))
    return fold(float_networks.checkpoint(Network("halves", (1, 6, 6), layers, steps=4), seed=1))


def test_images_and_objective_are_those_of_the_training() -> None:
    trained = TrainConfig(rotation=3.0, shift=0.01, flip=True, spike_cost=0.5, batch=64, held_out=70, lr=0.1, seed=4)
    found = QatConfig.as_trained(trained.to_json(), epochs=2, seed=1)
    assert found == QatConfig(2, spike_cost=0.5, batch=64, rotation=3.0, shift=0.01, flip=True, held_out=70, seed=1)
    assert QatConfig.as_trained(trained.to_json(), rotation=0.0).rotation == 0.0
    sharp = QatConfig.as_trained(replace(trained, sharpness=0.5, smoothing=0.1).to_json())
    assert (sharp.sharpness, sharp.smoothing) == (0.5, 0.1)
    with pytest.raises(UserError, match="rotation is 300"):
        QatConfig.as_trained({"rotation": 300.0})


def test_a_price_on_spikes_makes_them_fewer(network: FloatNetwork, data: Dataset) -> None:
    found = [fine_tune(network, FORMATS, data, replace(SHORT, spike_cost=cost)) for cost in (0.0, 0.2)]
    traces = [engine.run(one, data.frames, threads=1, trace="spikes").trace for one in found]
    free, priced = (int(trace.spikes[0].sum()) for trace in traces if trace)
    assert priced < free


def test_answers_of_every_step_can_be_tuned(network: FloatNetwork, data: Dataset) -> None:
    """An early answer gets better where early ones count; the loss that chooses the epoch is that of all steps."""
    steps = network.steps
    rows: list[dict] = []
    late, early = (
        fine_tune(network, FORMATS, data, replace(CONFIG, anytime=anytime), on_epoch=rows.append)
        for anytime in (None, 0.0)
    )
    assert early.notes["qat"]["anytime"] == 0.0
    module = IntegerNetwork(network, FORMATS, qat.weight_scales(network, FORMATS))
    images = torch.from_numpy(data.images)
    every, _ = module(images, layer_rates=True, every_step=True)
    assert every.shape == (steps, len(data), 3)
    assert torch.equal(every[-1], module(images))
    assert torch.equal((every.diff(dim=0) * steps).round(), module.spikes(images)[-1][1:])
    held_out = split(data, CONFIG.held_out)[1]
    before = [row["validation_loss"] for row in rows if row["epoch"] == 0]
    assert before == [qat.evaluate(module, held_out, anytime=anytime).loss for anytime in (None, 0.0)]
    first = [
        (engine.run(one, held_out.frames, trace="spikes").trace.spikes[-1][:, 0] != 0).argmax(axis=1) == held_out.labels
        for one in (late, early)
    ]
    assert first[1].mean() > first[0].mean()


def test_of_two_epochs_as_good_the_later_is_kept(
    network: FloatNetwork, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All epochs are told to be equally good: the integers are those after the last."""
    digests: list[str] = []

    def evaluate(module: IntegerNetwork, images: Dataset, loss: object, anytime: object) -> Evaluation:
        digests.append(without_dead(network).expand(module.export()).digest)
        return Evaluation(0.5, 1.0, [], np.zeros(0, np.int64))

    monkeypatch.setattr(qat, "evaluate", evaluate)
    found = fine_tune(network, FORMATS, data, SHORT)
    assert len(set(digests)) > 1
    assert found.digest == digests[-1]
    assert found.notes["qat"]["epoch"] == SHORT.epochs


def test_it_learns_and_its_accuracy_is_the_integer_networks(network: FloatNetwork, data: Dataset) -> None:
    rows: list[dict] = []
    found = fine_tune(network, FORMATS, data, CONFIG, on_epoch=rows.append)
    held_out = split(data, CONFIG.held_out)[1]
    outcome = engine.run(found, held_out.frames, threads=1)
    best = min(rows, key=lambda row: row["validation_loss"])["validation"]
    assert float((outcome.classes == held_out.labels).mean()) == best == found.notes["qat"]["validation"]
    assert [row["epoch"] for row in rows] == list(range(9))
    assert best >= 0.9 > rows[0]["validation"]
    assert rows[-1]["loss"] < rows[1]["loss"]
    for layer, trained in zip(found.layers, network.layers, strict=True):
        assert not layer.synapses.weight[trained.weight == 0].any()
    chosen = rows[found.notes["qat"]["epoch"]]
    assert chosen["synapses"] == [int(np.count_nonzero(layer.synapses.weight)) for layer in found.layers]


def test_the_same_seed_gives_the_same_integers(network: FloatNetwork, data: Dataset) -> None:
    first, second = (fine_tune(network, FORMATS, data, SHORT) for _ in range(2))
    assert first.digest == second.digest


def test_a_resumed_run_equals_an_uninterrupted_one(network: FloatNetwork, data: Dataset, tmp_path: Path) -> None:
    class PullThePlug(Exception):
        pass

    def in_the_third(row: dict) -> None:
        if row["epoch"] == 3:
            raise PullThePlug

    state = tmp_path / "state.pt"
    with pytest.raises(PullThePlug):
        fine_tune(network, FORMATS, data, SHORT, resume=state, on_epoch=in_the_third)
    assert state.exists()
    rows: list[dict] = []
    resumed = fine_tune(network, FORMATS, data, SHORT, resume=state, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [3, 4]
    assert resumed.digest == fine_tune(network, FORMATS, data, SHORT).digest


def test_states_of_other_runs_and_damaged_files_are_refused(
    network: FloatNetwork, data: Dataset, tmp_path: Path
) -> None:
    state = tmp_path / "state.pt"
    config = QatConfig(epochs=1, batch=20, held_out=60)
    fine_tune(network, FORMATS, data, config, resume=state)
    with pytest.raises(UserError, match="weight_bits is 3"):
        fine_tune(network, Formats(4), data, config, resume=state)
    state.write_bytes(state.read_bytes()[:500])
    with pytest.raises(UserError, match="damaged"):
        fine_tune(network, FORMATS, data, config, resume=state)


def without_the_dead(network: FloatNetwork, scales: ptq.Scales) -> QuantizedNetwork:
    """The post-training network, less the synapses of dead neurons."""
    living = without_dead(network)
    return living.expand(ptq.at_scales(living.network, FORMATS, scales))


def test_no_epochs_give_the_post_training_network(network: FloatNetwork, data: Dataset) -> None:
    found = fine_tune(network, FORMATS, data, QatConfig(epochs=0, held_out=60))
    assert found.digest == without_the_dead(network, ptq.weight_scales(network, FORMATS)).digest


def test_it_starts_from_the_scales_it_is_given(network: FloatNetwork, data: Dataset) -> None:
    scales = tuple(scale * 1.5 for scale in ptq.weight_scales(network, FORMATS))
    found = fine_tune(network, FORMATS, data, QatConfig(epochs=0, held_out=60), scales=scales)
    assert found.digest == without_the_dead(network, scales).digest


def test_images_of_another_shape_are_refused(network: FloatNetwork, data: Dataset) -> None:
    with pytest.raises(UserError, match="image shape"):
        fine_tune(network, FORMATS, Dataset(data.images[:, :, :5], data.labels), CONFIG)


@pytest.mark.parametrize(
    "fields", [{"epochs": -1}, {"lr": 0.0}, {"scale_lr": -1.0}, {"batch": 0}, {"shift": 0.6}, {"seed": -1}]
)
def test_bad_configurations_are_refused(fields: dict) -> None:
    with pytest.raises(UserError, match=next(iter(fields))):
        QatConfig(**fields)


def test_step_sizes_have_a_rate_of_their_own(network: FloatNetwork, data: Dataset) -> None:
    still = fine_tune(network, FORMATS, data, replace(SHORT, scale_lr=0.0))
    before = fine_tune(network, FORMATS, data, replace(SHORT, epochs=0))
    assert still.notes["scales"] == before.notes["scales"]
    assert still.digest != before.digest
    moved = fine_tune(network, FORMATS, data, SHORT)
    assert moved.notes["scales"] != before.notes["scales"]


def test_what_it_was_made_from_is_noted(network: FloatNetwork, data: Dataset) -> None:
    found = fine_tune(network, FORMATS, data, replace(SHORT, epochs=0)).notes["qat"]
    assert found["data"] == data.digest
    assert len(found["sources"]) == 64


def test_the_state_of_other_data_or_scales_is_refused(network: FloatNetwork, data: Dataset, tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    fine_tune(network, FORMATS, data, replace(SHORT, epochs=1), resume=state)
    other = Dataset(data.images, 2 - data.labels)
    with pytest.raises(UserError, match=f"data is {data.digest[:16]}, expected {other.digest[:16]}: delete state.pt"):
        fine_tune(network, FORMATS, other, replace(SHORT, epochs=1), resume=state)
    scales = tuple(scale * 1.5 for scale in ptq.weight_scales(network, FORMATS))
    with pytest.raises(UserError, match="start is"):
        fine_tune(network, FORMATS, data, replace(SHORT, epochs=1), resume=state, scales=scales)
    found: list[int] = []
    fine_tune(network, FORMATS, data, replace(SHORT, epochs=1), resume=state, on_resume=found.append)
    assert found == [1]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("integers", lambda network: replace(network, steps=16)),
        ("neurons", lambda network: with_neurons(network, tau=4.0)),
        ("neurons", lambda network: with_neurons(network, threshold=0.3)),
        ("integers", lambda network: replace(network, input_kind="spikes")),
        ("neurons", lambda network: with_neurons(network, threshold=1.0 + 1e-9)),
    ],
)
def test_the_state_of_another_network_with_the_same_weights_is_refused(
    network: FloatNetwork, data: Dataset, tmp_path: Path, name: str, change: Callable[[FloatNetwork], FloatNetwork]
) -> None:
    state = tmp_path / "state.pt"
    config = replace(SHORT, epochs=1)
    fine_tune(network, FORMATS, data, config, resume=state)
    other, scales = change(network), ptq.weight_scales(network, FORMATS)
    with pytest.raises(OtherRun, match=rf"state.pt {name} is"):
        fine_tune(other, FORMATS, data, config, resume=state, scales=scales)


def with_neurons(network: FloatNetwork, **changes: float) -> FloatNetwork:
    layers = (replace(layer, neuron=replace(layer.neuron, **changes)) for layer in network.layers)
    return replace(network, layers=tuple(layers))


DIVERGED = r"^training diverged in epoch \d: .*; a lower --lr or --scale-lr may help$"


@pytest.mark.parametrize("rates", [{"scale_lr": 50.0}, {"scale_lr": 1e6}, {"lr": 1e6, "scale_lr": 1e6}])
@pytest.mark.parametrize("formats", [FORMATS, Formats(per_channel=True)])
def test_a_training_that_diverges_says_so(
    network: FloatNetwork, data: Dataset, rates: dict[str, float], formats: Formats
) -> None:
    with pytest.raises(UserError, match=DIVERGED):
        fine_tune(network, formats, data, replace(SHORT, **rates))


def test_what_does_not_fit_from_the_start_is_no_divergence(
    network: FloatNetwork, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(module: IntegerNetwork) -> None:
        raise UserError("too large")

    monkeypatch.setattr(IntegerNetwork, "check", check)
    with pytest.raises(UserError, match=r"^too large$"):
        fine_tune(network, FORMATS, data, SHORT)


def test_labels_outside_the_network_are_refused(network: FloatNetwork, data: Dataset) -> None:
    with pytest.raises(UserError, match="classes in the training set is 4, expected at most 3"):
        fine_tune(network, FORMATS, Dataset(data.images, data.labels + np.uint8(1)), SHORT)
