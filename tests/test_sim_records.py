"""One definition of each record for Python and C++."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from gradrtl.sim.confinement import compiler
from gradrtl.sim.records import KINDS, SETUP, VERDICT, WALLS, header, record


def test_fields_are_given_by_name_and_all_of_them():
    values = {name: number for number, name in enumerate(SETUP.names)}
    assert np.frombuffer(record(SETUP, **values), SETUP)[0].tolist() == tuple(range(len(values)))
    shuffled = dict(reversed(values.items()))
    assert record(SETUP, **shuffled) == record(SETUP, **values)
    with pytest.raises(ValueError, match="seed"):
        record(SETUP, **{name: value for name, value in values.items() if name != "seed"})
    with pytest.raises(ValueError, match="more"):
        record(SETUP, more=1, **values)


def test_the_compiler_agrees(tmp_path):
    (tmp_path / "records.h").write_text(header())
    checks = [
        f"static_assert(offsetof({kind}, {name}) == {dtype.fields[name][1]});"
        for kind, dtype in (("Setup", SETUP), ("VerdictRecord", VERDICT))
        for name in dtype.names
    ]
    checks += [f"static_assert(KIND_{name.upper()} == {index});" for index, name in enumerate(KINDS)]
    checks += [f"static_assert(WALL_{name.upper()} == {1 << index});" for index, name in enumerate(WALLS)]
    text = '#include <cstddef>\n#include "records.h"\n' + "\n".join(checks)
    subprocess.run(
        [compiler(), "-std=gnu++17", "-fsyntax-only", "-x", "c++", "-"], cwd=tmp_path, input=text, text=True, check=True
    )
