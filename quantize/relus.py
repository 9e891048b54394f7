"""The network of activations behind an integer network of integrate-and-fire neurons: where its training goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import require
from ..model.checkpoint import NORM, Checkpoint
from ..model.description import ConvSpec, DenseSpec, Network
from ..model.graph import ConnectionSpec, Graph, InputSpec, PopulationSpec, ReadoutSpec, weight_name
from ..model.relu_graph import INTEGRATES, READS, relu_graph
from .calibration import start_before
from .fold import BATCH_NORM_EPS
from .graph import Edge
from .network import QuantizedNetwork
from .population import Population, fewest
from .reals import Reals, of_integers
from .synapses import Conv

BY_NEURON = ("threshold", "reset_amount", "start_value", "bias")  # of `Reals`


def relus_of(network: QuantizedNetwork, description: Network | Graph | None = None) -> Checkpoint:
    """The weights of `network` in units of what a spike subtracts, the thresholds, which become 1.

    Those of the read-out are real, if `quantize` has noted their unit. The layers are those of `description`, which may
    leave out batch normalisation; without, all but the read-out have it. It changes nothing yet: its mean is 0 and its
    variance 1.

    Raises
    ------
    UserError
        `description` has other layers, neurons leak or do not subtract their threshold at a spike, biases or thresholds
        differ within a map, or a connection adds pixels of several widths.
    """
    description = _described(network) if description is None else description
    graph = relu_graph(description)
    wanted, found = graph.weight_shapes, network.populations
    told = f"{len(graph.populations)}, as {graph.name or 'the network'} has"
    require(len(found) == len(graph.populations), "populations", len(found), told)
    worths: list[list[float]] = [[] for _ in found]
    for edge in network.edges:
        pool = edge.connection.pool
        area = pool.size**2 if pool is not None and pool.kind == "average" else 1
        worths[edge.population].append(_worth_of_source(network, edge) / area)
    units = [(read_unit(network) or 1.0) if one.name == network.readouts[0].source else 1.0 for one in found]
    arrays: dict[str, np.ndarray] = {}
    for number, (population, spec, reals) in enumerate(
        zip(found, graph.populations, of_integers(network, units, worths), strict=True)
    ):
        is_read = spec.name == graph.readout.source
        by_neuron: dict[str, Any] = {name: population.per_neuron(getattr(reals, name)) for name in BY_NEURON}
        reals = replace(reals, **by_neuron)
        if is_read:
            require(network.readouts[0].kind == "membrane", "read-out", network.readouts[0].kind, "membrane")
            threshold, late = _summing(population), np.zeros(1)
        else:
            threshold = _threshold(population, reals)
            start = start_before(network)
            start_value = reals.start_value if start is None else start * threshold
            late = (start_value - threshold / 2) / network.steps  # an activation starts at a half
        threshold = _by_row(population, "threshold", threshold)
        bias = _by_row(population, "bias", reals.bias + late)
        require(
            len(reals.weights) == len(spec.inputs),
            f"{population.name} inputs",
            len(reals.weights),
            str(len(spec.inputs)),
        )
        for index, weight in enumerate(reals.weights):
            name = weight_name(number, index)
            require(weight.shape == wanted[name], f"{population.name} weight", weight.shape, str(wanted[name]))
            arrays[name] = weight / threshold.reshape(-1, *[1] * (weight.ndim - 1))
        where, bias = f"population{number}", np.broadcast_to(bias / threshold, graph.channels(spec.name))
        own = spec.bias or not spec.batch_norm
        if own:
            arrays[f"{where}.bias"] = bias
        if spec.batch_norm:
            ones = np.ones(len(bias))
            values = ones, 0 * ones if own else bias, 0 * ones, ones - BATCH_NORM_EPS
            arrays |= {f"{where}.norm.{name}": value for name, value in zip(NORM, values, strict=True)}
    given = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    of: dict[str, Any] = {"network": network.digest}
    if "checkpoint" in network.notes:
        of["checkpoint"] = network.notes["checkpoint"]
    tuned = network.notes.get("qat")
    if isinstance(tuned, dict) and tuned.get("held_out_group") is None:
        of["qat"] = {"data": tuned.get("data"), "unseen": tuned.get("held_out")}
    return Checkpoint(replace(graph, steps=network.steps), given, made_from={"start": of})


def _worth_of_source(network: QuantizedNetwork, edge: Edge) -> float:
    """What an integer 1 of a source is worth: a largest pixel is 1, and so is a spike."""
    largest = {one.largest for one in network.inputs if edge.held and one.name in edge.connection.sources}
    require(len(largest) <= 1, f"{edge.connection.label} input bits", "of several widths", "one width")
    return 1 / largest.pop() if largest else 1.0


def _by_row(population: Population, what: str, values: np.ndarray) -> np.ndarray:
    """`values`, `[neurons]`, as one or one for each row of the weights."""
    rows = len(population.inputs[0].synapses.weight)
    found = fewest(values, rows)
    require(found.size <= rows, f"{population.name} {what}", "not the same within a map", "one for each map")
    return found


def read_unit(network: QuantizedNetwork) -> float | None:
    """The real value of an integer 1 in what is read out, if `quantize` has noted it: from 1e-30 to 1e30."""
    units = network.notes.get("units")
    found = units.get(network.readouts[0].source) if isinstance(units, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if 1e-30 <= found <= 1e30 else None


def _described(network: QuantizedNetwork) -> Graph:
    heard_before = {one.name for one in network.inputs}
    for one in network.inputs:
        require(one.kind == "static", f"input {one.name}", one.kind, "static: the image is the same at every step")
    in_order = [network.populations[index] for index in network.order]
    for population in in_order:
        forward = all(set(connection.sources) <= heard_before for connection in population.inputs)
        require(forward, f"population {population.name}", "on a cycle", "a network without cycles")
        heard_before.add(population.name)
    require(len(network.readouts) == 1, "read-outs", len(network.readouts), "one")
    source, populations = network.readouts[0].source, []
    for population in network.populations:
        heard = []
        for connection in population.inputs:
            synapses = connection.synapses
            spec: ConvSpec | DenseSpec = DenseSpec(len(synapses.weight))
            if isinstance(synapses, Conv):
                way = synapses.geometry
                spec = ConvSpec(len(synapses.weight), way.kernel, way.stride, way.padding)
            heard.append(ConnectionSpec(tuple(connection.sources), spec, pool=connection.pool, delay=connection.delay))
        is_read = population.name == source
        populations.append(
            PopulationSpec(population.name, tuple(heard), READS if is_read else INTEGRATES, is_read, not is_read)
        )
    inputs = tuple(InputSpec(one.name, one.shape, held=one.kind == "static") for one in network.inputs)
    read = ReadoutSpec(source, "membrane", network.readouts[0].group)
    return Graph("integers", inputs, tuple(populations), read, network.steps)


def _threshold(population: Population, reals: Reals) -> np.ndarray:
    neuron, where = population.neuron, population.name
    require(neuron.leak == "none", f"{where} leak", neuron.leak, "none: what integrates and fires stands for a ReLU")
    _has_a_membrane_alone(population)
    apart = float(np.abs(reals.reset_amount - reals.threshold).max())  # of 1, by their roundings
    same = neuron.reset == "soft" and apart <= 1
    require(same, f"{where} reset", neuron.reset, "soft, by the threshold: the rate then follows the sum")
    require(bool((reals.reset_amount > 0).all()), f"{where} threshold", "0 or below", "above 0")
    return reals.reset_amount


def _summing(population: Population) -> np.ndarray:
    neuron, where = population.neuron, population.name
    require(not neuron.spiking, f"{where} spiking", True, "False: the network answers with the sums of its read-out")
    require(neuron.leak == "none", f"{where} leak", neuron.leak, "none: what is read out is a sum")
    _has_a_membrane_alone(population)
    return np.ones(1)


def _has_a_membrane_alone(population: Population) -> None:
    neuron = population.neuron
    alone = neuron.current is None and neuron.adaptation is None and neuron.refractory == 0
    require(alone, f"{population.name} neuron", "with further states", "a membrane alone")
