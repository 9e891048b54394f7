"""The step of every framework, written out here, equals the imported one: in floats, and in integers on a grid."""

from __future__ import annotations

import nir_files
import numpy as np
import pytest
from test_model_importing_graph import both

from gradrtl.errors import UserError
from gradrtl.model.importing.convention import FRAMEWORKS, Convention
from gradrtl.model.importing.neurons import rule

SOURCES, NEURONS, STEPS, FRAMES = 12, 9, 25, 4
DT = 1e-4
OFF = 1 + 1 / 32  # a threshold between the multiples of the weights, to which no membrane comes near


def weights(seed=0, low=-4, high=8):
    return np.random.default_rng(seed).integers(low, high, (NEURONS, SOURCES)) / 16


def spikes_in(seed=1, rate=0.3):
    return (np.random.default_rng(seed).random((FRAMES, STEPS, SOURCES)) < rate).astype(np.uint8)


def single(neuron, seed=0, **values):
    return nir_files.graph(
        {
            "input": nir_files.given(SOURCES),
            "fc": nir_files.node("Linear", weight=weights(seed, **values)),
            "lif": neuron,
            "output": nir_files.taken(NEURONS),
        },
        "input -> fc -> lif -> output",
    )


def check(neuron, convention, step, state, seed=0, shift=0, **values):
    """`step(state, x) -> (spikes, state)` of the framework gives the spikes of the import."""
    frames = spikes_in()
    network, floats, integers = both(single(neuron, seed, **values), frames, convention)
    steps = network.steps
    sums = frames @ weights(seed, **values).T
    expected = np.zeros((FRAMES, STEPS, NEURONS), np.uint8)
    states = tuple(np.full((FRAMES, NEURONS), value, float) for value in state)
    for t in range(STEPS):
        fired, *states = step(*states, sums[:, t])
        expected[:, t] = fired
    expected = expected[:, shift:]
    assert 0 < expected.mean() < 0.9
    np.testing.assert_array_equal(floats["lif"][:, : expected.shape[1]], expected)
    np.testing.assert_array_equal(integers["lif"][:, : expected.shape[1]], expected[:, :steps])


def tau(beta):
    return DT / (1 - beta)


def snn_leaky(beta, threshold, reset):
    def step(v, x):
        fired = v > threshold
        v = beta * (v * ~fired if reset == "zero" else v) + x - (fired * threshold if reset == "subtract" else 0)
        return v > threshold, v

    return step


@pytest.mark.parametrize("beta", [0.5, 0.875, 0.9])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_snntorch_leaky(beta, reset):
    convention = Convention.of("snntorch", reset="value" if reset == "zero" else None)
    check(nir_files.leaky(np.float32(beta)), convention, snn_leaky(beta, 1.0, reset), (0,))


def test_snntorch_leaky_without_decay():
    neuron = nir_files.node("LIF", tau=np.inf, r=np.inf, v_leak=0.0, v_threshold=1.0)
    check(neuron, Convention.of("snntorch"), snn_leaky(1.0, 1.0, "subtract"), (0,))


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_snntorch_synaptic(reset):
    alpha, beta, threshold = 0.75, 0.875, 2.0

    def step(i, v, x):
        fired = v > threshold
        i = alpha * i + x
        v = beta * (v * ~fired if reset == "zero" else v) + i - (fired * threshold if reset == "subtract" else 0)
        return v > threshold, i, v

    neuron = nir_files.node(
        "CubaLIF", tau_mem=tau(beta), tau_syn=tau(alpha), r=tau(beta) / DT, w_in=tau(alpha) / DT, v_leak=0.0,
        v_threshold=threshold,
    )  # fmt: skip
    check(neuron, Convention.of("snntorch", reset="value" if reset == "zero" else None), step, (0, 0))


@pytest.mark.parametrize("v_reset", [0.0, 0.25])
@pytest.mark.parametrize("decay_input", [True, False])
def test_spikingjelly_lif(decay_input, v_reset):
    def step(v, x):
        v = v + (v_reset - v + x) / 2 if decay_input else v + (v_reset - v) / 2 + x
        fired = v >= 1.0
        return fired, np.where(fired, v_reset, v)

    r = 1.0 if decay_input else 2.0
    neuron = nir_files.node("LIF", tau=2 * DT, r=r, v_leak=v_reset, v_threshold=1.0, v_reset=v_reset)
    check(neuron, Convention.of("spikingjelly"), step, (v_reset,), low=0, high=16)


