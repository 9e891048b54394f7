"""The contract file: what a `QuantizedNetwork` accepts, what it derives, and which files it refuses."""

from __future__ import annotations

import contextlib
import json
import pickle
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import random_networks
from hypothesis import given, settings
from hypothesis import strategies as st

from gradrtl import archive
from gradrtl.bits import signed_bits
from gradrtl.errors import UserError
from gradrtl.quantize import network_file
from gradrtl.quantize.network import (
    LIMIT,
    Adaptation,
    Connection,
    Conv,
    Dense,
    Input,
    IntNeuron,
    Layer,
    Pool,
    Population,
    QuantizedNetwork,
    Readout,
)
from gradrtl.quantize.placement import Placement
from gradrtl.sim import engine, reference


def neuron(**given) -> IntNeuron:
    return IntNeuron(**{"leak": "none", "reset": "hard", "threshold": np.array([10]), **given})


def dense(outputs: int = 2, sources: int = 3, **given) -> Layer:
    values = {
        "name": "dense",
        "input_shape": (sources,),
        "synapses": Dense(np.ones((outputs, sources), np.int8), np.zeros(outputs, np.int64)),
        "neuron": neuron(),
        "weight_bits": 2,
        **given,
    }
    return Layer(**values)


def conv(**given) -> Layer:
    synapses = Conv(np.ones((2, 1, 3, 3), np.int8), np.zeros(2, np.int64), padding=(1, 1))
    return Layer(
        **{
            "name": "conv",
            "input_shape": (1, 5, 7),
            "synapses": synapses,
            "neuron": neuron(),
            "weight_bits": 2,
            **given,
        }
    )


def network(*layers: Layer, **given) -> QuantizedNetwork:
    chain = layers or (dense(),)
    return QuantizedNetwork.chain(**{"input": Input(chain[0].input_shape), "layers": chain, "steps": 2, **given})


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(0, 0, 1), (0, 1, 2), (-1, 0, 1), (-2, 1, 2), (-3, 0, 3), (0, 127, 8), (-129, 0, 9)]
)
def test_signed_bits(low, high, bits):
    assert signed_bits(low, high) == bits


def test_shapes():
    assert conv().shape == (2, 5, 7)
    assert conv(pool=Pool("max", 2)).output_shape == (2, 2, 3)
    assert replace(conv(), synapses=replace(conv().synapses, stride=(2, 3), padding=(0, 2))).shape == (2, 2, 3)
    assert conv().per_neuron(np.array([4, 5])).tolist() == [4] * 35 + [5] * 35
    assert conv().per_neuron(np.array([4])).tolist() == [4] * 70


def test_what_a_network_sees_of_its_sources():
    assert Input((3,), bits=3).seen(255) == 7
    assert Input((3,), bits=3).seen(np.array([31, 32], np.uint8)).tolist() == [0, 1]
    assert Input((3,), bits=3, kind="spikes").seen(1) == 1


