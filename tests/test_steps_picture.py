"""A network as a picture: well-formed, all of it drawn, nothing on top of something else."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
import random_graphs
from click.testing import CliRunner
from graphs import population, recurrent, weights

from gradrtl.commands.network import info
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork, Readout
from gradrtl.steps.drawing import drawing
from gradrtl.steps.picture import HEIGHT, WIDTH, Line, Node, layout, picture

ROOT = Path(__file__).resolve().parent.parent
SVG = "{http://www.w3.org/2000/svg}"


def skipping() -> QuantizedNetwork:
    """`a` leads to `b` and `c`, `b` to `c`, and `c` back to `a`, two steps late; `c` and `a` are added for `d`."""
    return QuantizedNetwork(
        Input((4,), kind="spikes"),
        (
            population("a", 3, Connection("input", weights(3, 4)), Connection("c", weights(3, 3), delay=2)),
            population("b", 3, Connection("a", weights(3, 3))),
            population("c", 3, Connection("b", weights(3, 3)), Connection("a", weights(3, 3))),
            population("d", 2, Connection(("c", "a"), weights(2, 3))),
        ),
        3,
    )


def texts(tree: ElementTree.Element, name: str) -> list[str]:
    return [element.text or "" for element in tree.iter(f"{SVG}{name}")]


def test_connections_that_look_alike() -> None:
    skip, back = Connection("input", weights(3, 4)), Connection("b", weights(3, 3), delay=1)
    network = QuantizedNetwork(
        Input((4,), kind="spikes"),
        (population("a", 3, skip), population("b", 3, Connection("a", weights(3, 3)), skip, skip, back, back)),
        3,
    )
    _, lines = layout(network)
    points = [tuple(line.points) for line in lines]
    assert len(set(points)) == len(points) == 7
    assert len({one[-1] for one in points[1:6]}) == 5, "each has an entry of its own"


def test_rows_and_sides_of_a_graph() -> None:
    nodes, lines = layout(skipping())
    assert [(node.lines[0], node.row) for node in nodes] == [
        ("input", 0), ("a", 1), ("b", 2), ("c", 3), ("d", 4), ("read-out of d", 5),
    ]  # fmt: skip
    told = [(nodes[line.start].lines[0], nodes[line.end].lines[0], line.side, line.label) for line in lines]
    assert told == [
        ("input", "a", 0, ""),
        ("c", "a", -1, "delay 2"),
        ("a", "b", 0, ""),
        ("b", "c", 0, ""),
        ("a", "c", 1, ""),
        ("c", "d", 0, ""),
        ("a", "d", 1, ""),
        ("d", "read-out of d", 0, ""),
    ]
    assert [line.late for line in lines] == [number == 1 for number in range(8)]
    assert lines[4].lane == lines[6].lane
    back = lines[1]
    assert max(x for x, _ in back.points[2:4]) < min(node.x for node in nodes)
    assert back.points[0][1] == nodes[3].y + HEIGHT
    assert back.points[-1][1] == nodes[1].y
    assert min(x for x, _ in lines[4].points[2:4]) > max(node.x + WIDTH for node in nodes)


def meets(line: Line, node: Node) -> bool:
    """Whether a horizontal or vertical part of a line crosses a box."""
    return any(
        min(ax, bx) < node.x + WIDTH and max(ax, bx) > node.x and min(ay, by) < node.y + HEIGHT and max(ay, by) > node.y
        for (ax, ay), (bx, by) in zip(line.points, line.points[1:], strict=False)
    )


def level(line: Line) -> list[tuple[float, float, float]]:
    """The horizontal parts of a line in lanes: height, from, to."""
    (_, _), (ax, ay), (bx, _), (cx, cy), (dx, _), (_, _) = line.points
    return [(ay, min(ax, bx), max(ax, bx)), (cy, min(cx, dx), max(cx, dx))]


@pytest.mark.parametrize("seed", range(40))
def test_graphs_are_drawn_without_overlaps(seed: int) -> None:
    network = random_graphs.graph(seed)
    nodes, lines = layout(network)
    assert len(lines) == sum(len(edge.connection.sources) for edge in network.edges) + len(network.readouts)
    for one, other in combinations(nodes, 2):
        assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT
    for line in lines:
        assert line.late or nodes[line.start].row < nodes[line.end].row
        assert line.side or len(line.points) == 2
        assert not line.side or not any(meets(line, node) for node in nodes)
    long = [line for line in lines if line.side]
    for one, other in combinations(long, 2):
        if one.start == other.start and one.lane == other.lane:
            continue
        for y, low, high in level(one):
            assert not any(y == v and low < to and start < high for v, start, to in level(other))
        lanes = [sorted((line.points[2][1], line.points[3][1])) for line in (one, other)]
        assert one.points[2][0] != other.points[2][0] or lanes[0][1] < lanes[1][0] or lanes[1][1] < lanes[0][0]
    tree = ElementTree.fromstring(picture(network))
    assert len(list(tree.iter(f"{SVG}rect"))) == len(nodes)
    x, y, width, height = map(float, tree.attrib["viewBox"].split())
    assert (x, y) == (0, 0)
    for points in (*(line.points for line in lines), [(node.x + WIDTH, node.y + HEIGHT) for node in nodes]):
        assert all(0 < px < width and 0 < py < height for px, py in points)


def test_text_of_the_picture() -> None:
    network = recurrent()
    text = picture(network)
    tree = ElementTree.fromstring(text)
    assert tree.attrib["role"] == "img"
    assert tree.attrib["aria-labelledby"] == "graph-title graph-text"
    assert texts(tree, "desc") == ["\n".join(drawing(network))]
    assert {"input", "hidden", "output", "read-out of output", "delay 1", "6", "graded, 2 bit"} <= set(
        texts(tree, "text")
    )
    assert any(title.endswith("delay 1, from itself") for title in texts(tree, "title"))
    dashed = [path for path in tree.iter(f"{SVG}path") if "stroke-dasharray" in path.attrib]
    assert len(dashed) == 1
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_picture_of_the_page_is_that_of_the_network() -> None:
    """Written by `gradrtl info networks/mnist-rows-20pct.npz --picture docs/mnist-rows.svg`."""
    given = QuantizedNetwork.load(ROOT / "networks" / "mnist-rows-20pct.npz")
    assert (ROOT / "docs" / "mnist-rows.svg").read_text() == picture(given)


def test_names_are_text() -> None:
    name = "<script>\"&'</script> and a name that is longer than a box"
    network = recurrent()
    renamed = replace(network.populations[1], name=name)
    given = replace(network, populations=(network.populations[0], renamed), readouts=Readout(source=name))
    tree = ElementTree.fromstring(picture(given))
    assert not list(tree.iter(f"{SVG}script"))
    assert any(title.startswith(f"{name}, 3, leak") for title in texts(tree, "title"))
    assert "<script>\"&'</script> an…" in texts(tree, "text")


def test_info_writes_the_picture(tmp_path) -> None:
    network = recurrent()
    network.save(tmp_path / "graph.npz")
    result = CliRunner().invoke(info, [str(tmp_path / "graph.npz"), "--picture", str(tmp_path / "graph.svg")])
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'graph.svg'}" in result.output
    assert (tmp_path / "graph.svg").read_text() == picture(network)