@pytest.mark.parametrize("v_reset", [0.0, -0.5])
def test_spikingjelly_if(v_reset):
    def step(v, x):
        fired = v + x >= 1.0
        return fired, np.where(fired, v_reset, v + x)

    neuron = nir_files.node("IF", r=1 / DT, v_threshold=1.0, v_reset=v_reset)
    check(neuron, Convention.of("spikingjelly"), step, (v_reset,))


def test_norse_lif_box():
    leak, rate = 0.125, 1e-3 * 250

    def step(v, x):
        v = v + rate * (leak - v + x)
        return v > 0.5, np.where(v > 0.5, 0.0, v)

    neuron = nir_files.node("LIF", tau=1e-3 / 250, r=1.0, v_leak=leak, v_threshold=0.5)
    check(neuron, Convention.of("norse"), step, (leak,), low=-4, high=12)


def test_norse_lif():
    def step(i, v, x):
        i = i + x
        v = v + 1e-3 * 125 * (0 - v + i)
        fired = v > 0.5
        return fired, i * (1 - 1e-3 * 250), np.where(fired, 0.0, v)

    neuron = nir_files.node("CubaLIF", tau_mem=1e-3 / 125, tau_syn=1e-3 / 250, r=1.0, v_leak=0.0, v_threshold=0.5)
    check(neuron, Convention.of("norse"), step, (0, 0))


def test_norse_iaf():
    def step(v, x):
        return v + x > 1.0, np.where(v + x > 1.0, 0.0, v + x)

    check(nir_files.node("IF", r=1.0, v_threshold=1.0), Convention.of("norse"), step, (0,))


def test_sinabs_lif():
    alpha = np.exp(-1 / 8)

    def step(v, x):
        v = alpha * v + (1 - alpha) * x
        fired = v >= 0.25
        return fired, v - 0.25 * fired

    neuron = nir_files.node("LIF", tau=8.0, r=1.0, v_leak=0.0, v_threshold=0.25)
    check(neuron, Convention.of("sinabs", spikes="single"), step, (0,), low=-2, high=12)


def test_rockpool_lif():
    dt, slow, fast = 1e-3, 8e-3, 4e-3
    alpha, beta = np.exp(-dt / slow), np.exp(-dt / fast)

    def step(i, v, x):
        i = beta * (i + x)
        v = alpha * v + i
        fired = v >= 2.0
        return fired, i, v - 2.0 * fired

    neuron = nir_files.node(
        "CubaLIF", tau_mem=slow, tau_syn=fast, r=slow * alpha / dt, v_leak=0.0, v_threshold=2.0, w_in=1.0
    )
    check(neuron, Convention.of("rockpool", spikes="single"), step, (0, 0))


def test_rockpool_lif_without_current():
    alpha = np.exp(-1 / 8)

    def step(v, x):
        v = alpha * v + x
        return v >= 2.0, v - 2.0 * (v >= 2.0)

    neuron = nir_files.node("LIF", tau=8e-3, r=8 * alpha, v_leak=0.0, v_threshold=2.0)
    check(neuron, Convention.of("rockpool", spikes="single"), step, (0,))


def test_spyx_lif_spikes_a_step_late():
    def step(v, x):
        fired = v > OFF
        return fired, 0.75 * v + x - fired * OFF

    neuron = nir_files.node("LIF", tau=4.0, r=0.75, v_leak=0.0, v_threshold=OFF)
    check(neuron, Convention.of("spyx"), step, (0,), shift=1)


def test_spyx_cubalif_resets_before_it_decays():
    def step(i, v, x):
        fired = v > 2.0
        i = 0.5 * i + x
        return fired, i, 0.75 * (v - 2.0 * fired) + i

    neuron = nir_files.node("CubaLIF", tau_mem=4.0, tau_syn=2.0, r=0.75, v_leak=0.0, v_threshold=2.0)
    check(neuron, Convention.of("spyx"), step, (0, 0), shift=1)


