"""Files appear whole or not at all, and nothing is left behind."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys

import pytest

from gradrtl.errors import UserError
from gradrtl.files import check_writable, whole, write_bytes, write_text


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    with whole(path) as part:
        part.write_text("half")
        assert not path.exists()
        part.write_text("all")
    assert path.read_text() == "all"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "before")

    def fail() -> None:
        with whole(path) as part:
            part.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_in_one_line(tmp_path):
    path = tmp_path / "file.bin"
    write_bytes(path, b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UserError, match=re.escape(f"{path} cannot be written: ")):
            write_bytes(path, bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "file/below.txt"])
def test_a_place_where_no_file_can_be(name, tmp_path):
    (tmp_path / "file").write_text("a file, no folder")
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / name, "text")
    with pytest.raises(UserError, match=r"cannot be written: .* folder"):
        check_writable(tmp_path / name)
    check_writable(tmp_path / "some" / "folders" / "file.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_device_is_written_directly():
    write_text(os.devnull, "text")
    assert not os.path.isfile(os.devnull)


def test_a_link_stays_a_link(tmp_path):
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    write_text(link, "text")
    assert link.is_symlink()
    assert target.read_text() == "text"


def test_what_a_killed_process_left_is_removed(tmp_path):
    path = tmp_path / "file.txt"
    program = f"""
import os, signal
from gradrtl.files import whole
with whole({str(path)!r}) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with whole(path) as other:  # of a process that lives
        other.write_text("first")
        write_text(path, "second")
        assert {file.name for file in tmp_path.iterdir()} == {other.name, path.name}
    assert path.read_text() == "first"
