"""Images and recordings as frames: what each input of a network sees of them."""

from __future__ import annotations

from math import prod

from ..errors import require
from ..model.recordings import Counts, clipped
from ..model.sequences import Images, latencies, strips
from .interface import PIXEL_BITS, Input
from .network import QuantizedNetwork

LATENCY = "latency"  # note of a network: the names of the inputs of spikes that see images in a latency code


def codes_latency(network: QuantizedNetwork, given: Input) -> bool:
    """Whether an input of `network` was trained on images in a latency code."""
    names = network.notes.get(LATENCY)
    return isinstance(names, list) and given.name in names


def frames_of_images(given: Input, steps: int, images: Images, latency: bool = False) -> Images:
    """Frames of one input from uint8 `images`, `[n, channels, height, width]`, NumPy or torch.

    Static inputs see the pixels, `[n, sources]`; graded ones the highest bits of them, a strip of rows at each step,
    `[n, steps, sources]`. With `latency` (`codes_latency`), inputs of spikes see each pixel once, the brighter the
    earlier (`model.sequences.latencies`).

    Raises
    ------
    UserError
        The input takes spikes that are no latency code, or images of another shape.
    """
    latency = latency and given.kind == "spikes"
    known = given.kind != "spikes" or latency
    require(known, "input.kind", given.kind, "static or graded: a data set of images")
    count, shape, sources = len(images), tuple(images.shape[1:]), prod(given.shape)
    if given.kind != "graded":
        require(prod(shape) == sources, "image pixels", prod(shape), f"{sources}, what the network reads")
        found = latencies(images, steps) if latency else images
        return found.reshape(*found.shape[: -len(shape)], sources)
    require(len(given.shape) == 3, "input.shape", given.shape, "(channels, rows, width), a strip of an image")
    channels, height, width = given.shape
    whole = (channels, steps * height, width)
    require(shape == whole, "image shape", shape, f"{whole}, read in {steps} strips")
    return (strips(images, steps) >> (PIXEL_BITS - given.bits)).reshape(count, steps, sources)


def frames_of_recordings(given: Input, steps: int, counts: Counts) -> Counts:
    """Frames of one input from uint8 `counts`, `[n, steps, channels, height, width]`, NumPy or torch.

    They are `[n, steps, sources]`; counts above the largest of the input are this largest.

    Raises
    ------
    UserError
        The input is static; steps or shape are others.
    """
    require(given.kind != "static", "input.kind", given.kind, "spikes or graded: recordings")
    count, found, shape = len(counts), int(counts.shape[1]), tuple(counts.shape[2:])
    require(found == steps, "recordings steps", found, f"{steps}, those of the network")
    same = shape == given.shape if len(given.shape) == 3 else prod(shape) == prod(given.shape)
    require(same, "recordings shape", shape, f"{given.shape}, what the network reads")
    bits = 1 if given.kind == "spikes" else given.bits
    frames: Counts = clipped(counts, bits).reshape(count, steps, prod(shape))
    return frames
