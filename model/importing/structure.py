"""Which nodes are populations, how they are connected through linear nodes, and in which order a step updates them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ...checks import name as checked_name
from ...errors import UserError, require
from ...shapes import LARGEST_DELAY, LARGEST_FAN, LARGEST_LAYERS, LARGEST_POOL, shape_of
from .convention import Convention
from .geometry import CONVOLUTIONS, DENSE, LINEAR, bias, pool_kernel, weight, window
from .neurons import FIELDS, NEURONS, SILENT, SPIKING, Rule, rule, thresholded, values
from .records import Findings, Plain, Record, flattened
from .shapes import Shape, inferred, settled

WHOLE = 1e-3  # steps: a delay so near to a whole number of them is that number


@dataclass(frozen=True)
class Path:
    """From a source to a population through the linear `nodes`, in their order.

    steps
        How many steps later it is read, besides what the Delay nodes on it add.
    """

    source: str
    nodes: tuple[str, ...]
    steps: int = 0


@dataclass(frozen=True)
class Neurons:
    """A population: its shape, its rule, and the paths that lead to it. `members`: the nodes that it stands for."""

    name: str
    shape: Shape
    rule: Rule
    paths: tuple[Path, ...]
    members: tuple[str, ...]


@dataclass(frozen=True)
class Structure:
    """A NIR graph under a convention.

    inputs
        The shape of each Input.
    populations
        In the order in which a step updates them.
    outputs
        The population that each Output puts out.
    delays
        The delay of each Delay node in steps, int64 `[1]` or `[values]`.
    """

    plain: Plain
    convention: Convention
    shapes: dict[str, Shape]
    inputs: dict[str, Shape]
    populations: tuple[Neurons, ...]
    outputs: dict[str, str]
    delays: dict[str, np.ndarray]

    def population(self, name: str) -> Neurons:
        return next(one for one in self.populations if one.name == name)


KNOWN = (*NEURONS, *LINEAR)


def structure(record: Record, convention: Convention, findings: Findings | None = None) -> Structure:
    """The populations of a NIR graph.

    All that stands in the way is gathered in `findings` before the first of it is raised.

    Raises
    ------
    UserError
        The graph cannot be what it says; the message names the node, the value and what is expected.
    """
    findings = Findings() if findings is None else findings
    plain = flattened(record, findings)
    if convention.framework == "spyx":
        plain = _direct(plain, findings)
    for name, node in plain.nodes.items():
        with findings.gathered():
            checked_name("node name", name)
            require(node.type in KNOWN, f"node {name} type", node.type, f"one of {', '.join((*KNOWN, 'NIRGraph'))}")
    _stop(plain, convention, findings)
    plain = _connected(plain, findings)
    if convention.spikes == "single":
        with findings.gathered():
            plain = _max_pools(plain, convention)
    for kind in ("Input", "Output"):
        ends = [name for name, node in plain.nodes.items() if node.type == kind]
        free = [name for name in ends if not (plain.before if kind == "Input" else plain.after)(name)]
        with findings.gathered():
            require(bool(free), f"nodes {kind}", "none", f"one: a node {kind} at the border of the graph")
    with findings.gathered():
        _check_cycles(plain)
    _stop(plain, convention, findings)
    shapes = inferred(plain, findings)
    _stop(plain, convention, findings)
    if convention.framework == "spyx":
        with findings.gathered():
            plain = _channels_last(plain, shapes, findings)
    delays = {}
    for name, node in plain.nodes.items():
        if node.type == "Delay":
            with findings.gathered():
                delays[name] = _delay(name, node, shapes[name], convention)
    fused = _fused(plain)
    rules = {}
    for name, node in plain.nodes.items():
        if node.type in NEURONS and name not in fused.values():
            with findings.gathered():
                shape = settled(shapes[name])
                if name in fused and node.type == "Threshold":
                    first = plain.nodes[fused[name]]
                    membrane = rule(f"node {fused[name]}", first, shape, convention)
                    rules[name] = thresholded(f"node {name}", membrane, node, shape)
                else:
                    rules[name] = rule(f"node {name}", node, shape, convention)
                shape_of(f"node {name} shape", shape)
    findings.stop()
    paths = {}
    for name in rules:
        with findings.gathered():
            paths[name] = _paths(plain, fused.get(name, name), rules, fused)
            for path in paths[name]:
                silent = path.source in rules and not rules[path.source].spiking
                require(not silent, f"node {path.source}", f"a {plain.nodes[path.source].type} that leads to {name}",
                        "neurons that spike: a membrane can only be read out")  # fmt: skip
    outputs: dict[str, str] = {}
    for name, node in plain.nodes.items():
        if node.type == "Output" and not plain.after(name):
            with findings.gathered():
                outputs[name] = _read(plain, name, rules, fused, paths, shapes, findings)
    findings.stop()
    for name in [one for one in rules if not rules[one].spiking and one not in outputs.values()]:
        findings.note(f"node {name}: its membranes are not read out, left out")
        del rules[name], paths[name]
    require(1 <= len(rules) <= LARGEST_LAYERS, "neuron nodes", len(rules), f"1 to {LARGEST_LAYERS}")
    used = _reaching(paths, set(outputs.values()))
    for name in [one for one in rules if one not in used]:
        findings.note(f"node {name}: it reaches no Output")
    order, late = _ordered(plain, rules, paths, delays)
    for source, target in sorted(late):
        findings.note(f"the connection {source} -> {target} closes a cycle: it is read a step later")
    made = []
    for name in order:
        ways = tuple(replace(path, steps=_steps(path, name, rules, late, delays)) for path in paths[name])
        shape = settled(shapes[fused.get(name, name)])
        made.append(Neurons(name, shape, rules[name], ways, (fused[name], name) if name in fused else (name,)))
    inputs = {
        name: settled(shapes[name])
        for name, node in plain.nodes.items()
        if node.type == "Input" and any(path.source == name for ways in paths.values() for path in ways)
    }
    require(bool(inputs), "Input", "read by no neurons", "a path from it")
    return Structure(plain, convention, shapes, inputs, tuple(made), outputs, delays)


def _stop(plain: Plain, convention: Convention, findings: Findings) -> None:
    """Raise what was found, if anything was, together with what is wrong in single nodes, whatever is around them."""
    if not findings.errors:
        return
    for name, node in plain.nodes.items():
        where = f"node {name}"
        with findings.gathered():
            if node.type in NEURONS:
                rule(where, node, _own_shape(node), convention)
            elif node.type in (*DENSE, *CONVOLUTIONS):
                rank = 2 if node.type in DENSE else 3 if node.type == "Conv1d" else 4
                full = weight(where, node, rank)
                bias(where, node, len(full))
    findings.stop()


def _own_shape(node: Record) -> Shape:
    """The shape that a neuron's parameters have, the largest of them."""
    sizes = [np.shape(node.fields[field]) for field in FIELDS[node.type] if field in node.fields]
    return max(sizes, key=prod, default=()) or (1,)