REFUSED = [
    (lambda: Input((3,), kind="audio"), "input.kind is audio, expected static or spikes"),
    (lambda: Input((3, 3)), r"input.shape is \(3, 3\)"),
    (lambda: Input((0,)), r"input.shape is \(0,\), expected numbers from 1 to 65536"),
    (lambda: Input((3,), bits=9), "input.bits is 9, expected 1 to 8"),
    (lambda: Pool("median", 2), "pool.kind is median"),
    (lambda: Pool("max", 0), "pool.size is 0, expected 1 to 16"),
    (lambda: neuron(leak="odd"), "neuron.leak is odd"),
    (lambda: neuron(reset="mushy"), "neuron.reset is mushy, expected hard or soft"),
    (lambda: neuron(shift=0), "neuron.shift is 0, expected 1 to 15"),
    (lambda: neuron(factor=3), r"neuron.factor is 3, expected 0 to 2\*\*shift = 2"),
    (lambda: neuron(fraction=9), "neuron.fraction is 9, expected 0 to 8"),
    (lambda: neuron(reset_value=1 << 30), "neuron.reset_value is 1073741824"),
    (lambda: neuron(reset="soft", reset_value=1), "neuron.reset_value is 1, expected 0 with the reset soft"),
    (lambda: neuron(membrane_bits=31), "neuron.membrane_bits is 31, expected 2 to 30"),
    (lambda: neuron(membrane_bits=3, reset_value=4), "neuron.reset_value is 4, expected -4 to 3"),
    (lambda: dense(weight_bits=1), "layer dense weight_bits is 1, expected 2 to 8"),
    (
        lambda: dense(synapses=Dense(np.full((2, 3), 2, np.int8), np.zeros(2, np.int64))),
        r"layer dense weights is \(2, 2\)",
    ),
    (
        lambda: dense(synapses=Dense(np.ones((2, 3)), np.zeros(2, np.int64))),
        "dense weight dtype is float64, expected int8",
    ),
    (lambda: dense(synapses=Dense(np.full((2, 3), np.nan), np.zeros(2, np.int64))), "weight dtype is float64"),
    (lambda: dense(synapses=Dense(np.ones((0, 3), np.int8), np.zeros(0, np.int64))), "dense weight shape"),
    (
        lambda: dense(synapses=Dense(np.ones((2, 3), np.int8), np.zeros(3, np.int64))),
        "dense bias size is 3, expected 2",
    ),
    (
        lambda: dense(synapses=Dense(np.ones((2, 3), np.int8), np.zeros(2))),
        "dense bias dtype is float64, expected int64",
    ),
    (lambda: dense(neuron=neuron(threshold=np.zeros(3, np.int64))), "layer dense threshold size is 3, expected 1 or 2"),
    (lambda: dense(neuron=neuron(threshold=np.array([1 << 30]))), "neuron.threshold is 1073741824"),
    (lambda: conv(pool=Pool("max", 6)), "pool.size is 6, expected at most the map size"),
    (lambda: network(dense(), steps=0), "steps is 0, expected 1 to 65535"),
    (lambda: network(dense(), layers=()), "layers is 0, expected 1 to 64"),
    (lambda: network(dense(), input=Input((4,))), r"layer dense input_shape is \(3,\), expected \(4,\)"),
    (lambda: network(dense(), dense(name="next", sources=4)), r"layer next input_shape is \(4,\), expected \(2,\)"),
    (lambda: network(dense(), conv()), "layer conv input_shape"),
    (lambda: network(dense(sources=4, synapses=dense().synapses)), "dense weight columns is 3, expected 4 sources"),
    (lambda: network(conv(input_shape=(2, 5, 7))), "conv weight inputs is 1, expected 2 channels"),
    (lambda: network(conv(synapses=replace(conv().synapses, padding=(3, 0)))), r"conv.padding is \(3, 0\)"),
    (lambda: network(conv(synapses=replace(conv().synapses, stride=(0, 1)))), "conv.stride"),
    (
        lambda: network(conv(input_shape=(1, 2, 2), synapses=replace(conv().synapses, padding=(0, 0)))),
        "conv output size",
    ),
    (
        lambda: conv(
            input_shape=(1, 1, 1),
            synapses=Conv(np.ones((1, 1, 3000, 3000), np.int8), np.zeros(1, np.int64), padding=(2999, 2999)),
        ),
        r"conv padded input is \(1, 5999, 5999\), expected at most 16777216 sources",
    ),
    (lambda: network(conv(pool=Pool("max", 2))), "none: the last layer is read out as it is"),
    (lambda: network(readout=Readout(group=4)), "readout of dense group is 4, expected a divisor of 2, its neurons"),
    (lambda: Readout("vote"), "readout.kind is vote, expected count or first or membrane"),
    (lambda: Readout(group=0), "readout.group is 0"),
    (lambda: network(readout=Readout("membrane")), "population dense spiking is True, expected False for membrane"),
    (
        lambda: network(dense(neuron=neuron(spiking=False)), dense(name="next", sources=2)),
        "population dense spiking is False, expected True, or a read-out of its membranes",
    ),
    (
        lambda: network(dense(synapses=Dense(np.ones((2, 3), np.int8), np.full(2, -(1 << 29)))), steps=9),
        "population dense largest sum",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refuses(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        network().layers[0].synapses.weight[0, 0] = 0


@settings(max_examples=80, deadline=None, derandomize=True)
@given(random_networks.networks(), st.integers(0, 1000))
def test_nothing_leaves_its_proven_range(network, seed):
    """Bounds hold for every membrane the reference ever shows, and for the extremes of every sum."""
    trace = reference.run(network, random_networks.frames(network, 4, seed)).trace
    assert trace is not None
    for membranes, ranges in zip(trace.membranes, network.ranges, strict=True):
        low, high = ranges.membrane
        assert low <= membranes.min()
        assert membranes.max() <= high


def alone(neuron: IntNeuron, bias: int, steps: int, kind: str = "count") -> QuantizedNetwork:
    """One neuron that hears nothing but its bias."""
    heard = Connection("input", Dense(np.zeros((1, 1), np.int8)))
    population = Population("out", (1,), neuron, np.array([bias], np.int64), (heard,))
    return QuantizedNetwork(Input((1,), kind="spikes"), (population,), steps, Readout(kind))


def test_an_adaptation_stays_below_the_limit_also_above_a_negative_threshold():
    """Its sum with the threshold would be small, and ranges would be those of the first steps."""
    lifted = IntNeuron("none", "hard", threshold=1 - LIMIT, adaptation=Adaptation(1 << 15, 15, 1 << 28))
    found = alone(lifted, 1 << 29, 3)
    assert found.ranges[0].adaptation == (0, 3 << 28)
    with pytest.raises(UserError, match=f"population out largest sum is {1 << 30}, expected less than {LIMIT}"):
        alone(lifted, 1 << 29, 4)


@pytest.mark.parametrize("rounding", ["floor", "nearest"])
def test_what_leaks_by_its_distance_from_the_input_has_that_in_32_bits(rounding):
    def made(start: int) -> QuantizedNetwork:
        neuron = IntNeuron(
            "decaying_input", "none", threshold=1, shift=2, start_value=start, rounding=rounding, spiking=False
        )
        return alone(neuron, LIMIT - 1, 2, "membrane")

    frame = np.zeros((1, 2, 1), np.uint8)
    largest = made(3 - LIMIT)
    assert reference.run(largest, frame).counts.tolist() == engine.run(largest, frame).counts.tolist()
    if rounding == "nearest":
        with pytest.raises(
            UserError, match="distance of input and membrane is 2147483648, expected less than 2147483648"
        ):
            made(1 - LIMIT)
    else:
        made(1 - LIMIT)


def test_ranges_are_exact_for_one_neuron():
    weight = np.array([[3, -2, 1]], np.int8)
    layer = dense(1, synapses=Dense(weight, np.array([5])), weight_bits=4, neuron=neuron(leak="shift"))
    ranges = network(layer, input=Input((3,), bits=2)).ranges[0]
    assert ranges.current == (-6, 17)  # -2 * 3 (partial sums, without the bias) and 5 + 3 * 3 + 1 * 3
    assert ranges.potential == (-9, 22)  # twice the sum with half the leak; from 9, the largest below threshold, 5 + 17
    assert ranges.membrane == (-9, 9)


def test_ranges_hold_for_every_step():
    """A read-out that starts at 100 and loses its half: the first step's potential is the largest."""
    silent = neuron(leak="shift", reset_value=100, spiking=False)
    layer = dense(1, 1, synapses=Dense(np.ones((1, 1), np.int8), np.zeros(1, np.int64)), neuron=silent)
    ranges = network(layer, input=Input((1,), bits=1), steps=3, readout=Readout("membrane")).ranges[0]
    assert ranges.potential == (0, 51)
    assert ranges.membrane == (13, 100)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(random_networks.networks())
def test_a_file_gives_the_same_network(tmp_path_factory, network):
    network = replace(network, notes={"made": "by a test", "scales": [0.5]})
    path = tmp_path_factory.mktemp("networks") / "network.npz"
    network.save(path)
    read = QuantizedNetwork.load(path)
    assert read.digest == network.digest
    assert read.notes == network.notes
    frames = random_networks.frames(network, 2)
    np.testing.assert_array_equal(reference.run(read, frames).counts, reference.run(network, frames).counts)
    again = path.with_name("again.npz")
    read.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_the_digest_is_of_the_meaning():
    given = network()
    assert replace(given, notes={"any": "note"}).digest == given.digest
    assert replace(given, steps=3).digest != given.digest
    other = dense(synapses=Dense(np.zeros((2, 3), np.int8), np.zeros(2, np.int64)))
    assert network(other).digest != given.digest


def test_a_file_keeps_rates_and_placement(tmp_path):
    given = network(dense(), dense(name="next", sources=2))
    rates = (np.array([0.5, 0.0, 3.0]), np.array([1, 2]))
    full = replace(given, rates=rates, placement=Placement((16, 4), strided=(1,)))
    assert full.digest == given.digest
    assert full.save(tmp_path / "full.npz") != given.save(tmp_path / "bare.npz")
    read = QuantizedNetwork.load(tmp_path / "full.npz")
    assert read.digest == given.digest
    assert read.placement == full.placement
    for values, expected in zip(read.rates, rates, strict=True):
        assert values.dtype == np.float64
        assert not values.flags.writeable
        np.testing.assert_array_equal(values, expected)
    assert rates[0].flags.writeable
    bare = QuantizedNetwork.load(tmp_path / "bare.npz")
    assert bare.rates is None
    assert bare.placement is None


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (7, "rates is int, expected a tuple of arrays"),
        ((np.ones(3), np.ones(3)), "rates is 2, expected 1 arrays, one for each layer"),
        ((np.ones(2),), r"rates\[0\] shape is \(2,\), expected \(3,\)"),
        ((np.array(["a", "b", "c"]),), r"rates\[0\] dtype is <U1, expected numbers"),
        ((np.array([1.0, -1.0, 0.0]),), r"rates\[0\] is \[ 1. -1.  0.\], expected finite numbers, 0 or more"),
        ((np.array([1.0, np.nan, 0.0]),), r"rates\[0\] is"),
        ((np.array([1.0, np.inf, 0.0]),), r"rates\[0\] is"),
    ],
)
def test_refuses_rates(rates, message):
    with pytest.raises(UserError, match=message.replace("  ", " ")):
        network(rates=rates)


def test_refuses_a_placement_of_another_network():
    with pytest.raises(UserError, match=r"pes is \(16, 4\), expected 1 numbers, one for each layer"):
        network(placement=Placement((16, 4)))


def refused(path) -> str:
    with pytest.raises(UserError) as caught:
        QuantizedNetwork.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refuses_a_missing_file(tmp_path):
    assert "no such file" in refused(tmp_path / "nothing.npz")
    assert "no such file" in refused(tmp_path)


def test_refuses_every_truncation_and_alteration(tmp_path):
    path = tmp_path / "network.npz"
    network().save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        refused(path)
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(whole), 60):
        altered = bytearray(whole)
        altered[position] ^= 1 << generator.integers(8)
        path.write_bytes(altered)
        with contextlib.suppress(UserError):  # unless the bit carries nothing (a date, say)
            assert QuantizedNetwork.load(path).digest == network().digest


