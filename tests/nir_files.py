"""NIR files written field by field, and random NIR graphs whose integers are exact."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gradrtl.model.importing.records import GRAPH, Record


def write(path: Path, record: Record) -> Path:
    """Write `record` as `nir` writes a graph."""
    with h5py.File(path, "w") as file:
        file.create_dataset("version", data="1.0.8", dtype=h5py.string_dtype())
        _write(file.create_group("node"), record)
    return path


def _write(group: Any, record: Record) -> None:
    group.create_dataset("type", data=record.type, dtype=h5py.string_dtype())
    for name, value in record.fields.items():
        if isinstance(value, str):
            group.create_dataset(name, data=value, dtype=h5py.string_dtype())
        else:
            group.create_dataset(name, data=np.asarray(value))
    if record.type == GRAPH:
        nodes = group.create_group("nodes")
        for name, node in record.nodes.items():
            _write(nodes.create_group(name), node)
        group.create_dataset("edges", data=[list(edge) for edge in record.edges], dtype=h5py.string_dtype())


def graph(nodes: dict[str, Record], *edges: str) -> Record:
    """A graph; edges as text, `a -> b -> c`."""
    pairs = []
    for line in edges:
        names = [name.strip() for name in line.split("->")]
        pairs += list(pairwise(names))
    return Record(GRAPH, {}, nodes, tuple(pairs))


def node(kind: str, **fields: Any) -> Record:
    return Record(
        kind, {name: value if isinstance(value, str) else np.asarray(value) for name, value in fields.items()}
    )


def given(*shape: int) -> Record:
    return node("Input", shape=shape)


def taken(*shape: int) -> Record:
    return node("Output", shape=shape)


def integrate(threshold: Any = 1.0, r: Any = 1e4, **fields: Any) -> Record:
    """An IF whose gain is 1 at the usual time step of 1e-4."""
    return node("IF", r=r, v_threshold=threshold, **fields)


def leaky(beta: Any = 0.9, threshold: Any = 1.0, dt: float = 1e-4, **fields: Any) -> Record:
    """A LIF that keeps `beta` of its membrane, with a gain of 1."""
    tau = dt / (1 - np.asarray(beta))
    return node("LIF", **{"tau": tau, "r": tau / dt, "v_leak": 0.0, "v_threshold": threshold, **fields})


def random_graph(seed: int) -> Record:
    """Populations of IF neurons behind random linear nodes; all weights are small multiples of one number."""
    rng = np.random.default_rng(seed)
    unit = float(rng.choice([1.0, 0.25, 2.0**-5]))
    maps = bool(rng.random() < 0.7)
    shape: tuple[int, ...] = (
        (int(rng.integers(1, 4)), *map(int, rng.integers(4, 8, 2))) if maps else (int(rng.integers(2, 9)),)
    )
    nodes, edges = {"input": given(*shape)}, []
    last = "input"

    def add(name: str, record: Record) -> None:
        nonlocal last
        nodes[name] = record
        edges.append((last, name))
        last = name

    for layer in range(int(rng.integers(1, 4))):
        for number in range(int(rng.integers(0, 3))):
            shape = _random_linear(rng, add, f"pre{layer}_{number}", shape)
        n = int(rng.integers(2, 6))
        if len(shape) == 3 and rng.random() < 0.6:
            shape = _random_convolution(rng, add, f"conv{layer}", shape, unit)
        else:
            sources = int(np.prod(shape))
            if len(shape) == 3 and rng.random() < 0.5:
                add(f"flat{layer}", node("Flatten", start_dim=0, end_dim=-1))
            weight = rng.integers(-3, 5, (n, sources)) * unit
            kind = {"bias": rng.integers(-1, 3, n) * unit} if rng.random() < 0.5 else {}
            add(f"dense{layer}", node("Affine" if kind else "Linear", weight=weight, **kind))
            shape = (n,)
        neurons = int(np.prod(shape))
        threshold = rng.integers(2, 9, shape) * unit if rng.random() < 0.5 else float(rng.integers(2, 9)) * unit
        add(f"if{layer}", integrate(threshold))
        if rng.random() < 0.4 and neurons <= 64:
            weight = rng.integers(-2, 3, (neurons, neurons)) * unit * 4
            nodes[f"rec{layer}"] = node("Linear", weight=weight)
            edges += [(last, f"rec{layer}"), (f"rec{layer}", last)]
    add("output", taken(*shape))
    return Record(GRAPH, {}, nodes, tuple(edges))


def random_neurons(seed: int) -> Record:
    """`random_graph` with neurons of every kind in place of the IFs; what is read out may not spike."""
    rng = np.random.default_rng([seed, 1])
    record = random_graph(seed)
    nodes = dict(record.nodes)
    last = next(source for source, target in record.edges if target == "output")
    for name, old in record.nodes.items():
        if old.type != "IF":
            continue
        looped = any(source == name and target.startswith("rec") for source, target in record.edges)
        kinds = ["IF", "LIF", "CubaLIF"]
        kind = str(rng.choice([*kinds, "LI", "I", "CubaLI"] if name == last and not looped else kinds))
        threshold = np.asarray(old.fields["v_threshold"], float)
        fields: dict[str, Any] = {"v_leak": np.zeros(threshold.shape)}
        for state in {"LIF": ["tau"], "LI": ["tau"]}.get(kind, ["tau_mem", "tau_syn"] if "Cuba" in kind else []):
            beta = rng.choice([0.5, 0.75, 0.8, 0.9, 0.95], threshold.shape if rng.random() < 0.5 else ())
            fields[state] = np.broadcast_to(1e-4 / (1 - beta), threshold.shape)
        tau = fields.get("tau", fields.get("tau_mem", 1.0))
        fields["r"] = tau / 1e-4
        if kind.startswith("Cuba"):
            fields["w_in"] = fields["tau_syn"] / 1e-4
        if kind in ("I", "IF"):
            del fields["v_leak"]
            fields["r"] = np.full(threshold.shape, 1e4)
        if kind.endswith("IF"):
            fields |= {"v_threshold": threshold, "v_reset": np.zeros(threshold.shape)}
        nodes[name] = node(kind, **fields)
    return Record(GRAPH, {}, nodes, record.edges)


def _random_linear(rng: Any, add: Any, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    way = rng.integers(0, 3)
    if way == 0:
        size = int(rng.choice([1, shape[0], int(np.prod(shape))]))
        scale = rng.choice([1.0, 2.0, -1.0], size)
        add(name, node("Scale", scale=scale.reshape(shape) if size == np.prod(shape) else scale))
    elif way == 1:
        size = int(np.prod(shape)) if name.endswith("_0") and rng.random() < 0.5 else 1
        add(name, node("Delay", delay=rng.integers(0, 3, size) * 1e-4))
    elif len(shape) == 3 and min(shape[1:]) >= 4:
        size = int(rng.integers(1, 4))
        stride = size if rng.random() < 0.5 else int(rng.integers(1, 3))
        padding = int(rng.integers(0, size)) if rng.random() < 0.3 else 0
        add(name, node("SumPool2d", kernel_size=(size, size), stride=(stride, stride), padding=(padding, padding)))
        return (shape[0], *((n + 2 * padding - size) // stride + 1 for n in shape[1:]))
    return shape


def _random_convolution(rng: Any, add: Any, name: str, shape: tuple[int, ...], unit: float) -> tuple[int, ...]:
    kernel = tuple(int(rng.integers(1, 1 + min(3, n))) for n in shape[1:])
    groups = shape[0] if rng.random() < 0.3 else 1
    out = groups * int(rng.integers(1, 3))
    weight = rng.integers(-3, 5, (out, shape[0] // groups, *kernel)) * unit
    bias = rng.integers(-1, 2, out) * unit
    way = rng.random()
    if way < 0.25:
        add(
            name,
            node("Conv2d", weight=weight, stride=(1, 1), padding="same", dilation=(1, 1), groups=groups, bias=bias),
        )
        return (out, *shape[1:])
    stride = tuple(int(n) for n in rng.integers(1, 3, 2))
    padding = tuple(int(n) for n in rng.integers(0, 4, 2))
    dilation = tuple(int(rng.integers(1, 3)) if d * 2 <= n else 1 for n, d in zip(shape[1:], kernel, strict=True))
    add(
        name, node("Conv2d", weight=weight, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias)
    )
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    parts = zip(shape[1:], padding, reach, stride, strict=True)
    return (out, *((n + 2 * p - r) // s + 1 for n, p, r, s in parts))
