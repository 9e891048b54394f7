"""The accelerator on a PYNQ board: frames in, classes and sums out, registers.

    from gradrtl_board import Accelerator
    accelerator = Accelerator("gradrtl.bit")
    result = accelerator.classify(frames)  # uint8, [frames, sources] or [frames, steps, sources]
    result.decided[:, 0]  # the class of each frame

It needs Python 3.10, NumPy and PYNQ, as on PYNQ's images from version 3.0 on, and nothing of GradRTL: the layout of
frames and packets is in `frame_words.py` and `outputs.py`, which are GradRTL's own.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pynq import Overlay, allocate

from .frame_words import event_words, pixel_words
from .outputs import Outputs

FACTS = json.loads((Path(__file__).parent / "facts.json").read_text())
PATIENCE = 10.0  # seconds for a frame
ERRORS = ("a frame was too short, or held an address unknown or out of order", "a frame was too long")


class Result(NamedTuple):
    """Of each frame the words of its packet `[frames, words]`; in them, by read-out, the class `[frames, readouts]`
    and the sums of all read-outs, one after another.
    """

    packets: np.ndarray
    decided: np.ndarray
    sums: np.ndarray


class Accelerator:
    """Loads `bitfile`, which has a `.hwh` file beside it, and checks that it holds the network of this package.

    `RuntimeError`: it holds another one. `overlay`: one that is loaded already.
    """

    def __init__(self, bitfile: str = "gradrtl.bit", overlay: Any = None) -> None:
        self.overlay = Overlay(bitfile) if overlay is None else overlay
        self.dma = self.overlay.axi_dma
        self.outputs = Outputs(tuple(FACTS["readouts"]), FACTS["numbered"])
        magic = self.register("magic")
        if magic != FACTS["magic"]:
            raise RuntimeError(f"register magic is {magic:#x}, expected {FACTS['magic']:#x}: no GradRTL accelerator")
        digest = "".join(f"{self.register(f'digest{i}'):08x}" for i in range(8))
        if digest != FACTS["digest"]:
            raise RuntimeError(f"network on the board is {digest[:16]}, expected {FACTS['digest'][:16]}")

    def register(self, name: str) -> int:
        """Value of a register, by its name in GradRTL's interface."""
        return self.overlay.gradrtl.read(FACTS["registers"][name])

    def counters(self) -> dict[str, int]:
        """All registers that count: frames, cycles, stalls, events of each layer."""
        names = list(FACTS["registers"])
        return {name: self.register(name) for name in names[names.index("frames_in") :]}

    def reset(self) -> None:
        """Soft reset: frames inside are lost."""
        self.overlay.gradrtl.write(FACTS["registers"]["control"], 1)

    def classify(self, frames: np.ndarray, patience: float = PATIENCE) -> Result:
        """Results of frames, uint8: `[n, sources]` of pixels, `[n, steps, sources]` of events; several inputs side by
        side, static ones first. With pixels beside events `[n, 1 + steps, sources]`, the pixels in
        front. While one frame is computed, the next one is sent.

        `ValueError`: wrong frames. `RuntimeError`: the accelerator calls a frame malformed, or does not answer.
        """
        sent = _bytes_of(_checked(np.asarray(frames)))
        self.overlay.gradrtl.write(FACTS["registers"]["errors"], 3)  # of earlier frames
        packets = np.zeros((len(sent), self.outputs.words), np.int32)
        buffer = allocate((max(map(len, sent)),), np.uint8)
        result = allocate((self.outputs.words,), np.int32)
        try:
            for number in range(len(sent)):
                self.dma.recvchannel.transfer(result)
                if number == 0:
                    self._send(sent[0], buffer)
                _wait(self.dma.sendchannel, patience, f"frame {number} is not taken")
                if number + 1 < len(sent):
                    self._send(sent[number + 1], buffer)
                _wait(self.dma.recvchannel, patience, f"frame {number} has no packet")
                packets[number] = result
        finally:
            buffer.freebuffer()
            result.freebuffer()
        errors = self.register("errors")
        if errors:
            told = [text for bit, text in enumerate(ERRORS) if errors >> bit & 1]
            raise RuntimeError(f"register errors is {errors}: {'; '.join(told)}")
        return Result(packets, self.outputs.decided(packets), self.outputs.sums(packets))

    def _send(self, data: np.ndarray, buffer: Any) -> None:
        buffer[: len(data)] = data
        self.dma.sendchannel.transfer(buffer, nbytes=len(data))


def _checked(frames: np.ndarray) -> np.ndarray:
    size = (FACTS["sources"],) if FACTS["input"] == "static" else (FACTS["segments"], FACTS["sources"])
    if frames.dtype != np.uint8:
        raise ValueError(f"frames dtype is {frames.dtype}, expected uint8")
    if frames.shape[1:] != size or len(frames) == 0:
        shape = f"(frames, {', '.join(map(str, size))}), at least one frame"
        raise ValueError(f"frames shape is {frames.shape}, expected {shape}")
    if FACTS["input"] != "static" and frames.max() > FACTS["largest"]:
        raise ValueError(f"largest value of frames is {frames.max()}, expected at most {FACTS['largest']}")
    return frames


def _bytes_of(frames: np.ndarray) -> list[np.ndarray]:
    """The bytes of each frame's words."""
    if FACTS["input"] == "static":
        return list(pixel_words(frames, FACTS["beat_bytes"]).reshape(len(frames), -1))
    dropped = None if FACTS["dropped"] is None else np.array(FACTS["dropped"], np.uint8)
    return [words.view(np.uint8) for words in event_words(frames, FACTS["input"] == "graded", dropped)]


def _wait(channel: Any, patience: float, failure: str) -> None:
    """Wait for the end of a transfer; `channel.wait` would wait for ever."""
    deadline = time.monotonic() + patience
    while not (channel.idle or channel.error):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{failure} after {patience} seconds: load the bitstream again")
    channel.wait()