def test_refuses_other_formats(tmp_path):
    path = tmp_path / "network.npz"
    path.write_bytes(pickle.dumps({"weights": [1, 2]}))
    assert "not a gradrtl archive" in refused(path)
    np.savez(path, header=np.array([object()], dtype=object))
    assert "member header.npy is object (1,), expected a gradrtl array" in refused(path)
    with zipfile.ZipFile(path, "w") as empty:
        empty.writestr("../../outside.npy", b"")
    assert "not a gradrtl archive" in refused(path)
    archive.save(path, "checkpoint", {}, {})
    assert "kind is checkpoint, expected network" in refused(path)


def test_refuses_a_future_version(tmp_path, monkeypatch):
    path = tmp_path / "network.npz"
    monkeypatch.setattr(network_file, "VERSION", 99)
    network().save(path)
    monkeypatch.undo()
    assert "version is 99, expected 1 or 2, what this program reads" in refused(path)


HEADER = json.dumps(
    {
        "input": {"shape": [3], "bits": 8, "kind": "static"},
        "layers": [
            {
                "name": "dense",
                "input_shape": [3],
                "weight_bits": 2,
                "synapses": {"kind": "dense"},
                "neuron": {"leak": "none", "reset": "hard"},
                "pool": None,
            }
        ],
        "steps": 2,
        "readout": {"kind": "count", "group": 1},
        "notes": {},
    }
)


