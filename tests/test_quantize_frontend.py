"""Settings of the front end: what is refused, what a filter bank is, and that no state can leave its width."""

from __future__ import annotations

import numpy as np
import pytest

from gradrtl.bits import signed_bits
from gradrtl.errors import UserError
from gradrtl.quantize.frontend import SAMPLE_BITS, FrontEnd

ONE = 1 << 14
BANK = ((1000, 20000, -15000),) * 4


def test_json_holds_everything():
    settings = FrontEnd.mel(bands=5, step=80, stages=3, change=1, bits=6, least=70, fraction=13, guard=1, mantissa=4)
    assert FrontEnd.from_json(settings.to_json()) == settings
    assert FrontEnd(8000, 128, BANK).to_json()["filters"] == [list(entry) for entry in BANK]


def test_bands_ring_where_they_should():
    settings = FrontEnd.mel(bands=16, low=100, high=3700)
    one = 1 << settings.fraction
    frequencies = np.arange(1, 4000)
    turn = np.exp(2j * np.pi * frequencies / settings.rate)
    centres = []
    for g, a1, a2 in settings.filters:
        response = np.abs(g / one * (1 - turn**-2) / (1 - a1 / one / turn - a2 / one / turn**2))
        assert response.max() == pytest.approx(1, abs=0.06)
        centres.append(int(frequencies[response.argmax()]))
    mels = 2595 * np.log10(1 + np.array(centres) / 700)
    assert np.allclose(np.diff(mels), (2595 * np.log10(4400 / 800)) / 17, rtol=0.16)


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_loudest_recording_fits_and_fills_the_states(stages):
    """Samples with the signs of the impulse response, read backwards, make a filter as loud as it can be."""
    settings = FrontEnd.mel(bands=8, stages=stages, guard=1)
    largest = 1 << SAMPLE_BITS - 1
    peaks = np.zeros(stages)
    for g, a1, a2 in settings.filters:
        impulse = response(settings, (g, a1, a2), [largest] + [0] * 3000)
        for stage in range(stages):
            signs = np.sign(impulse[stage][::-1])
            loud = np.where(signs > 0, largest - 1, -largest)
            found = response(settings, (g, a1, a2), loud)
            peaks[stage] = max(peaks[stage], np.abs(found[stage]).max())
    assert (peaks <= settings.largest_states).all()
    assert peaks[0] > 0.995 * settings.largest_states[0]
    assert max(settings.largest_states) < 1 << settings.state_bits - 1
    assert max(*settings.largest_states, largest << settings.guard) >= 1 << settings.state_bits - 2


def test_width_of_sums_by_hand():
    settings = FrontEnd(8000, 128, BANK, stages=1)
    g, a1, a2 = BANK[0]
    most = 2 * g * (1 << 17) + (a1 - a2) * settings.largest_states[0]
    assert settings.sum_bits == signed_bits(-most, most + ONE // 2)
    narrow = g * (1 << 17) + a1 * settings.largest_states[0]
    assert signed_bits(-narrow, narrow) < settings.sum_bits


def response(settings, entry, samples) -> list[np.ndarray]:
    """Outputs of each stage of one band."""
    g, a1, a2 = entry
    signal = [int(sample) << settings.guard for sample in samples]
    found = []
    for _ in range(settings.stages):
        u, y = [0, 0, *signal], [0, 0]
        for t in range(2, len(u)):
            total = g * (u[t] - u[t - 2]) + a1 * y[t - 1] + a2 * y[t - 2] + (1 << settings.fraction - 1)
            assert total.bit_length() < settings.sum_bits
            y.append(total >> settings.fraction)
        signal = y[2:]
        found.append(np.array(signal))
    return found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rate": 0}, "front end: rate is 0, expected 1 to 1000000"),
        ({"step": 2.5}, "front end: step is 2.5, expected a whole number, 1 to 65536"),
        ({"filters": BANK[:3]}, "front end: filters is 3, expected 4 to 128"),
        ({"filters": ((1, 2),) * 4}, r"front end: filters\[0\] is \(1, 2\), expected 3 whole numbers"),
        ({"filters": ((0, 0, -1000),) * 4}, r"front end: filters\[0\] gain is 0, expected 1 to 16384"),
        ({"filters": ((1, 0, -ONE),) * 4}, r"front end: filters\[0\] a2 is -16384, expected -16320 to -1"),
        ({"filters": ((1, 0, -16321),) * 4}, r"front end: filters\[0\] a2 is -16321"),
        ({"filters": ((1, 0, 0),) * 4}, r"front end: filters\[0\] a2 is 0"),
        (
            {"filters": (*BANK[:3], (1, 31354, -15000))},
            r"front end: filters\[3\] a1 is 31354, expected less than 2 sqrt",
        ),
        ({"filters": ((ONE, 0, -16320),) * 4, "guard": 8}, "front end: filters is so loud that states need 43 bits"),
        ({"least": 208}, "front end: least is 208, expected at most"),
        ({"stages": 0}, "front end: stages is 0, expected 1 to 4"),
        ({"bits": 9}, "front end: bits is 9, expected 1 to 8"),
    ],
)
def test_mistakes_are_one_line(changed, message):
    given = {"rate": 8000, "step": 128, "filters": BANK} | changed
    with pytest.raises(UserError, match=f"^{message}"):
        FrontEnd(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bands": 3}, "front end: bands is 3, expected 4 to 128"),
        ({"low": 0}, "front end: low and high is 0.0 and 3700.0, expected 0 < low < high < 4000.0 Hz"),
        ({"high": 4000}, "front end: low and high is 100.0 and 4000.0"),
        ({"low": "a"}, "front end: low is a, expected a finite number"),
        ({"width": 0}, "front end: width is 0.0, expected above 0"),
    ],
)
def test_mistakes_of_a_bank_are_one_line(given, message):
    with pytest.raises(UserError, match=f"^{message}"):
        FrontEnd.mel(**given)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], r"front end is \[\], expected an object"),
        ({"rate": 8000, "step": 1}, "front end is incomplete: filters is missing"),
        ({"rate": 8000, "step": 1, "filters": BANK, "gain": 1}, r"front end field is \['gain'\], expected one of"),
    ],
)
def test_mistakes_of_a_file_are_one_line(body, message):
    with pytest.raises(UserError, match=f"^{message}"):
        FrontEnd.from_json(body)