def _direct(plain: Plain, findings: Findings) -> Plain:
    """Spyx writes the input of a recurrent layer as if it went through the recurrent weights; it does not."""
    edges = list(plain.edges)
    for source, weights in plain.edges:
        if plain.nodes[source].type != "Input" or plain.nodes[weights].type not in ("Linear", "Affine"):
            continue
        for neurons in plain.after(weights):
            if (neurons, weights) in plain.edges and neurons.rpartition(".")[0].startswith(source.rpartition(".")[0]):
                edges[edges.index((source, weights))] = (source, neurons)
                findings.note(f"edge {source} -> {weights}: read as {source} -> {neurons}, which Spyx computes")
    return Plain(plain.nodes, tuple(edges))


def _channels_last(plain: Plain, shapes: dict[str, Shape], findings: Findings) -> Plain:
    """Spyx flattens maps with their channels last, and writes the weights behind them so; all else is the other way."""
    nodes = dict(plain.nodes)
    for name, node in plain.nodes.items():
        shape = shapes[plain.before(name)[0]] if node.type == "Flatten" else ()
        if len(shape) != 3 or 1 in (shape[0], prod(shape[1:])):
            continue
        places = np.arange(prod(shape)).reshape(*shape[1:], shape[0]).transpose(2, 0, 1).reshape(-1)
        for dense in plain.after(name):
            where, after = f"node {dense}", plain.nodes[dense]
            require(after.type in DENSE, where, f"a {after.type} behind {name}", f"one of {', '.join(DENSE)}")
            nodes[dense] = replace(after, fields={**after.fields, "weight": weight(where, after, 2)[:, places]})
            findings.note(f"{where}: its weights are read with the channels of {name} last, as Spyx computes")
    return Plain(nodes, plain.edges)