def put(header: dict, where: list, value: object) -> dict:
    inner = header
    for key in where[:-1]:
        inner = inner[key]
    if value is None:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    return header


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["steps"], None, "incomplete"),
        (["steps"], "many", "steps is many|incomplete"),
        (["input"], 7, "input is 7, expected an object with the fields shape, bits, kind"),
        (["input", "shape"], None, "incomplete"),
        (["input", "shape"], ["3"], r"input.shape is \['3'\], expected whole numbers"),
        (["input", "shape"], [3.0], r"input.shape is \[3.0\], expected whole numbers"),
        (["input", "shape"], 3, "input.shape is 3, expected a list of whole numbers"),
        (["input", "shape"], [1, 65536, 65536], "input.shape is .*, expected at most 4194304 sources"),
        (["input", "bits"], True, "input.bits is True, expected a whole number, 1 to 8"),
        (["input", "bits"], 8.0, "input.bits is 8.0, expected a whole number"),
        (["input", "kind"], ["static"], r"input.kind is \['static'\], expected static or spikes"),
        (["steps"], 2.0, "steps is 2.0, expected a whole number, 1 to 255"),
        (["readout"], "count", "readout is count, expected an object"),
        (["readout", "group"], "1", "readout.group is 1, expected a whole number"),
        (["layers"], {"0": 1}, "layers is .*, expected a list"),
        (["layers", 0], 7, "layer is 7, expected an object"),
        (["layers", 0, "name"], {"a": 1}, "name is {'a': 1}, expected a name"),
        (["layers", 0, "name"], "two\nlines", "name is two lines, expected a name"),
        (["layers", 0, "name"], "x" * 300, "name is xxx.*, expected a name"),
        (["layers", 0, "input_shape"], [3.0], r"input_shape is \[3.0\]"),
        (["layers", 0, "input_shape"], [4], r"weight shape is \(2, 3\), expected that of a dense layer behind \(4,\)"),
        (["layers", 0, "neuron", "reset_value"], -0.5, "neuron.reset_value is -0.5, expected a whole number"),
        (["layers", 0, "neuron", "shift"], True, "neuron.shift is True, expected a whole number, 1 to 15"),
        (["layers", 0, "neuron", "membrane_bits"], "4", "neuron.membrane_bits is 4, expected a whole number"),
        (["layers", 0, "neuron", "spiking"], 1, "neuron.spiking is 1, expected True or False"),
        (["layers", 0, "neuron", "threshold"], 1, r"neuron field is \['threshold'\]"),
        (["layers", 0, "synapses"], {"kind": "conv", "stride": [1, 1], "padding": [0, 0]}, "weight dimensions is 2"),
        (["layers", 0, "synapses", "stride"], [1, 1], r"synapses field is \['stride'\]"),
        (["notes"], [1], r"notes is \[1\], expected an object"),
        (["more"], 1, r"header field is \['more'\], expected one of"),
        (["layers"], [], "layers is 0"),
        (["layers", 0, "neuron", "colour"], "red", r"neuron field is \['colour'\], expected one of leak, reset"),
        (["layers", 0, "neuron", "leak"], "odd", "neuron.leak is odd"),
        (["layers", 0, "synapses", "kind"], "sparse", r"layers\[0\]: synapses is sparse, expected dense or conv"),
        (["layers", 0, "pool"], {"kind": "max"}, "incomplete"),
        (["layers", 0, "weight_bits"], 99, r"layers\[0\]: weight_bits is 99"),
        (["notes"], None, "incomplete"),
        (["placement"], [16], r"placement is \[16\], expected an object"),
    ],
)
def test_refuses_headers_that_make_no_network(tmp_path, where, value, message):
    """Files with a right digest, but made by somebody else's program."""
    path = tmp_path / "network.npz"
    arrays = {
        "layer0.weight": np.ones((2, 3), np.int8),
        "layer0.bias": np.zeros(2, np.int64),
        "layer0.threshold": np.array([10]),
    }
    archive.save(path, "network", json.loads(HEADER), arrays)
    assert QuantizedNetwork.load(path).classes == 2
    archive.save(path, "network", put(json.loads(HEADER), where, value), arrays)
    with pytest.raises(UserError, match=message):
        QuantizedNetwork.load(path)


