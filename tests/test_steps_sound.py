"""A folder of WAV files, which the test writes, as recordings; and files that are none."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.model import recordings
from gradrtl.quantize.frontend import FrontEnd
from gradrtl.sim import frontend
from gradrtl.steps.sound import Split, at_speed, recordings_of, samples_of

SETTINGS = FrontEnd.mel(step=64, bands=8)
STEPS = 4
WORDS, SPEAKERS, TAKES = ("no", "yes"), ("ada", "kurt_g"), 4


def write(path, samples, rate=8000, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype(f"<i{width}").tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("words")
    generator = np.random.default_rng(0)
    for word in WORDS:
        for speaker in SPEAKERS:
            for take in range(TAKES):
                write(here / f"{word}_{speaker}_{take}.wav", generator.integers(-9000, 9000, 300 + 10 * take))
    (here / "README.md").write_text("not a sound")
    return here


def counts_of(folder, word, speaker, take, speed=100):
    samples = at_speed(samples_of(folder / f"{word}_{speaker}_{take}.wav", 8000), speed)
    return frontend.counts(SETTINGS, samples, STEPS)


def test_the_first_takes_are_the_test_set(folder, tmp_path):
    training, test = recordings_of(folder, SETTINGS, STEPS, Split(1, None, 1))
    assert (training.made["words"], training.made["speakers"]) == (list(WORDS), list(SPEAKERS))
    assert (len(training), len(test)) == (12, 4)
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert test.groups.tolist() == [0, 1, 0, 1]
    assert np.array_equal(test.counts[2], counts_of(folder, "yes", "ada", 0))
    assert np.array_equal(training.counts[0], counts_of(folder, "no", "ada", 3))
    assert np.array_equal(training.counts[-1], counts_of(folder, "yes", "kurt_g", 1))  # held out, the last
    assert FrontEnd.from_json(training.made["front end"]) == SETTINGS
    recordings.save(tmp_path / "words.npz", training, test)
    assert recordings.load(tmp_path / "words.npz")[1].digest == test.digest


def test_a_speaker_is_never_heard(folder):
    training, test = recordings_of(folder, SETTINGS, STEPS, Split(1, "ada", 2))
    assert (len(training), len(test)) == (8, 8)
    assert set(training.groups) == {1}
    assert set(test.groups) == {0}
    assert training.labels.tolist() == [0, 1] * 4


def test_copies_at_other_speeds_are_of_takes_that_are_not_held_out(folder):
    training, test = recordings_of(folder, SETTINGS, STEPS, Split(1, None, 2, (100, 80)))
    assert (len(training), len(test)) == (2 * 4 + 8, 4)
    assert np.array_equal(training.counts[1], counts_of(folder, "no", "ada", 3, 80))
    assert np.array_equal(training.counts[-1], counts_of(folder, "yes", "kurt_g", 1))


def test_speeds_by_hand():
    samples = np.array([0, 100, -200, 7], np.int16)
    assert at_speed(samples, 100).tolist() == samples.tolist()
    assert at_speed(samples, 200).tolist() == [0, -200]
    assert at_speed(samples, 50).tolist() == [0, 50, 100, -50, -200, -96, 7, 7]
    assert at_speed(np.array([-32768, 32767], np.int16), 50).tolist() == [-32768, 0, 32767, 32767]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"speaker": "otto"}, "speaker is otto, expected one of ada, kurt_g"),
        ({"test_takes": 4}, "recordings of the training set is 0, expected 1 or more"),
        ({"test_takes": 0}, "recordings of the test set is 0"),
        ({"speeds": ()}, "speeds is , expected one or more"),
        ({"speeds": (100, 90, 100)}, "speeds is 100, 90, 100, expected one or more, each once"),
        ({"speeds": (20,)}, r"speeds is \(20,\), expected numbers from 50 to 200"),
        ({"held_takes": -1}, "held takes is -1, expected 0"),
    ],
)
def test_splits_that_cannot_be(folder, given, message):
    with pytest.raises(UserError, match=message):
        recordings_of(folder, SETTINGS, STEPS, Split(**({"test_takes": 1, "held_takes": 1} | given)))


@pytest.mark.parametrize(
    ("name", "made", "message"),
    [
        ("a_b_0.wav", {"rate": 16000}, "a_b_0.wav: rate is 16000, expected 8000, which the front end takes"),
        ("a_b_0.wav", {"channels": 2}, "channels is 2, expected 1"),
        ("a_b_0.wav", {"width": 4}, "bits is 32, expected 16"),
        ("a_b_0.wav", {"samples": np.zeros(0)}, "samples is 0, expected 1 or more"),
        ("a_b.wav", {}, r"a_b.wav name is a_b.wav, expected WORD_SPEAKER_TAKE.wav"),
    ],
)
def test_other_files_are_refused(tmp_path, name, made, message):
    write(tmp_path / name, **({"samples": np.zeros(20)} | made))
    with pytest.raises(UserError, match=message):
        recordings_of(tmp_path, SETTINGS, STEPS)


@pytest.mark.parametrize("cut", [0, 3, 20, 40])
def test_damaged_files_are_refused(tmp_path, cut):
    path = tmp_path / "a_b_0.wav"
    write(path, np.zeros(20))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"not a WAV file of plain samples, or damaged \(.+\)"):
        samples_of(path, 8000)


def test_truncated_files_are_refused(tmp_path):
    path = tmp_path / "a_b_0.wav"
    write(path, np.zeros(20))
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(UserError, match=r"a_b_0\.wav: samples is 17, expected 20, as the header says: it is truncated"):
        samples_of(path, 8000)


def test_a_folder_without_sound_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match=r"sound folder is .*, expected a folder"):
            recordings_of(path, SETTINGS, STEPS)
