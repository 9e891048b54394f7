"""A network as a picture: one self-contained SVG, with the lines of `drawing` as its text.

Inputs, populations and read-outs stand in rows: a node is one row below the lowest of those that it reads from earlier
in a step. Connections to the next row are curves. Longer ones run in lanes on the right, one for each source. What
comes back, or stays in its row, runs in lanes on the left. Connections with a delay are dashed.
The parts have classes, by which a page can give them other colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from ..quantize.network import Edge, QuantizedNetwork
from .drawing import connection_text, drawing, neuron_text, shape_text

WIDTH, HEIGHT, SPACE = 190, 58, 26  # of a node; between two in a row
LANE, FIRST_LEFT, FIRST_RIGHT, MARGIN = 16, 66, 26, 14  # between lanes; from nodes to the first; around all
GAP, TRACK = 34, 13  # between rows without lines that cross, and for each of these
RADIUS = 6
LONGEST = 24  # characters of a line in a node
COLOURS = {"input": "#e8f1fa", "population": "#ffffff", "read-out": "#eaf5ee"}
FORWARD, LATE, INK = "#44546a", "#b3470b", "#1c2733"


@dataclass
class Node:
    """A box: `lines` of text, `row` from the top, and the left upper corner, once it has one."""

    kind: str
    lines: tuple[str, ...]
    row: int
    x: float = 0.0
    y: float = 0.0

    @property
    def middle(self) -> float:
        return self.x + WIDTH / 2


@dataclass(eq=False)  # two connections may look alike
class Line:
    """From the node `start` to the node `end`; `label` is written beside it, `title` says all of it.

    `side`: -1 in a lane on the left, 1 on the right, 0 for a curve into the next row; `lane`: its number.
    """

    start: int
    end: int
    label: str
    title: str
    late: bool
    side: int
    lane: int = 0
    points: list[tuple[float, float]] = field(default_factory=list)


def picture(network: QuantizedNetwork) -> str:
    """The SVG of `network`."""
    nodes, lines = layout(network)
    width = max(node.x + WIDTH for node in nodes)
    width = max([width, *(x for line in lines for x, _ in line.points)]) + MARGIN
    height = max(node.y for node in nodes) + HEIGHT + MARGIN
    described = escape("\n".join(drawing(network)))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-labelledby="graph-title graph-text" font-family="system-ui, sans-serif">',
        f'<title id="graph-title">The network as a graph</title>\n<desc id="graph-text">{described}</desc>',
        f"<defs>{_arrow('forward', FORWARD)}{_arrow('late', LATE)}</defs>",
        *map(_drawn, lines),
        *map(_box, nodes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def layout(network: QuantizedNetwork) -> tuple[list[Node], list[Line]]:
    """Nodes and lines with their places. Nodes: the inputs, the populations, the read-outs, in the network's order."""
    nodes, numbers = _nodes(network)
    lines = [
        _line(edge, source, numbers, nodes, network) for edge in network.edges for source in edge.connection.sources
    ]
    first = len(nodes) - len(network.readouts)
    for number, readout in enumerate(network.readouts, first):
        title = f"{readout.source} is read out: {readout.kind}"
        lines.append(Line(numbers[readout.source], number, "", title, False, 0))
    for line in lines[-len(network.readouts) :]:
        line.side = int(nodes[line.end].row > nodes[line.start].row + 1)
    _place(nodes, lines)
    return nodes, lines


def _nodes(network: QuantizedNetwork) -> tuple[list[Node], dict[str, int]]:
    """All nodes with their rows, and the numbers of inputs and populations by name."""
    names = [given.name for given in network.inputs] + [population.name for population in network.populations]
    rows = dict.fromkeys((given.name for given in network.inputs), 0)
    for number in network.order:
        population = network.populations[number]
        read = {source for connection in population.inputs for source in connection.sources}
        rows[population.name] = 1 + max((rows[source] for source in read if source in rows), default=0)
    nodes = [
        Node("input", (given.name, shape_text(given.shape), f"{given.kind}, {given.bits} bit"), 0)
        for given in network.inputs
    ]
    for number, population in enumerate(network.populations):
        text = population.name, shape_text(population.shape), neuron_text(network, number)
        nodes.append(Node("population", text, rows[population.name]))
    last = max(rows.values()) + 1
    for readout, classes in zip(network.readouts, network.classes_of, strict=True):
        nodes.append(Node("read-out", (f"read-out of {readout.source}", f"{readout.kind}, {classes} sums"), last))
    return nodes, {name: number for number, name in enumerate(names)}