CLAIMS = [
    ({"layer0.weight": np.zeros((2, 1 << 24), np.int8)}, r"weight shape is \(2, 16777216\), expected that of a dense"),
    ({"layer0.bias": np.zeros(1 << 22, np.int64)}, r"bias shape is \(4194304,\), expected \(2,\)"),
    ({"layer0.threshold": np.zeros(1 << 22, np.int64)}, r"threshold shape is .*, expected \(1,\) or \(2,\)"),
    ({"layer0.rates": np.zeros(1 << 22)}, r"rates shape is .*, expected \(3,\)"),
    ({"layer0.rates": np.zeros(3, np.float32)}, "rates dtype is float32, expected float64"),
    ({"layer0.weight": np.zeros((2, 3), np.int16)}, "weight dtype is int16, expected int8"),
    ({"layer0.bias": np.zeros((2, 1), np.int64)}, r"bias shape is \(2, 1\)"),
    ({"layer0.weight": np.zeros((2, 3, 1, 1), np.int8)}, "weight dimensions is 4, expected 2 for dense"),
    ({"layer1.weight": np.zeros(1 << 24, np.int8)}, r"arrays is \['layer1.weight'\], expected those of 1 layers"),
]


@pytest.mark.parametrize(("other", "message"), CLAIMS, ids=range(len(CLAIMS)))
def test_arrays_are_refused_before_they_are_unpacked(tmp_path, other, message):
    """Their types and shapes follow from the header: no memory is taken for others."""
    arrays = {"layer0.weight": np.ones((2, 3), np.int8), "layer0.bias": np.zeros(2, np.int64)}
    arrays |= {"layer0.threshold": np.array([10]), **other}
    path = tmp_path / "network.npz"
    archive.save(path, "network", json.loads(HEADER), arrays)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=message):
            QuantizedNetwork.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_numbers_of_numpy_count_as_numbers(tmp_path):
    """They make the network that Python's make, and can be saved."""
    plain = conv(neuron=neuron(leak="shift", shift=3, reset_value=-2, fraction=1, membrane_bits=20))
    given = Layer(
        "conv",
        np.array([1, 5, 7]),
        replace(plain.synapses, padding=(np.int64(1), np.uint8(1)), stride=np.array([1, 1])),
        neuron(
            leak="shift", shift=np.int8(3), reset_value=np.int64(-2), fraction=np.uint8(1), membrane_bits=np.int32(20)
        ),
        np.int64(2),
    )
    made = QuantizedNetwork.chain(
        Input([np.int32(1), 5, 7], np.int64(8)), [given], np.int64(2), Readout("count", np.int64(2))
    )
    assert made.digest == network(plain, readout=Readout("count", 2)).digest
    made.save(tmp_path / "network.npz")
    assert QuantizedNetwork.load(tmp_path / "network.npz").digest == made.digest