def _max_pools(plain: Plain, convention: Convention) -> Plain:
    """`plain` with a max pool where neurons spike if one of a window does: a Threshold behind a SumPool2d of spikes."""
    nodes, edges = dict(plain.nodes), list(plain.edges)
    for name, node in plain.nodes.items():
        pools = plain.before(name)
        if node.type != "Threshold" or [plain.nodes[pool].type for pool in pools] != ["SumPool2d"]:
            continue
        sources = plain.before(pools[0])
        while len(sources) == 1 and plain.nodes[sources[0]].type == "Delay":
            sources = plain.before(sources[0])
        spikes = [plain.nodes[source].type in SPIKING for source in sources] == [True]
        inner = {plain.nodes[after].type for after in plain.after(name)} <= {*LINEAR} - {"Input", "Output"}
        pool = nodes[pools[0]]
        if spikes and inner and plain.after(pools[0]) == [name] and _is_or(pools[0], pool, name, node, convention):
            nodes[name] = replace(pool, type="MaxPool2d")
            del nodes[pools[0]]
            edges = [(a, name if b == pools[0] else b) for a, b in edges if (a, b) != (pools[0], name)]
    return Plain(nodes, tuple(edges))


def _is_or(pool: str, pooled: Record, name: str, node: Record, convention: Convention) -> bool:
    """Whether one spike in a window reaches the threshold and none does not, and windows are those of a max pool."""
    threshold = np.asarray(node.fields.get("threshold", 0.0))
    if threshold.dtype.kind not in "biuf" or threshold.size == 0:
        return False
    low, high = float(threshold.min()), float(threshold.max())
    reached = 0 < low <= high <= 1 if convention.compare == "ge" else 0 <= low <= high < 1
    size = pool_kernel(f"node {pool}", pooled)
    frame = window(f"node {pool}", pooled, size)
    beside = size == frame.stride and size[0] == size[1] <= LARGEST_POOL and frame.before == (0, 0)
    return reached and beside


def _connected(plain: Plain, findings: Findings) -> Plain:
    """`plain` without nodes that no edge names."""
    named = {end for edge in plain.edges for end in edge}
    for name in plain.nodes:
        if name not in named:
            findings.note(f"node {name}: no edge leads to it or from it, left out")
    return Plain({name: node for name, node in plain.nodes.items() if name in named}, plain.edges)


def _check_cycles(plain: Plain) -> None:
    """`UserError` for a cycle of nodes none of which is a neuron."""
    linear = [name for name, node in plain.nodes.items() if node.type in LINEAR]
    before = {name: {source for source in plain.before(name) if plain.nodes[source].type in LINEAR} for name in linear}
    left = set(linear)
    while free := [name for name in left if not before[name] & left]:
        left -= set(free)
    if left:
        path = [min(left)]
        while path[-1] not in path[:-1]:
            path.append(min(before[path[-1]] & left))
        path = path[path.index(path[-1]) :]
        raise UserError.of("cycle of nodes", " -> ".join(reversed(path)), "a neuron in it")


def _delay(name: str, node: Record, shape: Shape, convention: Convention) -> np.ndarray:
    """Delays in steps."""
    given = values(f"node {name}", node, "delay", shape) / convention.dt
    require(bool(np.isfinite(given).all() and (given >= 0).all()), f"node {name} delay", given.min(), "0 or more")
    steps = np.rint(given)
    off = np.abs(given - steps)
    worst = int(off.argmax())
    accepted = f"whole steps of --dt {convention.dt:g}"
    require(bool(off[worst] <= WHOLE), f"node {name} delay", f"{given[worst]:.6g} steps", accepted)
    require(
        bool((steps <= LARGEST_DELAY).all()), f"node {name} delay", int(steps.max()), f"at most {LARGEST_DELAY} steps"
    )
    return steps.astype(np.int64)


def _fused(plain: Plain) -> dict[str, str]:
    """For each Threshold that reads one silent neuron, which nothing else reads: that neuron."""
    found = {}
    for name, node in plain.nodes.items():
        before = plain.before(name)
        alone = node.type == "Threshold" and len(before) == 1 and plain.nodes[before[0]].type in SILENT
        if alone and plain.after(before[0]) == [name]:
            found[name] = before[0]
    return found


def _paths(plain: Plain, name: str, rules: dict[str, Rule], fused: dict[str, str]) -> tuple[Path, ...]:
    """All ways that lead to the node `name` from inputs and neurons."""
    found: list[Path] = []
    left: list[tuple[str, tuple[str, ...]]] = [(name, ())]
    while left:
        node, behind = left.pop()
        for source in plain.before(node):
            kind = plain.nodes[source].type
            if source in rules or (kind == "Input" and not plain.before(source)):
                found.append(Path(source, behind))
                where = f"node {name} connections"
                require(len(found) <= LARGEST_FAN, where, f"more than {LARGEST_FAN}", f"at most {LARGEST_FAN}")
            elif kind in NEURONS:
                raise UserError.of(
                    f"node {source}", f"a {kind} that leads to {node}", "one Threshold behind it, or none"
                )
            else:
                left.append((source, (source, *behind) if kind not in ("Input", "Output") else behind))
    return tuple(reversed(found))