def _line(edge: Edge, source: str, numbers: dict[str, int], nodes: list[Node], network: QuantizedNetwork) -> Line:
    given, name = edge.connection, network.populations[edge.population].name
    start, end = numbers[source], numbers[name]
    down = nodes[end].row - nodes[start].row
    words = [f"delay {given.delay}"] if given.delay else []
    words += [f"{given.pool.kind} pool {given.pool.size}"] if given.pool else []
    title = f"{name}, from {connection_text(edge, name)}"
    return Line(start, end, ", ".join(words), title, given.delay > 0, -1 if down <= 0 else int(down > 1))


def _place(nodes: list[Node], lines: list[Line]) -> None:
    """Give nodes and lines their places."""
    rows = [[node for node in nodes if node.row == row] for row in range(max(node.row for node in nodes) + 1)]
    widest = max(len(row) * (WIDTH + SPACE) - SPACE for row in rows)
    left = _lanes(nodes, (line for line in lines if line.side < 0))
    _lanes(nodes, (line for line in lines if line.side > 0))
    begin = MARGIN + (FIRST_LEFT + LANE * (left - 1) if left else 0)
    tracks = _tracks(nodes, lines, len(rows))
    y, tops = float(MARGIN), []
    for row, gap in zip(rows, [*tracks[1:], []], strict=True):
        tops.append(y)
        for turn, node in enumerate(row):
            free = widest - (len(row) * (WIDTH + SPACE) - SPACE)
            node.x, node.y = begin + free / 2 + turn * (WIDTH + SPACE), y
        y += HEIGHT + GAP + TRACK * len(gap)
    into = {number: [line for line in lines if line.end == number] for number in range(len(nodes))}
    for line in lines:
        start, end, entries = nodes[line.start], nodes[line.end], into[line.end]
        entry = end.x + WIDTH * (entries.index(line) + 1) / (len(entries) + 1), end.y
        if not line.side:
            line.points = [(start.middle, start.y + HEIGHT), entry]
            continue
        leave = start.middle + line.side * WIDTH / 4
        first_right = begin + widest + FIRST_RIGHT
        lane = first_right + LANE * line.lane if line.side > 0 else begin - FIRST_LEFT - LANE * line.lane
        below = _height(tops, tracks, start.row + 1, (line.side, line.start, line.lane))
        above = _height(tops, tracks, end.row, (line.side, line.start, line.lane, line.end, entries.index(line)))
        line.points = [
            (leave, start.y + HEIGHT), (leave, below), (lane, below), (lane, above), (entry[0], above), entry
        ]  # fmt: skip


def _lanes(nodes: Sequence[Node], lines: Iterable[Line]) -> int:
    """Number the lanes, so that lines share one if they have the same source or never meet; how many there are."""
    taken: list[list[tuple[int, int]]] = []  # by lane: gaps from and to
    together: dict[tuple[int, bool], list[Line]] = {}
    for line in lines:
        together.setdefault((line.start, line.late), []).append(line)
    for (start, _), several in sorted(together.items(), key=lambda item: _length(nodes, item[1])):
        ends = [nodes[line.end].row for line in several]
        top, bottom = min(nodes[start].row + 1, *ends), max(nodes[start].row + 1, *ends)
        free = (number for number, lane in enumerate(taken) if all(bottom < low or high < top for low, high in lane))
        number = next(free, len(taken))
        if number == len(taken):
            taken.append([])
        taken[number].append((top, bottom))
        for line in several:
            line.lane = number
    return len(taken)


def _length(nodes: Sequence[Node], lines: Sequence[Line]) -> int:
    return max(abs(nodes[line.end].row - nodes[line.start].row) for line in lines)


