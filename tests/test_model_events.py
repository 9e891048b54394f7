"""Files of events: each layout against a small file of our own, and damaged ones; how events are counted in bins."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import event_files
import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.locks import hold
from gradrtl.model import hdf5_process
from gradrtl.model.data import Dataset
from gradrtl.model.events import aedat, arrays, gesture, moving, nmnist, prophesee, spoken, wav
from gradrtl.model.events.binning import Binning, Events
from gradrtl.model.events.moving import SACCADE, Camera, path, write
from gradrtl.model.events.sets import Reading, files, load, load_file, load_part
from gradrtl.model.sets import load as load_any

EVENTS = event_files.some()
SENSOR = (2, 34, 34)


def expected(events: event_files.Columns, sensor: tuple[int, ...] = SENSOR) -> Events:
    t, p, y, x = events
    return Events(t, (p * sensor[1] + y) * sensor[2] + x, sensor)


def same(found: Events, wanted: Events) -> None:
    assert np.array_equal(found.t, wanted.t)
    assert np.array_equal(found.places, wanted.places)
    assert found.shape == wanted.shape


def columns(*rows: tuple[int, int, int, int]) -> event_files.Columns:
    t, p, y, x = np.array(rows).T
    return t, p, y, x


ROW = [(2000 + 3 * (k // 30), k // 30 % 2, 7, 2 + k % 30) for k in range(120)]  # runs of 30 neighbours
Write = Callable[..., Path]
Read = Callable[..., Events]
# By suffix: who writes, who reads, the sensor that the file tells, or None.
LAYOUTS: dict[str, tuple[Write, Read, tuple[int, ...] | None]] = {
    "bin": (event_files.nmnist, nmnist.read, SENSOR),
    "aedat": (event_files.aedat, aedat.read, (2, 128, 128)),
    "evt2.raw": (event_files.evt2, prophesee.read_raw, (2, 34, 40)),
    "evt3.raw": (event_files.evt3, prophesee.read_raw, (2, 34, 40)),
    "dat": (event_files.dat, prophesee.read_dat, (2, 34, 40)),
    "npy": (event_files.array, arrays.read, None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("events", [EVENTS, columns(*ROW)], ids=["any", "runs"])
def test_each_layout(layout: str, events: event_files.Columns, tmp_path: Path) -> None:
    write, read, told = LAYOUTS[layout]
    first = 0 if layout in ("bin", "npy") else events[0][0]  # their clocks begin with the recording
    wanted = (events[0] - first, *events[1:])
    file = write(tmp_path / f"events.{layout}", events)
    if told is not None:
        same(read(file), expected(wanted, told))
    same(read(file, (2, 40, 50)), expected(wanted, (2, 40, 50)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_address_outside_of_the_sensor(layout: str, tmp_path: Path) -> None:
    write, read, _ = LAYOUTS[layout]
    file = write(tmp_path / f"events.{layout}", EVENTS)
    largest = int(EVENTS[3].max())
    with pytest.raises(UserError) as error:
        read(file, (2, 34, largest))
    assert f"{file}: event {int(EVENTS[3].argmax())} x is {largest}, expected 0 to {largest - 1}" in str(error.value)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "evt3.raw"])  # there the clock wraps
def test_times_that_fall(layout: str, tmp_path: Path) -> None:
    write, read, told = LAYOUTS[layout]
    file = write(tmp_path / f"events.{layout}", columns((500, 0, 1, 1), (200, 1, 2, 2)))
    with pytest.raises(UserError, match=r"event 1 time is -?\d+, expected \d+ or later: sorted by time"):
        read(file, told or SENSOR)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_truncated_and_empty_files(layout: str, tmp_path: Path) -> None:
    write, read, _ = LAYOUTS[layout]
    file = write(tmp_path / f"events.{layout}", EVENTS)
    whole = file.read_bytes()
    for cut in (b"", whole[:-1], whole[:11]):
        file.write_bytes(cut)
        with pytest.raises(UserError) as error:
            read(file, SENSOR)
        assert str(error.value).startswith(f"{file}: ")
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="file"):
        read(tmp_path / "missing", SENSOR)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "bin"])  # which has no beginning of its own
def test_files_of_another_kind(layout: str, tmp_path: Path) -> None:
    _, read, _ = LAYOUTS[layout]
    file = tmp_path / "other"
    file.write_bytes(b"GIF89a" + bytes(50))
    with pytest.raises(UserError, match=r"other: (start is|not a \.npy file)"):
        read(file, SENSOR)


@pytest.mark.parametrize("start", [(1 << 31) - 40_000, (1 << 33) + 5])
def test_aedat_counts_the_overflows_of_its_time(start: int, tmp_path: Path) -> None:
    t, p, y, x = EVENTS
    cut = np.searchsorted(start + t, 1 << 31)
    packets = 2 if 0 < cut < len(t) else 1
    if packets == 2:  # a packet ends where the time overflows
        t, p, y, x = (np.concatenate([v[cut - 20 : cut], v[cut : cut + 20]]) for v in EVENTS)
    file = event_files.aedat(tmp_path / "a.aedat", (t, p, y, x), start, packets=packets)
    same(aedat.read(file), expected((t - t[0], p, y, x), (2, 128, 128)))
    assert int(aedat.read(file, absolute=True).t[0]) == start + t[0]


def test_aedat_tells_its_camera(tmp_path: Path) -> None:
    file = event_files.aedat(tmp_path / "a.aedat", EVENTS, source="DAVIS240C")
    assert aedat.read(file).shape == (2, 180, 240)
    file = event_files.aedat(tmp_path / "b.aedat", EVENTS, source="eye")
    with pytest.raises(UserError, match=r"sensor is not named in the header, expected one of DVS128, DAVIS240, DA"):
        aedat.read(file)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (4, 9, "event size is 9, expected 8 bytes"),
        (4, 0, "20 events of 0 bytes|21 events of 0 bytes, expected a size above 0: it is damaged"),
        (20, 10**6, "1000000 events of 8 bytes, expected at most the .* bytes left: it is truncated"),
        (20, -3, "-3 events of 8 bytes, expected a size above 0: it is damaged"),
    ],
)
def test_damaged_packets_of_aedat(at: int, value: int, message: str, tmp_path: Path) -> None:
    file = event_files.aedat(tmp_path / "a.aedat", EVENTS)
    raw = bytearray(file.read_bytes())
    first = raw.index(b"#!END-HEADER\r\n") + 14
    raw[first + at : first + at + 4] = struct.pack("<i", value)
    file.write_bytes(raw)
    with pytest.raises(UserError, match=message):
        aedat.read(file)
    file.write_bytes(raw.replace(b"#!END-HEADER\r\n", b"#!END-NEVER\r\n"))
    with pytest.raises(UserError, match="header is without an end, expected #!END-HEADER"):
        aedat.read(file)


def test_aedat_without_events(tmp_path: Path) -> None:
    file = tmp_path / "a.aedat"
    file.write_bytes(b"#!AER-DAT3.1\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n")
    with pytest.raises(UserError, match="events is none, expected at least one polarity event"):
        aedat.read(file)


def test_the_clock_of_evt3_wraps(tmp_path: Path) -> None:
    t = np.arange(0, 60_000_000, 900_000)
    rest = [np.arange(len(t)) % size for size in SENSOR]
    file = event_files.evt3(tmp_path / "a.raw", (t, *rest), start=(1 << 24) - 3)
    same(prophesee.read_raw(file), expected((t, *rest), (2, 34, 40)))


def test_words_of_evt3(tmp_path: Path) -> None:
    """High bits of time without low ones, a vector before any base, and words of no meaning here."""
    words = [0x8001, 0x6FF0, 0x0003, 0x4FFF, 0x2005, 0x8002, 0x2806, 0x7001, 0xF00F, 0x3807, 0x5081, 0x5001]
    (tmp_path / "a.raw").write_bytes(event_files.EVT3_HEADER + struct.pack(f"<{len(words)}H", *words))
    found = prophesee.read_raw(tmp_path / "a.raw")
    t, p, x = [0x1FF0, *[0x2000] * 4], [0, 1, 1, 1, 1], [5, 6, 7, 14, 15]
    same(found, expected((np.array(t) - 0x1FF0, np.array(p), np.full(5, 3), np.array(x)), (2, 34, 40)))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"% evt 2.1\n% geometry 40x34\n% end\n", "format is 2.1, expected EVT 2.0 or 3.0"),
        (b"% camera\n% end\n", "format is not told, expected EVT 2.0 or 3.0"),
        (
            b"% evt 2.0\n% end\n",
            "sensor is not told in the header, expected its width and height, or the opt",
        ),
        (b"% evt 2.0", "header is without the end of a line, expected lines that begin with %"),
    ],
)
def test_headers_of_raw_files(header: bytes, message: str, tmp_path: Path) -> None:
    file = event_files.evt2(tmp_path / "a.raw", EVENTS, header=header)
    if b"\n" not in header:
        file.write_bytes(header)
    with pytest.raises(UserError) as error:
        prophesee.read_raw(file)
    assert message in str(error.value)


def test_headers_of_older_files(tmp_path: Path) -> None:
    """Without `% end`, and with the size in the line of the format."""
    file = event_files.evt2(tmp_path / "a.raw", EVENTS, header=b"% evt 2.0\n% format EVT2;height=34;width=40\n")
    same(prophesee.read_raw(file), expected(EVENTS, (2, 34, 40)))


def test_raw_files_without_events(tmp_path: Path) -> None:
    file = tmp_path / "a.raw"
    file.write_bytes(event_files.EVT3_HEADER + struct.pack("<2H", 0x2005, 0x2006))  # events without a time
    with pytest.raises(UserError, match="events is none, expected at least one event with a time"):
        prophesee.read_raw(file)


def test_types_of_dat_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="event type is 0x0e, expected 0x00 or 0x0c"):
        prophesee.read_dat(event_files.dat(tmp_path / "a.dat", EVENTS, kind=0x0E))
    same(prophesee.read_dat(event_files.dat(tmp_path / "b.dat", EVENTS, kind=0)), expected(EVENTS, (2, 34, 40)))
    raw = bytearray((tmp_path / "b.dat").read_bytes())
    raw[len(event_files.DAT_HEADER) + 1] = 16
    (tmp_path / "b.dat").write_bytes(raw)
    with pytest.raises(UserError, match="event size is 16, expected 8 bytes"):
        prophesee.read_dat(tmp_path / "b.dat")


def test_arrays_of_channels(tmp_path: Path) -> None:
    t, _, _, x = EVENTS
    file = event_files.array(tmp_path / "a.npy", (t, x, x, x), ("t", "channel"))
    nothing = np.zeros_like(x)
    same(arrays.read(file, (1, 1, 40)), expected((t, nothing, nothing, x), (1, 1, 40)))
    with pytest.raises(UserError, match="sensor is not told by an array, expected the option sensor, such as 2x34x34"):
        arrays.read(file)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(5), "fields is none, float64, expected t and x or channel, y, p"),
        (np.zeros((2, 3), [("t", int), ("x", int)]), r"array is (2, 3), expected one dimension of events"),
        (np.zeros(2, [("t", float), ("x", int)]), "field t is float64, expected whole numbers"),
        (np.zeros(2, [("t", int), ("x", int, 2)]), "field x is int64, expected whole numbers"),
        (np.zeros(2, [("t", int), ("y", int)]), "fields is t, y, expected t and x or channel, y, p"),
        (np.zeros(0, [("t", int), ("x", int)]), "events is none, expected at least one event"),
    ],
)
def test_arrays_that_are_no_events(values: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(UserError) as error:
        arrays.read(tmp_path / "a.npy", SENSOR)
    assert message in str(error.value)


SPOKEN = [
    (np.array([0.0, 0.25, 0.25, 0.5]), np.array([3, 699, 0, 4]), 2, 5),
    (np.array([]), np.array([], int), 0, 1),
    (np.array([0.125]), np.array([8]), 1, 5),
]


def test_spoken_digits(tmp_path: Path) -> None:
    found = list(spoken.read(event_files.spoken(tmp_path / "a.h5", SPOKEN)))
    assert [(label, speaker) for _, label, speaker in found] == [(2, 5), (0, 1), (1, 5)]
    assert found[0][0].t.tolist() == [0, 250_000, 250_000, 500_000]
    assert found[0][0].places.tolist() == [3, 699, 0, 4]
    assert found[0][0].shape == (1, 1, 700)
    assert len(found[1][0]) == 0
    found = list(spoken.read(event_files.spoken(tmp_path / "b.h5", SPOKEN, speakers=False)))
    assert [speaker for _, _, speaker in found] == [None] * 3


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (
            (np.array([0.5, 0.25]), np.array([1, 1]), 0, 0),
            "recording 0: event 1 time is 250000, expected 500000 or",
        ),
        ((np.array([0.5]), np.array([700]), 0, 0), "recording 0: event 0 x is 700, expected 0 to 699"),
        ((np.array([0.5]), np.array([1, 2]), 0, 0), "recording 0: units is (2,), expected (1,), one for each time"),
        (
            (np.array([np.inf]), np.array([1]), 0, 0),
            "recording 0: times is not finite, or too long, expected 0 to",
        ),
        ((np.array([0.5]), np.array([1]), -1, 0), "recording 0: label is -1, expected a whole number, 0 or above"),
        ((np.array([0.5]), np.array([1]), 0, -2), "recording 0: speaker is -2, expected a whole number, 0 or above"),
    ],
)
def test_wrong_spoken_digits(recording: Any, message: str, tmp_path: Path) -> None:
    file = event_files.spoken(tmp_path / "a.h5", [recording])
    with pytest.raises(UserError) as error:
        list(spoken.read(file))
    assert f"{file}: {message}" in str(error.value)


def test_other_files_than_spoken_digits(tmp_path: Path) -> None:
    import h5py

    (tmp_path / "a.h5").write_bytes(b"no")
    with pytest.raises(UserError, match=r"a\.h5: not an HDF5 file, or damaged"):
        list(spoken.read(tmp_path / "a.h5"))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["labels"] = np.zeros(2)
    with pytest.raises(UserError, match="spikes/times is missing or damaged, expected a data set"):
        list(spoken.read(tmp_path / "b.h5"))
    with h5py.File(event_files.spoken(tmp_path / "c.h5", SPOKEN), "a") as file:
        del file["labels"]
        file["labels"] = np.zeros(2, int)
    with pytest.raises(UserError, match=r"labels shape is \(2,\), expected \(3,\), as spikes/times"):
        list(spoken.read(tmp_path / "c.h5"))
    with pytest.raises(UserError, match="recordings is 0, expected at least one"):
        list(spoken.read(event_files.spoken(tmp_path / "d.h5", [])))


def test_spoken_digits_stored_elsewhere(tmp_path: Path) -> None:
    import h5py

    other = event_files.spoken(tmp_path / "other.h5", SPOKEN)
    for name in ("labels", "spikes"):
        with h5py.File(event_files.spoken(tmp_path / "a.h5", SPOKEN), "a") as file:
            del file[name]
            file[name] = h5py.ExternalLink(str(other), name)
        with pytest.raises(UserError, match=r"a\.h5: (labels|spikes/times) is a link, expected data of this file"):
            list(spoken.read(tmp_path / "a.h5"))
    with h5py.File(event_files.spoken(tmp_path / "a.h5", SPOKEN), "a") as file:
        del file["labels"]
        layout = h5py.VirtualLayout((len(SPOKEN),), int)
        layout[:] = h5py.VirtualSource(str(other), "labels", (len(SPOKEN),))
        file.create_virtual_dataset("labels", layout)
    with pytest.raises(UserError, match="labels is stored in another file, expected data of this file"):
        list(spoken.read(tmp_path / "a.h5"))


@pytest.mark.parametrize("is_within", [False, True])
def test_a_crash_while_spoken_digits_are_read(is_within: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = event_files.spoken(tmp_path / "a.h5", SPOKEN)
    words = [sys.executable, "-m", spoken.__name__, str(file)]
    whole = subprocess.run(words, env=hdf5_process.environment(), capture_output=True, check=True).stdout
    (tmp_path / "part").write_bytes(whole[: -100 if is_within else None])
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/part\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    found = spoken.read(file)
    for _ in range(len(SPOKEN) - is_within):
        next(found)
    with pytest.raises(UserError, match=r"a\.h5: not an HDF5 file, or damaged \(its reader ended\)"):
        next(found)


def test_the_reader_of_spoken_digits_ends_with_who_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [(np.sort(np.random.default_rng(0).random(2000)), np.zeros(2000, int), 0, 0)] * 50  # more than a pipe holds
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*args: Any, **options: Any) -> Any:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    found = spoken.read(event_files.spoken(tmp_path / "a.h5", many))
    next(found)
    assert started[0].poll() is None
    found.close()
    assert started[0].returncode == -signal.SIGKILL


def test_gestures(tmp_path: Path) -> None:
    folder = event_files.gestures(tmp_path)
    t, p, y, x = event_files.some(300, (2, 128, 128), 300_000, seed=1)
    found = list(gesture.read(folder, "train"))
    assert [(label, user) for _, label, user in found] == [(0, 1), (1, 1), (2, 1)]
    part = (t >= 100_000) & (t < 200_000)
    same(found[1][0], expected((t[part] - 100_000, p[part], y[part], x[part]), (2, 128, 128)))
    assert [user for _, _, user in gesture.read(folder, "test")] == [2] * 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("trials_to_train.txt", "\n", "sessions is 0, expected at least one"),
        ("trials_to_train.txt", "../user01_natural.aedat", "expected the name of a file, user01_"),
        ("trials_to_train.txt", "user09_natural.aedat", "user09_natural.aedat: no such file"),
        (
            "user01_natural_labels.csv",
            "class\n1,2\n",
            "line 2: gesture is 1,2, expected a class, the start and the",
        ),
        ("user01_natural_labels.csv", "class\n0,5000000,5100000\n", "line 2: class is 0, expected 1 or above"),
        ("user01_natural_labels.csv", "class\n1,9,5\n", "line 2: end is 5, expected above the start, 9"),
        ("user01_natural_labels.csv", "class\n1,5,9\n", "line 2: events is none, expected at least one from 5 to 9 mi"),
    ],
)
def test_wrong_tables_of_gestures(name: str, text: str, message: str, tmp_path: Path) -> None:
    folder = event_files.gestures(tmp_path)
    (folder / name).write_text(text)
    with pytest.raises(UserError) as error:
        list(gesture.read(folder, "train"))
    assert message in str(error.value)


def test_folders_of_sound(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = [rng.integers(-(1 << 15), 1 << 15, size).astype(np.int16) for size in (50, 80, 20)]
    for name, sound in zip(("3_theo_1", "0_ann_12", "3_ann_0"), samples, strict=True):
        event_files.sound(tmp_path / f"{name}.wav", sound)
    found = wav.read_folder(tmp_path)
    assert (len(found), found.rate, found.names) == (3, 8000, ("ann", "theo"))
    assert (found.labels.tolist(), found.speakers.tolist(), found.index.tolist()) == ([0, 3, 3], [0, 0, 1], [12, 0, 1])
    for own, wanted in zip(found.samples, (samples[1], samples[2], samples[0]), strict=True):
        assert np.array_equal(own, wanted)
        assert own.dtype == np.int16


def test_wrong_sounds(tmp_path: Path) -> None:
    file = tmp_path / "1_a_0.wav"
    for options, message in (
        ({"channels": 2}, "channels is 2, expected 1"),
        ({"width": 1}, "sample width is 8, expected 16 bits"),
    ):
        event_files.sound(file, np.arange(8), **options)
        with pytest.raises(UserError, match=message):
            wav.read(file)
    event_files.sound(file, np.arange(0))
    with pytest.raises(UserError, match="samples is 0, expected at least 1"):
        wav.read(file)
    whole = event_files.sound(file, np.arange(40)).read_bytes()
    for cut in (whole[:-3], whole[:30], whole[:20], b"", b"RIFX" + whole[4:]):
        file.write_bytes(cut)
        with pytest.raises(UserError) as error:
            wav.read(file)
        assert str(error.value).startswith(f"{file}: ")
    event_files.sound(file, np.arange(40))
    event_files.sound(tmp_path / "1_a_1.wav", np.arange(40), rate=16000)
    with pytest.raises(UserError, match=r"1_a_1\.wav rate is 16000, expected 8000, that of 1_a_0\.wav"):
        wav.read_folder(tmp_path)
    event_files.sound(tmp_path / "noise.wav", np.arange(40))
    (tmp_path / "1_a_1.wav").unlink()
    with pytest.raises(UserError, match=r"file is noise\.wav, expected a name of the pattern"):
        wav.read_folder(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"expected at least one \.wav file in it"):
        wav.read_folder(tmp_path / "none")


def plain_counts(binning: Binning, events: event_files.Columns, shape: tuple[int, ...]) -> np.ndarray:
    """By the definition, one event after another."""
    top, left, height, width = binning.crop or (0, 0, *shape[1:])
    rows = height // binning.pool if height > 1 else 1
    found = np.zeros((binning.steps, shape[0], rows, width // binning.pool), int)
    for t, p, y, x in zip(*(map(int, values) for values in events), strict=True):
        step = int(t / (1000 * binning.milliseconds))
        row = (y - top) // (binning.pool if height > 1 else 1)
        column = (x - left) // binning.pool
        inside = y >= top and x >= left and row < rows and column < width // binning.pool
        if step < binning.steps and inside and y < top + height and x < left + width:
            found[step, p, row, column] += 1
    return np.minimum(found, binning.largest)


@pytest.mark.parametrize(
    "binning",
    [
        Binning(10, 9),
        Binning(2.5, 20),
        Binning(10, 12, pool=4, largest=3),
        Binning(30, 3, crop=(3, 5, 20, 11), pool=3),
        Binning(50, 2, crop=(0, 30, 1, 4), pool=2),
    ],
)
def test_counts_in_bins(binning: Binning) -> None:
    events = event_files.some(4000)
    found = binning.count(expected(events))
    assert found.dtype == np.uint8
    assert np.array_equal(found, plain_counts(binning, events, SENSOR))
    assert found.shape[1:] == binning.shape(SENSOR)
    assert Binning.from_json(binning.to_json()) == binning


def test_recordings_that_are_too_large() -> None:
    with pytest.raises(UserError, match="steps is 65535, expected at most 2048 of 131072 sources"):
        Binning(1, 65_535).shape((2, 256, 256))


def test_sources_in_a_row_are_pooled_along_it() -> None:
    t, nothing, x = np.arange(50) * 1000, np.zeros(50, int), np.arange(50) % 40
    binning = Binning(10, 5, pool=8)
    found = binning.count(expected((t, nothing, nothing, x), (1, 1, 40)))
    assert found.shape == (5, 1, 1, 5)
    assert np.array_equal(found, plain_counts(binning, (t, nothing, nothing, x), (1, 1, 40)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"milliseconds": 0}, "step_ms is 0.0, expected 0.001 to 1000000 milliseconds"),
        ({"steps": 0}, "steps is 0, expected 1 to 65535"),
        ({"pool": 0}, "pool is 0, expected 1 to 65536"),
        ({"largest": 256}, "largest_count is 256, expected 1 to 255"),
        ({"crop": (1, 2, 3)}, "crop is (1, 2, 3), expected 4 whole numbers"),
        ({"crop": (1, 2, 0, 3)}, "crop is (1, 2, 0, 3), expected (top, left, height, width) with a size above 0"),
        ({"crop": (30, 0, 5, 5)}, "crop is (30, 0, 5, 5), expected (top, left, height, width) within 34 x 34 sources"),
        ({"pool": 35}, "pool is 35, expected at most the 34 x 34 sources"),
    ],
)
def test_wrong_bins(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        replace(Binning(10, 5), **changes).count(expected(EVENTS))
    assert message in str(error.value)


READING = Reading(Binning(10, 6, pool=2, largest=7))


def test_folders_of_classes(tmp_path: Path) -> None:
    folder = event_files.by_class(tmp_path)
    training, test = load(folder, READING)
    assert training.counts.shape == (60, 6, 2, 17, 17)
    assert training.labels[:6].tolist() == [0, 1, 2, 0, 1, 2], "in the order of the names, classes in turn"
    assert len(test) == 12
    assert training.groups is None
    assert Reading.from_json(training.made) == READING
    assert load_any(folder, READING)[1].digest == test.digest
    assert load_part(folder, "test", READING, 5).digest == test[:5].digest
    with pytest.raises(UserError, match=r"step_ms is not given, expected the milliseconds of a step"):
        load_any(folder)


def test_named_classes_and_other_kinds(tmp_path: Path) -> None:
    for part in ("train", "TEST"):
        for name in ("cars", "background"):
            (tmp_path / part / name).mkdir(parents=True)
            event_files.dat(tmp_path / part / name / "a.dat", EVENTS)
    assert [label for _, label in files(tmp_path, "test")] == [0, 1]
    assert [path.parent.name for path, _ in files(tmp_path, "train")] == ["background", "cars"]
    (tmp_path / "TEST" / "trucks").mkdir()
    with pytest.raises(UserError, match="trucks is a class of its own, expected a class of the training part"):
        load(tmp_path, READING)
    (tmp_path / "TEST" / "trucks").rmdir()
    event_files.nmnist(tmp_path / "train" / "cars" / "b.bin", EVENTS)
    with pytest.raises(UserError, match=r"files is \.bin, \.dat, expected of one kind"):
        load(tmp_path, READING)
    for file in (tmp_path / "TEST").glob("*/*"):
        file.unlink()
    with pytest.raises(UserError, match="TEST recordings is 0, expected files of"):
        files(tmp_path, "test")


def test_sensors_differ(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for number in range(2):
            (tmp_path / part / str(number)).mkdir(parents=True)
            header = event_files.DAT_HEADER.replace(b"40", str(40 + 2 * number).encode())
            event_files.dat(tmp_path / part / str(number) / "a.dat", EVENTS, header=header)
    with pytest.raises(UserError, match=r"recording 1 shape is \(2, 17, 21\), expected \(2, 17, 20\), that of"):
        load(tmp_path, READING)


def test_pairs_of_hdf5_files_and_gestures(tmp_path: Path) -> None:
    (tmp_path / "shd").mkdir()
    for part in ("train", "test"):
        event_files.spoken(tmp_path / "shd" / f"shd_{part}.h5", SPOKEN)
    training, _ = load_any(tmp_path / "shd", Reading(Binning(100, 6, pool=10)))
    assert training.groups is not None
    assert training.groups.tolist() == [5, 1, 5]
    assert training.counts.shape == (3, 6, 1, 1, 70)
    assert training.counts[0].sum() == 4
    (tmp_path / "gestures").mkdir()
    training, test = load_any(event_files.gestures(tmp_path / "gestures"), Reading(Binning(20, 5, pool=8)))
    assert (training.counts.shape, test.classes) == ((3, 5, 2, 16, 16), 3)


def test_single_files(tmp_path: Path) -> None:
    file = event_files.evt3(tmp_path / "a.raw", EVENTS)
    found = load_file(file, READING)
    assert np.array_equal(found.counts[0], READING.binning.count(expected(EVENTS, (2, 34, 40))))
    found = load_file(event_files.spoken(tmp_path / "a.h5", SPOKEN), READING, 2)
    assert found.labels.tolist() == [2, 0]


def digit() -> np.ndarray:
    image = np.zeros((28, 28), np.uint8)
    image[8:20, 12:16] = 255
    return image


def test_a_camera_sees_edges_move() -> None:
    found = Camera(mismatch=0.0, noise=0.0).record(digit(), 0)
    assert 500 < len(found) < 20_000
    assert int(found.t[-1]) <= 3 * SACCADE
    inside = found.places % (34 * 34)
    rows = inside // 34
    assert rows.min() >= 7
    assert rows.max() <= 27, "nothing moves outside of the reach of the digit"
    brighter = int((found.places >= 34 * 34).sum())
    assert abs(2 * brighter - len(found)) < 0.1 * len(found), "what becomes brighter becomes darker again"
    few = Camera(contrast=1.0, mismatch=0.0, noise=0.0).record(digit(), 0)
    assert 0.3 < len(few) / len(found) < 0.7


def test_events_follow_the_logarithm_of_brightness() -> None:
    """At every moment a pixel's events, signed, are within a threshold of what its brightness has changed by."""
    camera = Camera(contrast=0.3, mismatch=0.0, noise=0.0)
    found, places = camera.record(digit(), 0), path()
    assert places[0].tolist() == places[-1].tolist()
    still = np.zeros((34, 34))
    still[3:31, 3:31] = digit() / 255
    corner = places[50]  # whole pixels: the image as it stands there
    assert corner.tolist() == [0.0, -3.0]
    moved = [np.roll(still, (int(y), int(x)), (0, 1)) for x, y in (places[0], corner)]
    change = np.diff([np.log(0.1 + 0.9 * one) for one in moved], axis=0)[0]
    before = found.t < SACCADE
    signs = np.where(found.places >= 34 * 34, 0.3, -0.3)[before]
    summed = np.bincount(found.places[before] % (34 * 34), signs, 34 * 34).reshape(34, 34)
    assert np.abs(summed - change).max() <= 0.3 + 1e-9
    assert np.abs(change).max() > 2