def _read(
    plain: Plain,
    name: str,
    rules: dict[str, Rule],
    fused: dict[str, str],
    paths: dict[str, tuple[Path, ...]],
    shapes: dict[str, Shape],
    findings: Findings,
) -> str:
    """The population that an Output puts out; of linear nodes that end there, a population of their sums is made."""
    ways = _paths(plain, name, rules, fused)
    require(bool(ways), f"node {name}", "reached by nothing", "a path from an Input")
    plainly = all(plain.nodes[node].type == "Flatten" for way in ways for node in way.nodes)
    if plainly and len(ways) == 1 and ways[0].source in rules:
        return ways[0].source
    straight = any(way.source not in rules and not way.nodes for way in ways)
    require(not straight, f"node {name}", "what an Input puts in", "neurons before it")
    zero, one = np.zeros(1), np.ones(1)
    rules[name] = Rule(zero, one, zero, None, False, "none", zero, zero, zero)
    paths[name] = ways
    findings.note(f"node {name}: linear nodes lead to it, so that their sums are read out as membranes without memory")
    return name


def _reaching(paths: dict[str, tuple[Path, ...]], ends: set[str]) -> set[str]:
    """The populations from which a path leads to one of `ends`."""
    found, left = set(ends), list(ends)
    while left:
        for path in paths.get(left.pop(), ()):
            if path.source not in found:
                found.add(path.source)
                left.append(path.source)
    return found


def _is_delayed(path: Path, delays: dict[str, np.ndarray]) -> bool:
    """Whether all that goes along a path is a step late or more, by Delay nodes."""
    return any(delays[node].min() > 0 for node in path.nodes if node in delays)


def _steps(
    path: Path, target: str, rules: dict[str, Rule], late: set[tuple[str, str]], delays: dict[str, np.ndarray]
) -> int:
    """How much later `target` reads a path: a step where its source is late, or where it closes a cycle."""
    is_late = path.source in rules and rules[path.source].late
    return int(is_late or ((path.source, target) in late and not _is_delayed(path, delays)))


def _ordered(
    plain: Plain, rules: dict[str, Rule], paths: dict[str, tuple[Path, ...]], delays: dict[str, np.ndarray]
) -> tuple[list[str], set[tuple[str, str]]]:
    """The order of a step, and the connections that close a cycle: they are read a step later.

    Which of the connections of a cycle that is, is found by a search from the populations that the inputs reach first.
    """
    direct: dict[str, set[str]] = {name: set() for name in rules}
    for name, ways in paths.items():
        for path in ways:
            if path.source in rules and not rules[path.source].late and not _is_delayed(path, delays):
                direct[path.source].add(name)
    depth = _depths(rules, paths)
    names = sorted(rules, key=lambda name: (depth[name], _natural(name)))
    late = _closing(names, direct)
    order: list[str] = []
    left = list(names)
    while left:
        ready = next(
            name
            for name in left
            if not any(name in direct[other] and (other, name) not in late for other in left if other != name)
        )
        order.append(ready)
        left.remove(ready)
    return order, late


def _closing(names: list[str], direct: dict[str, set[str]]) -> set[tuple[str, str]]:
    """The connections that lead back to where a search, from the first of `names` on, has come from."""
    found: set[tuple[str, str]] = set()
    done: set[str] = set()
    for first in names:
        way = [] if first in done else [(first, iter(sorted(direct[first], key=names.index)))]
        while way:
            name, targets = way[-1]
            target = next(targets, None)
            if target is None:
                done.add(name)
                way.pop()
            elif target in {one for one, _ in way}:
                found.add((name, target))
            elif target not in done:
                way.append((target, iter(sorted(direct[target], key=names.index))))
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `2` before `10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _depths(rules: dict[str, Rule], paths: dict[str, tuple[Path, ...]]) -> dict[str, int]:
    """For each population, the fewest connections from an input to it; of what none reaches, as many as there are."""
    found: dict[str, int] = {}
    for depth in range(len(rules)):
        for name in rules:
            if name not in found and any(
                path.source not in rules or found.get(path.source, depth) < depth for path in paths[name]
            ):
                found[name] = depth
    for name in rules:
        require(name in found, f"node {name}", "reached by no Input", "a path from an Input")
    return found