def _tracks(nodes: Sequence[Node], lines: Sequence[Line], gaps: int) -> list[list[tuple[int, ...]]]:
    """Above each row: the horizontal lines there, each by what makes it one, from the top."""
    found: list[list[tuple[int, ...]]] = [[] for _ in range(gaps)]
    entries: dict[int, list[Line]] = {}
    for line in lines:
        entries.setdefault(line.end, []).append(line)
    for line in lines:
        if not line.side:
            continue
        leaves = line.side, line.start, line.lane
        if leaves not in found[nodes[line.start].row + 1]:
            found[nodes[line.start].row + 1].append(leaves)
        turn = entries[line.end].index(line)
        found[nodes[line.end].row].append((*leaves, line.end, turn))
    for gap in found:
        gap.sort(key=lambda track: (len(track), track))
    return found


def _height(tops: Sequence[float], tracks: list[list[tuple[int, ...]]], gap: int, track: tuple[int, ...]) -> float:
    """The y of a track: those of a gap stand in its middle."""
    own = tracks[gap]
    return tops[gap] - GAP / 2 - TRACK * (len(own) - 1 - own.index(track))


def _arrow(name: str, colour: str) -> str:
    return (
        f'<marker id="graph-{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path class="{name}-end" d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    )


def _drawn(line: Line) -> str:
    colour, marker = (LATE, "late") if line.late else (FORWARD, "forward")
    dashes = ' stroke-dasharray="5 3"' if line.late else ""
    (x, y), (end_x, end_y) = line.points[0], line.points[-1]
    if len(line.points) == 2:
        bend = (y + end_y) / 2
        path = f"M{x:g} {y:g}C{x:g} {bend:g} {end_x:g} {bend:g} {end_x:g} {end_y:g}"
        label = (x + end_x) / 2 + 5, bend + 4
    else:
        path = _rounded(line.points)
        label = line.points[3][0] + (5 if line.side < 0 else -5), line.points[4][1] - 3
    anchor = "end" if line.side > 0 else "start"
    text = ""
    if line.label:
        text = (
            f'<text class="label {marker}-label" x="{label[0]:g}" y="{label[1]:g}" font-size="10" fill="{colour}" '
            f'text-anchor="{anchor}" '
            f'stroke="#fff" stroke-width="3" paint-order="stroke">{escape(line.label)}</text>'
        )
    return (
        f'<g><title>{escape(line.title)}</title><path class="{marker}" d="{path}" fill="none" stroke="{colour}" '
        f'stroke-width="1.5"{dashes} marker-end="url(#graph-{marker})"/>{text}</g>'
    )


def _rounded(points: Sequence[tuple[float, float]]) -> str:
    """A path of horizontal and vertical lines with round corners."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (ax, ay), (bx, by), (cx, cy) in zip(points, points[1:], points[2:], strict=False):
        before, after = abs(bx - ax) + abs(by - ay), abs(cx - bx) + abs(cy - by)
        r = min(RADIUS, before / 2, after / 2)
        into = bx - r * _sign(bx - ax), by - r * _sign(by - ay)
        out = bx + r * _sign(cx - bx), by + r * _sign(cy - by)
        path += f"L{into[0]:g} {into[1]:g}Q{bx:g} {by:g} {out[0]:g} {out[1]:g}"
    return f"{path}L{points[-1][0]:g} {points[-1][1]:g}"


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _box(node: Node) -> str:
    name, *others = node.lines
    texts = [
        f'<text x="{node.middle:g}" y="{node.y + 20:g}" text-anchor="middle" font-size="13" font-weight="600" '
        f'fill="{INK}">{escape(_short(name, LONGEST))}</text>'
    ]
    texts += [
        f'<text x="{node.middle:g}" y="{node.y + 20 + 15 * number:g}" text-anchor="middle" font-size="11" '
        f'fill="{INK}">{escape(_short(text, LONGEST + 8))}</text>'
        for number, text in enumerate(others, 1)
    ]
    return (
        f"<g><title>{escape(', '.join(node.lines))}</title>"
        f'<rect class="{node.kind}" x="{node.x:g}" y="{node.y:g}" width="{WIDTH}" height="{HEIGHT}" rx="7" '
        f'fill="{COLOURS[node.kind]}" stroke="{FORWARD}"/>{"".join(texts)}</g>'
    )


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
