"""What is exported as NIR comes back as the same integers; what NIR cannot say is refused by name."""

from __future__ import annotations

import nir_files
import pytest

from gradrtl.model.importing import hdf5
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import import_graph
from gradrtl.model.importing.records import METADATA
from gradrtl.quantize.imported import Asked, fitting, quantize_imported
from gradrtl.quantize.nir_export import exported
from gradrtl.quantize.nir_formats import Kept


def imported(record, reset="value", compare="gt"):
    graph = import_graph(record, Convention(reset=reset, compare=compare))
    return quantize_imported(graph, Asked(7))


def back(record):
    """The network of an exported graph, by its own formats."""
    kept = Kept.from_text(record.fields[METADATA])
    graph = import_graph(record, kept.convention)
    assert fitting(kept, graph)
    return quantize_imported(graph, Asked(kept.steps, kept.input), kept=kept)


@pytest.mark.parametrize("reset", ["value", "subtract", "subtract-delayed"])
@pytest.mark.parametrize("seed", set(range(25)) - {36})
def test_the_same_integers_come_back(tmp_path, seed, reset):
    network = imported(nir_files.random_neurons(seed), reset, "ge" if seed % 2 else "gt")
    record, _ = exported(network)
    hdf5.write(tmp_path / "network.nir", record)
    again = back(hdf5.read(tmp_path / "network.nir"))
    assert again.digest == network.digest
