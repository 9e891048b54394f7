"""Network descriptions as users write them: a preset's name, a line of layers, or a JSON file. No torch.

A line of layers is a list of parts with hyphens between them, from the input to the output:

    784-256-10            fully connected layers; the number of input values comes first
    32C3-P2-64C3-P2-10    convolutions onto 32 and 64 maps, pools, a fully connected layer of 10 outputs

    N      fully connected layer of N neurons; as the first part, the number of values in an image
    NCk    convolution onto N maps with kernels of k x k (k odd), stride 1, zeros around the border, batch normalisation
    Pk     max pool of k x k after the convolution before it; APk: average pool
    Vn     last part: groups of n outputs vote for a class

Neurons are those of the presets (LIF, tau = 2, threshold 1, hard reset to 0) and run for 8 steps. A JSON file sets
every field of a `description.Network`; what it leaves out takes its default, and the input shape that of the images.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from ..errors import UserError, require
from .description import PRESETS, ConvSpec, DenseSpec, LayerSpec, Network, Pool

Described = Callable[[tuple[int, ...]], Network]  # from the shape of an image, (channels, height, width)

DENSE, CONV, POOL, VOTE = (
    re.compile(text) for text in (r"(\d{1,6})", r"(\d{1,6})C(\d{1,3})", r"(A?)P(\d{1,3})", r"V(\d{1,6})")
)
GRAMMAR = "layers such as 784-256-10 or 32C3-P2-64C3-P2-10"
LARGEST_FILE = 1 << 20  # bytes


def described(network: str | Network) -> Described:
    """What gives the description of `network`, a preset, a line of layers or a description, for images of a shape."""
    if isinstance(network, Network):
        return lambda shape: network
    if network in PRESETS:
        return lambda shape: PRESETS[network]
    return parsed(network)


def parsed(text: str) -> Described:
    """What gives the description of a line of layers; `UserError` names the part that it cannot read."""
    parts = text.split("-") if isinstance(text, str) else []
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


def read_description(path: str | Path, shape: tuple[int, ...]) -> Network:
    """The description in a JSON file, for images of `shape`.

    Raises
    ------
    UserError
        The file is missing, no JSON, or holds an unknown field or a value of the wrong type or size.
    """
    path = Path(path)
    require(path.is_file(), "network description", path, "a JSON file")
    require(path.stat().st_size <= LARGEST_FILE, f"{path} size", path.stat().st_size, f"at most {LARGEST_FILE} bytes")
    try:
        body = json.loads(path.read_bytes(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"network description {path}: not JSON ({error})") from None
    own = Network(path.stem, tuple(shape), (LayerSpec(DenseSpec(1)),)).to_json()
    known = {name: value for name, value in own.items() if name != "layers"}
    require(isinstance(body, dict), f"network description {path}", type(body).__name__, "an object with layers")
    layers = body.pop("layers", None)
    filled = _filled(str(path), known, body)
    require(isinstance(layers, list) and bool(layers), f"{path} layers", layers, "a list with at least one layer")
    assert isinstance(layers, list)
    filled["layers"] = [_layer(f"{path} layers[{index}]", layer) for index, layer in enumerate(layers)]
    found = Network.from_json(filled)
    fits = found.input_shape == tuple(shape)
    require(fits, f"{path} input_shape", found.input_shape, f"{tuple(shape)}, the shape of the images")
    return found


# Every kind of field with its default: what a JSON file may leave out.
_TEMPLATE = Network("", (1, 2, 2), (LayerSpec(ConvSpec(1), pool=Pool()), LayerSpec(DenseSpec(1))))
_CONV, _DENSE = _TEMPLATE.to_json()["layers"]


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _layer(where: str, given: Any) -> dict[str, Any]:
    require(isinstance(given, dict), where, given, "an object with synapses")
    synapses = given.get("synapses")
    kind = synapses.get("kind") if isinstance(synapses, dict) else None
    require(kind in ("dense", "conv"), f"{where} synapses.kind", kind, "dense or conv")
    template = _CONV if kind == "conv" else _DENSE
    size = "channels" if kind == "conv" else "outputs"
    require(size in synapses, f"{where} synapses.{size}", "missing", "a whole number")
    filled = _filled(where, template | {"pool": None}, given)
    for name in ("synapses", "neuron"):
        filled[name] = _filled(f"{where} {name}", template[name], filled[name])
    if filled["pool"] is not None:
        require(isinstance(filled["pool"], dict), f"{where} pool", filled["pool"], "an object, or null")
        filled["pool"] = _filled(f"{where} pool", _CONV["pool"], filled["pool"])
    return filled


def _filled(where: str, template: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`template` with the values `given`, of which each must have the type of the one it replaces."""
    for name, value in given.items():
        require(name in template, where, name, f"a field of {', '.join(template)}")
        default = template[name]
        if default is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        fits = number if isinstance(default, float) else isinstance(value, _JSON[type(default)])
        whole = not isinstance(default, int) or isinstance(default, bool) or not isinstance(value, bool)
        require(fits and whole, f"{where} {name}", value, f"a value such as {json.dumps(default)}")
    return template | given


_JSON: dict[type, Any] = {bool: bool, int: int, str: str, list: list, tuple: list, dict: dict}