def test_noise_and_seeds() -> None:
    noise = Camera(noise=5.0).record(np.zeros((28, 28), np.uint8), 1)
    assert abs(len(noise) - 5 * 0.3 * 34 * 34) < 200
    assert len(np.unique(noise.places)) > 800
    same(noise, Camera(noise=5.0).record(np.zeros((28, 28), np.uint8), 1))
    assert len(Camera(noise=5.0).record(np.zeros((28, 28), np.uint8), 2)) != len(noise)
    assert not np.array_equal(Camera(seed=1).thresholds(), Camera().thresholds())
    assert 0.02 < Camera().thresholds().std() / 0.5 < 0.08


def test_moving_digits_are_written_as_nmnist(tmp_path: Path) -> None:
    images = np.stack([np.roll(digit(), by, axis=1) for by in (-8, 0, 8)])[:, None]
    data = Dataset(images, np.array([2, 0, 1], np.uint8))
    done = []

    def killed(count: int) -> None:
        done.append(count)
        if len(done) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, (data, data), Camera(), progress=killed)
    kept = (tmp_path / "Train" / "2" / "00001.bin").stat().st_mtime_ns
    assert len(list(tmp_path.glob("*/*/*.bin"))) == 4
    assert write(tmp_path, (data, data), Camera()) == 6
    assert (tmp_path / "Train" / "2" / "00001.bin").stat().st_mtime_ns == kept
    same(nmnist.read(tmp_path / "Train" / "2" / "00001.bin"), Camera().record(images[0, 0], 0))
    same(nmnist.read(tmp_path / "Test" / "1" / "00003.bin"), Camera().record(images[2, 0], 5))
    training, _ = load(tmp_path, READING)
    assert training.labels.tolist() == [2, 0, 1]
    with pytest.raises(UserError, match="image channels is 3, expected 1"):
        write(tmp_path, (Dataset(np.repeat(images, 3, axis=1), data.labels), data), Camera())


