"""What NIR leaves open, and how each framework that writes it has decided."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ...checks import choice, flag, real
from ...errors import require

INTEGRATORS = ("euler", "exponential")
RESETS = ("value", "value-held", "subtract", "subtract-delayed", "none")
COMPARES = ("gt", "ge")
SPIKES = ("single", "multi")
GAINS = ("nir", "resistance", "one", "undecayed")
SYNAPSES = ("nir", "jump", "decayed")


@dataclass(frozen=True)
class Convention:
    """How the neurons of a NIR graph move in a step.

    dt
        The time of a step, in the file's unit of time constants.
    integrator
        How a state decays in a step: `euler`, `1 - dt / tau`, or `exponential`, `exp(-dt / tau)`.
    reset
        After a spike: the membrane is `v_reset` (`value`), and stays there in the next step, whose sum is lost
        (`value-held`); the threshold is subtracted in the same step (`subtract`), or in the next one, after the decay
        (`subtract-delayed`); nothing (`none`).
    compare
        A neuron spikes where its membrane is above the threshold (`gt`), or also where it equals it (`ge`).
    spikes
        At most one in a step (`single`), or as often as the threshold fits into the membrane (`multi`).
    gain
        What multiplies the sum on its way into the membrane: `nir`, `r dt / tau` (euler) or `r (1 - decay)`
        (exponential), `r dt` of an IF or I; `resistance`, the same, but `r` of an IF or I; `one`; `undecayed`,
        `r dt / (tau decay)`, and of an LI `r dt / tau`.
    synapse
        What multiplies the sum on its way into a synaptic current: `nir`, `w_in` times `dt / tau_syn` (euler) or
        `1 - decay` (exponential); `jump`, `w_in`; `decayed`, `w_in` times the decay.
    late
        Whether neurons compare before they take the sum of a step, so that their spikes leave a step later.
    framework
        Whose convention it was before any of its fields was changed; it has no other meaning.
    """

    dt: float = 1e-4
    integrator: str = "euler"
    reset: str = "value"
    compare: str = "gt"
    spikes: str = "single"
    gain: str = "nir"
    synapse: str = "nir"
    late: bool = False
    framework: str = "nir"

    def __post_init__(self) -> None:
        dt = real("dt", self.dt)
        require(dt > 0, "dt", dt, "above 0")
        object.__setattr__(self, "dt", dt)
        object.__setattr__(self, "late", flag("late", self.late))
        options = {"integrator": INTEGRATORS, "reset": RESETS, "compare": COMPARES, "spikes": SPIKES, "gain": GAINS}
        for name, accepted in {**options, "synapse": SYNAPSES, "framework": FRAMEWORKS}.items():
            choice(name, getattr(self, name), accepted)

    @staticmethod
    def of(framework: str, **changes: Any) -> Convention:
        """The convention of a framework, with other values for the fields `changes` that are not None."""
        choice("framework", framework, FRAMEWORKS)
        changes = {name: value for name, value in changes.items() if value is not None}
        return replace(Convention(framework=framework, **FRAMEWORKS[framework]), **changes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def line(self) -> str:
        """The convention in a line of text."""
        fields = self.to_json()
        name = fields.pop("framework")
        return f"{name}: " + ", ".join(f"{field} {value}" for field, value in fields.items())


# How each framework's own export is meant. docs/nir.md has the formulas from which this follows.
FRAMEWORKS: dict[str, dict[str, Any]] = {
    "nir": {},
    "snntorch": {"reset": "subtract-delayed"},
    # Norse writes time constants in steps times dt: with its dt of 1e-3, and a step of dt, dt / tau is 1e-6 / written.
    "norse": {"dt": 1e-6, "gain": "resistance", "synapse": "jump"},
    "sinabs": {"dt": 1.0, "integrator": "exponential", "reset": "subtract", "compare": "ge", "spikes": "multi"},
    "spikingjelly": {"compare": "ge"},
    "rockpool": {
        "dt": 1e-3,
        "integrator": "exponential",
        "reset": "subtract",
        "compare": "ge",
        "spikes": "multi",
        "gain": "undecayed",
        "synapse": "decayed",
    },
    "spyx": {"dt": 1.0, "reset": "subtract-delayed", "gain": "one", "synapse": "jump", "late": True},
}