def test_leaky_integrator_with_a_threshold_is_never_reset():
    def step(v, x):
        v = 0.75 * v + x
        return v > OFF, v

    record = nir_files.graph(
        {
            "input": nir_files.given(SOURCES),
            "fc": nir_files.node("Linear", weight=weights()),
            "membrane": nir_files.node("LI", tau=4.0, r=4.0, v_leak=0.0),
            "lif": nir_files.node("Threshold", threshold=OFF),
            "output": nir_files.taken(NEURONS),
        },
        "input -> fc -> membrane -> lif -> output",
    )
    frames = spikes_in()
    network, floats, integers = both(record, frames, Convention.of("nir", dt=1.0))
    assert network.population("lif").neuron.reset == "none"
    v, sums = np.zeros((FRAMES, NEURONS)), frames @ weights().T
    for t in range(STEPS):
        fired, v = step(v, sums[:, t])
        np.testing.assert_array_equal(floats["lif"][:, t], fired)
        np.testing.assert_array_equal(integers["lif"][:, t], fired)


def test_parameters_of_every_neuron():
    beta = np.random.default_rng(2).choice([0.5, 0.75, 0.875], NEURONS)
    threshold = np.random.default_rng(3).integers(12, 24, NEURONS) / 16
    neuron = nir_files.leaky(beta, threshold)
    check(neuron, Convention.of("snntorch"), snn_leaky(beta, threshold, "subtract"), (0,))
    check(neuron, Convention.of("snntorch", reset="value"), snn_leaky(beta, threshold, "zero"), (0,))


def test_gains_that_differ_divide_thresholds():
    gain = np.array([0.5, 1.0, 2.0] * 3)

    def step(v, x):
        v = 0.75 * v + gain * x
        return v >= 1.0, np.where(v >= 1.0, 0.0, v)

    neuron = nir_files.node("LIF", tau=4.0, r=4.0 * gain, v_leak=0.0, v_threshold=1.0)
    check(neuron, Convention(dt=1.0, compare="ge"), step, (0,))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"tau": 0.0}, "node lif tau is 0, expected above 0"),
        ({"tau": DT / 2}, "node lif tau is 5e-05, expected at least the step dt, 0.0001: give the --dt"),
        ({"tau": np.nan}, "node lif tau is NaN, expected numbers"),
        ({"r": 0.0}, "node lif r is a gain of 0, expected finite and above 0"),
        ({"r": -1.0}, "node lif r is a gain of -0.1, expected"),
        ({"r": np.inf}, "node lif r is a gain of inf, expected"),
        ({"v_threshold": np.inf}, "node lif v_threshold is infinite, expected finite numbers"),
        ({"v_threshold": np.ones(3)}, r"node lif v_threshold size is 3, expected 1 or 4, the neurons of \(4,\)"),
        ({"v_threshold": "high"}, "node lif v_threshold is high, expected numbers"),
        ({"v_threshold": None}, "node lif v_threshold is missing, expected a number"),
    ],
)
def test_parameters_that_cannot_be(changed, expected):
    record = nir_files.leaky()
    fields = {**record.fields, **changed}
    record = type(record)("LIF", {name: value for name, value in fields.items() if value is not None})
    with pytest.raises(UserError, match=expected):
        rule("node lif", record, (4,), Convention())


def test_resets_that_cannot_be():
    neuron = nir_files.leaky(0.9, v_reset=0.5)
    with pytest.raises(UserError, match=r"node lif v_reset is 0\.5, expected 0 with the reset subtract"):
        rule("node lif", neuron, (4,), Convention(reset="subtract"))
    with pytest.raises(UserError, match="node lif decay is 0, expected above 0: what is subtracted"):
        rule("node lif", nir_files.leaky(0.0), (4,), Convention.of("snntorch"))
    with pytest.raises(UserError, match="node lif reset is value, expected subtract, with several spikes"):
        rule("node lif", nir_files.leaky(), (4,), Convention(spikes="multi"))


def test_conventions():
    assert {*FRAMEWORKS} == {"nir", "snntorch", "norse", "sinabs", "spikingjelly", "rockpool", "spyx"}
    assert Convention.of("sinabs", dt=None, spikes="single").spikes == "single"
    assert Convention.of("snntorch").line.startswith("snntorch: dt 0.0001, integrator euler, reset subtract-delayed,")
    for field, value, expected in (
        ("dt", 0, "dt is 0.0, expected above 0"),
        ("dt", "x", "dt is x, expected a finite number"),
        ("reset", "soft", "reset is soft, expected value or value-held or subtract or subtract-delayed or none"),
        ("late", 1, "late is 1, expected True or False"),
    ):
        with pytest.raises(UserError, match=expected):
            Convention.of("nir", **{field: value})