def test_recordings_of_another_camera_or_other_images_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.stack([np.roll(digit(), by, axis=1) for by in (-8, 0, 8)])[:, None]
    data, folder = Dataset(images, np.array([2, 0, 1], np.uint8)), tmp_path / "digits"
    write(folder, (data, data), Camera(), images=2)
    files = {path: path.read_bytes() for path in folder.rglob("*.*")}
    shifted, darker = replace(data, labels=np.array([0, 1, 2], np.uint8)), replace(data, images=images // 2)
    advice = f"delete {folder}, or choose another folder"
    for sets, camera, count, message in (
        ((data, data), Camera(noise=2.0), 2, f"noise is 1.0, expected 2.0: {advice}"),
        ((data, data), Camera(), None, f"Train images is 2, expected 3: {advice}"),
        ((shifted, data), Camera(), 2, f"Train data is {data.digest[:16]}, expected {shifted.digest[:16]}: {advice}"),
        ((data, darker), Camera(), 2, f"Test data is {data.digest[:16]}, expected {darker.digest[:16]}: {advice}"),
    ):
        with pytest.raises(UserError) as error:
            write(folder, sets, camera, count)
        assert str(error.value) == f"{folder / 'moving.json'} {message}"
    with monkeypatch.context() as patched:
        patched.setattr(moving, "sources", lambda *names: "edited")
        with pytest.raises(UserError, match=r"moving.json sources is .*, expected edited: delete"):
            write(folder, (data, data), Camera(), 2)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == files
    assert write(folder, (data, data), Camera(), 2) == 4
    (folder / "moving.json").write_text("[1]")
    with pytest.raises(UserError, match=r"moving.json: damaged; delete"):
        write(folder, (data, data), Camera(), 2)
    (folder / "moving.json").unlink()
    with pytest.raises(
        UserError, match=r"out is .* with Test, expected a new folder, an empty one, or one with moving.j"
    ):
        write(folder, (data, data), Camera(), 2)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(UserError, match=r"out is .*images with train-images-idx3-ubyte, expected a new folder"):
        write(tmp_path / "images", (data, data), Camera(), 2)


def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    data = Dataset(digit()[None, None], np.array([0], np.uint8))
    with hold(tmp_path), ThreadPoolExecutor() as other:
        second = other.submit(write, tmp_path, (data, data), Camera())
        assert "is in use by another run of this process" in str(second.exception())
    assert list(tmp_path.iterdir()) == []