def test_arrays_of_the_caller_stay_theirs():
    weight, bias, threshold = np.ones((2, 3), np.int8), np.zeros(2, np.int64), np.array([10])
    layer = dense(synapses=Dense(weight, bias), neuron=neuron(threshold=threshold))
    weight[0, 0], bias[0], threshold[0] = -1, 5, 3
    assert layer.synapses.weight[0, 0] == 1
    assert layer.synapses.bias[0] == 0
    assert layer.neuron.threshold[0] == 10


@pytest.mark.parametrize(("group", "fits"), [(2, True), (3, False)])
def test_sums_of_the_readout_fit_their_32_bits(group, fits):
    """Membranes reach 1,044,480,000 or so: two of them fit a signed word of the packet, three do not."""
    weight = np.full((group, 8), 127, np.int8)
    silent = neuron(spiking=False, fraction=8)
    layer = dense(group, 8, synapses=Dense(weight, np.zeros(group, np.int64)), neuron=silent, weight_bits=8)
    given = {"input": Input((8,)), "steps": 16, "readout": Readout("membrane", group)}
    if fits:
        high = network(layer, **given).ranges[-1].membrane[1] * group
        assert 2**31 - 2**26 < high < 2**31
    else:
        with pytest.raises(UserError, match=r"sum of a class is 0 to .*, expected 32 signed bits: take a smaller"):
            network(layer, **given)


@pytest.mark.parametrize("missing", ["layer0.weight", "layer0.bias", "layer0.threshold"])
def test_refuses_missing_arrays(tmp_path, missing):
    path = tmp_path / "network.npz"
    arrays = {
        "layer0.weight": np.ones((2, 3), np.int8),
        "layer0.bias": np.zeros(2, np.int64),
        "layer0.threshold": np.array([10]),
    }
    del arrays[missing]
    archive.save(path, "network", json.loads(HEADER), arrays)
    assert "incomplete" in refused(path)
