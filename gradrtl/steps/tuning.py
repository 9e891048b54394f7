"""Fine-tuning of an imported network on the frames that it was imported with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import require
from ..model.held_out import usually_held_out
from ..model.importing.graph import ImportedGraph
from ..quantize.config import QatConfig
from ..quantize.graph_rounding import GraphFormats
from ..quantize.imported import Asked
from ..quantize.imported_reals import reals_of_imported
from ..quantize.labelled_frames import LabelledFrames
from ..quantize.network import QuantizedNetwork


@dataclass(frozen=True)
class Tuning:
    """How an import is fine-tuned; `resume`, `on_epoch` and `on_resume` as for `quantize.qat.fine_tune_network`."""

    config: QatConfig
    resume: Path | None = None
    on_epoch: Callable[[dict[str, Any]], None] | None = None
    on_resume: Callable[[int], None] | None = None

    def held_out(self, graph: ImportedGraph, count: int, labels: np.ndarray | None) -> int:
        """How many of `count` frames, the last ones, choose the epoch; `UserError` if there is nothing to train on."""
        require(labels is not None, "labels", "not given", "--labels, to fine-tune by")
        outputs = ", ".join(graph.outputs)
        require(len(graph.outputs) == 1, "outputs", outputs, "one to fine-tune: the others would change unseen")
        require(count >= 2, "frames", count, "at least 2: some are held out")
        held_out = usually_held_out(count) if self.config.held_out is None else self.config.held_out
        require(held_out < count, "held_out", held_out, f"1 to {count - 1}, of {count} frames")
        return held_out

    def run(
        self,
        graph: ImportedGraph,
        asked: Asked,
        formats: GraphFormats,
        network: QuantizedNetwork,
        data: LabelledFrames,
        held_out: int,
    ) -> QuantizedNetwork:
        """`network`, the integers of the import, fine-tuned on `data` but for the last `held_out` frames.

        Raises
        ------
        UserError
            The labels do not fit the network; `resume` is the state of another run.
        """
        from ..quantize.qat import fine_tune_network  # torch takes a second to import

        return fine_tune_network(
            network, reals_of_imported(graph, asked, formats, network), data, replace(self.config, held_out=held_out),
            resume=self.resume, on_epoch=self.on_epoch, on_resume=self.on_resume,
        )  # fmt: skip
