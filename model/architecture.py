"""Network descriptions as users write them: a preset's name, a line of layers, or a JSON file. No torch.

A line of layers is a list of parts with hyphens between them, from the input to the output:

    784-256-10            fully connected layers; the number of input values comes first
    32C3-P2-64C3-P2-10    convolutions onto 32 and 64 maps, pools, a fully connected layer of 10 outputs

    N      fully connected layer of N neurons; as the first part, the number of values in an image
    NCk    convolution onto N maps with kernels of k x k (k odd), stride 1, zeros around the border, batch normalisation
    Pk     max pool of k x k after the convolution before it; APk: average pool
    Vn     last part: groups of n outputs vote for a class

With a recurrent part the line is a graph (`graph.py`), and its first part the number of values at a step:

    28-R128-10            images row by row, 28 values a step; 128 neurons that hear each other; 10 outputs
    784-R128-10           the whole image, held for 8 steps

    RN     N neurons, each of which hears the layer before it, and all N of them a step ago. Letters behind it:
           c, a synaptic current; a, an adaptive threshold; s, a soft reset
    N      N neurons that hear the layer before; as the last part outputs that do not spike, and whose membranes at the
           end are read out. Decays are learnt, one for each layer

For recordings the line is always a graph, of as many steps as they have. Its first part is the number of sources, or a
convolution:

    578-800-10            800 neurons that hear the events of a step; outputs as above, summed over the steps
    64-R128ca-10          recurrent parts, and letters behind N as well: 800c
    16C3-P2-64-10         convolutions with batch normalisation, and pools behind them

Neurons are those of the presets (LIF, tau = 2, threshold 1, hard reset to 0) and run for 8 steps. A JSON file sets
every field of a `description.Network`. A missing field takes its default; the input shape is that of the images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..errors import UserError, require, within
from ..shapes import Pool
from .description import PRESETS, ConvSpec, DenseSpec, LayerSpec, Network
from .graph import (
    LI,
    AdaptationSpec,
    ConnectionSpec,
    CurrentSpec,
    Graph,
    InputSpec,
    NeuronSpec,
    PopulationSpec,
    ReadoutSpec,
)

Described = Callable[[tuple[int, ...]], Network | Graph]  # from the shape of an image, (channels, height, width)

DENSE, CONV, POOL, VOTE = (
    re.compile(text) for text in (r"(\d{1,6})", r"(\d{1,6})C(\d{1,3})", r"(A?)P(\d{1,3})", r"V(\d{1,6})")
)
RECURRENT = re.compile(r"R(\d{1,6})([cas]*)")
LETTERED = re.compile(r"(\d{1,6})([cas]*)")
HELD_STEPS = 8
GRAMMAR = "layers such as 784-256-10 or 32C3-P2-64C3-P2-10"
LARGEST_FILE = 1 << 20  # bytes


@dataclass(frozen=True)
class Recorded:
    """Of recordings: their `steps`, and the `bits` of their largest count."""

    steps: int
    bits: int


def described(network: str | Network | Graph, recorded: Recorded | None = None) -> Described:
    """What gives the description of `network`, a preset, a line of layers or a description, for images of a shape.

    Or for recordings, with steps of a shape.
    """
    if isinstance(network, Network | Graph):
        return lambda shape: network
    if recorded is not None:
        return _of_recordings(network, recorded)
    if network in PRESETS:
        return lambda shape: PRESETS[network]
    return parsed(network)


def require_known(network: str | Network | Graph) -> None:
    """`UserError` unless `network` is a preset, a description, or a line of layers, of images or of recordings."""
    try:
        described(network)
    except UserError:
        try:
            _of_recordings(str(network), Recorded(1, 1))
        except UserError:
            pass
        else:
            return
        raise


def parsed(text: str) -> Described:
    """A function from an image shape to the description of a line of layers; `UserError` names a wrong part."""
    parts = text.split("-") if isinstance(text, str) else []
    if any(RECURRENT.fullmatch(part) for part in parts):
        return _recurrent(text, parts)
    readable = any(DENSE.fullmatch(part) or CONV.fullmatch(part) for part in parts)
    require(readable, "network", text, f"one of {', '.join(PRESETS)}, or {GRAMMAR}")
    pixels = int(parts[0]) if DENSE.fullmatch(parts[0]) else None
    vote, layers = 1, list[LayerSpec]()
    rest = parts if pixels is None else parts[1:]
    for number, part in enumerate(rest):
        if found := DENSE.fullmatch(part):
            layers.append(LayerSpec(DenseSpec(int(found[1]))))
        elif found := CONV.fullmatch(part):
            channels, kernel = int(found[1]), int(found[2])
            require(kernel % 2 == 1, f"layers {text}, kernel of {part}", kernel, "odd, such as 3")
            conv = ConvSpec(channels, kernel=(kernel, kernel), padding=(kernel // 2, kernel // 2))
            layers.append(LayerSpec(conv, batch_norm=True))
        elif found := POOL.fullmatch(part):
            fits = bool(layers) and isinstance(layers[-1].synapses, ConvSpec) and layers[-1].pool is None
            require(fits, f"layers {text}, part {number + 1}", part, "a pool only after a convolution")
            kind = "average" if found[1] else "max"
            layers[-1] = LayerSpec(layers[-1].synapses, batch_norm=True, pool=Pool(kind, int(found[2])))
        elif (found := VOTE.fullmatch(part)) and part is rest[-1]:
            vote = int(found[1])
        else:
            require(False, f"layers {text}, part", part, "N, NCk, Pk or APk, and Vn at the end")
    require(bool(layers), "layers", text, f"at least one layer after the input, as in {GRAMMAR}")

    def of(shape: tuple[int, ...]) -> Network:
        values = prod(shape)
        if pixels is None:
            require(isinstance(layers[0].synapses, ConvSpec), "layers", text, f"{values} first, the values of an image")
        else:
            of_image = f"{values} first, the values of an image of shape {tuple(shape)}, or a convolution"
            require(pixels == values, f"layers {text}, input", pixels, of_image)
        return Network(text, tuple(shape), tuple(layers), vote=vote)

    return of


def _recurrent(text: str, parts: list[str]) -> Described:
    """What gives the graph of a line with recurrent parts."""
    first, *rest = parts
    require(bool(DENSE.fullmatch(first)), f"layers {text}, part 1", first, "the number of values at a step")
    layers = []
    for part in rest:
        found = RECURRENT.fullmatch(part) or DENSE.fullmatch(part)
        if found is None:
            raise UserError.of(
                f"layers {text}, part", part, "N, or RN with the letters c, a and s, beside a recurrent part"
            )
        layers.append((int(found[1]), part[0] == "R", found[2] if part[0] == "R" else ""))
    require(not layers[-1][1], f"layers {text}, last part", rest[-1], "N, the number of outputs")

    def of(shape: tuple[int, ...]) -> Graph:
        values, seen = prod(shape), int(first)
        row = values // shape[1]
        is_whole = seen > 0 and values % seen == 0 and seen % row == 0
        require(is_whole, f"layers {text}, values at a step", seen, f"{row}, a row of an image, or {values}, all of it")
        held = seen == values
        source, populations = InputSpec("image" if held else "rows", tuple(shape), held), []
        before = source.name
        for number, (neurons, recurs, letters) in enumerate(layers, start=1):
            last = number == len(layers)
            name = "output" if last else f"hidden{number}"
            heard = [ConnectionSpec((before,), DenseSpec(neurons))]
            if recurs:
                heard.append(ConnectionSpec((name,), DenseSpec(neurons), delay=1))
            neuron = LI if last else _hidden(letters)
            populations.append(PopulationSpec(name, tuple(heard), neuron, bias=True))
            before = name
        steps = HELD_STEPS if held else values // seen
        return Graph(text, (source,), tuple(populations), ReadoutSpec("output", "membrane"), steps)

    return of


def _of_recordings(text: str, recorded: Recorded) -> Described:
    """What gives the graph of a line for recordings."""
    first, *rest = text.split("-")
    sources = int(first) if DENSE.fullmatch(first) else None
    parts = [first, *rest] if sources is None else rest
    usable = bool(parts) and text not in PRESETS and (sources is not None or bool(CONV.fullmatch(first)))
    require(usable, "network", text, "layers such as 578-256-10 or 16C3-P2-64-10, or a graph: recordings")
    require(bool(DENSE.fullmatch(parts[-1])), f"layers {text}, last part", parts[-1], "N, the number of outputs")
    for number, part in enumerate(parts):
        pooled = bool(POOL.fullmatch(part))
        known = pooled or CONV.fullmatch(part) or RECURRENT.fullmatch(part) or LETTERED.fullmatch(part)
        require(bool(known), f"layers {text}, part", part, "N, RN, each with the letters c, a and s, NCk, Pk or APk")
        fits = not pooled or (number > 0 and bool(CONV.fullmatch(parts[number - 1])))
        require(fits, f"layers {text}, part", part, "a pool only after a convolution")

    def of(shape: tuple[int, ...]) -> Graph:
        accepted = f"{prod(shape)}, the sources of a step of shape {tuple(shape)}"
        require(sources in (None, prod(shape)), f"layers {text}, sources", sources, accepted)
        populations: list[PopulationSpec] = []
        before, pool = "events", None
        for part in parts[:-1]:
            if found := POOL.fullmatch(part):
                pool = Pool("average" if found[1] else "max", int(found[2]))
                continue
            name = f"hidden{len(populations) + 1}"
            synapses, neuron, is_map = _hidden_part(text, part)
            heard = [ConnectionSpec((before,), synapses, pool=pool)]
            if RECURRENT.fullmatch(part):
                heard.append(ConnectionSpec((name,), synapses, delay=1))
            populations.append(PopulationSpec(name, tuple(heard), neuron, bias=not is_map, batch_norm=is_map))
            before, pool = name, None
        heard = [ConnectionSpec((before,), DenseSpec(int(parts[-1])), pool=pool)]
        populations.append(PopulationSpec("output", tuple(heard), LI, bias=True))
        events = InputSpec("events", tuple(shape), held=False, counts=recorded.bits)
        return Graph(text, (events,), tuple(populations), ReadoutSpec("output", "sum"), recorded.steps)

    return of


def _hidden_part(text: str, part: str) -> tuple[DenseSpec | ConvSpec, NeuronSpec, bool]:
    """Synapses and neuron of a hidden part of a line for recordings, and whether it is a convolution."""
    if found := CONV.fullmatch(part):
        kernel = int(found[2])
        require(kernel % 2 == 1, f"layers {text}, kernel of {part}", kernel, "odd, such as 3")
        return ConvSpec(int(found[1]), (kernel, kernel), padding=(kernel // 2, kernel // 2)), NeuronSpec(), True
    plain = LETTERED.fullmatch(part.removeprefix("R"))
    assert plain is not None
    return DenseSpec(int(plain[1])), _hidden(plain[2]), False


def _hidden(letters: str) -> NeuronSpec:
    """The neuron of a hidden part, from its letters."""
    current = CurrentSpec() if "c" in letters else None
    adaptation = AdaptationSpec() if "a" in letters else None
    reset = "soft" if "s" in letters else "hard"
    return NeuronSpec(0.8, reset=reset, current=current, adaptation=adaptation, learnt="population")


def read_description(path: str | Path, shape: tuple[int, ...]) -> Network | Graph:
    """The description in a JSON file, for images of `shape`.

    Raises
    ------
    UserError
        The file is missing or not JSON, or has an unknown field or a value of the wrong type or size.
    """
    path = Path(path)
    require(path.is_file(), "network description", path, "a JSON file")
    require(path.stat().st_size <= LARGEST_FILE, f"{path} size", path.stat().st_size, f"at most {LARGEST_FILE} bytes")
    try:
        body = json.loads(path.read_bytes(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"network description {path}: not JSON ({error})") from None
    require(isinstance(body, dict), f"network description {path}", type(body).__name__, "an object with layers")
    if "populations" in body:
        return _read_graph(path, shape, body)
    own = Network(path.stem, tuple(shape), (LayerSpec(DenseSpec(1)),)).to_json() | {"layers": []} | body
    if isinstance(own["layers"], list):
        own["layers"] = [_filled(layer) for layer in own["layers"]]
    with within(str(path)):
        found = Network.from_json(own)
    fits = found.input_shape == tuple(shape)
    require(fits, f"{path} input_shape", found.input_shape, f"{tuple(shape)}, the shape of the images")
    return found


def _read_graph(path: Path, shape: tuple[int, ...], body: dict[str, Any]) -> Graph:
    """A graph from a JSON file. The images' shape is that of its inputs where these have none."""
    own = {"name": path.stem} | body
    if isinstance(own.get("inputs"), list):
        own["inputs"] = [{"shape": shape} | part if isinstance(part, dict) else part for part in own["inputs"]]
    with within(str(path)):
        found = Graph.from_json(own)
    require(found.input_shape == tuple(shape), f"{path} input shape", found.input_shape, f"{tuple(shape)}, the images'")
    return found


# Layers with every kind of field and its default: what a JSON file may leave out.
_CONV, _DENSE = Network(
    "", (1, 2, 2), (LayerSpec(ConvSpec(1), batch_norm=False, pool=Pool()), LayerSpec(DenseSpec(1)))
).to_json()["layers"]


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _filled(layer: Any) -> Any:
    """A layer of a JSON file, with missing fields added. `Network.from_json` checks the given ones."""
    if not isinstance(layer, dict):
        return layer
    synapses = layer.get("synapses")
    kind = synapses.get("kind") if isinstance(synapses, dict) else None
    template = _CONV if kind == "conv" else _DENSE
    needed = ("channels", "outputs")  # a layer's size has no default
    defaults = {
        "synapses": {name: value for name, value in template["synapses"].items() if name not in needed},
        "neuron": template["neuron"],
        "pool": _CONV["pool"],
    }
    filled = template | {"pool": None} | layer
    for name, of in defaults.items():
        if isinstance(filled[name], dict):
            filled[name] = of | filled[name]
    if "synapses" not in layer:
        del filled["synapses"]
    return filled
