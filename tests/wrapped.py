"""The accelerator behind its wrapper `gradrtl_axi`, in Icarus Verilog: beats in, packets out, registers, one by one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

BENCH = Path(__file__).parent / "axi_bench.v"


class Wrapped:
    """A simulation of the Verilog `sources`, name to text, with data beats of `size` bytes.

    Both streams stall at random if `stalled`. A packet leaves only after `await_packet`. `AssertionError`: X on an
    output, a beat that changes while it waits, or nothing moves for long.
    """

    def __init__(
        self,
        folder: Path,
        sources: Mapping[str, str],
        size: int,
        address_bits: int,
        stalled: bool = True,
        use_tkeep: int = 1,
        seed: int = 1,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in sources.items():
            (folder / name).write_text(text)
        macros = {"DATA": 8 * size, "ADDRESS": address_bits, "STALLED": int(stalled), "USE_TKEEP": use_tkeep}
        words = [f"-D{name}={value}" for name, value in {**macros, "SEED": seed}.items()]
        files = [name for name in sources if name.endswith(".v")]
        build = ["iverilog", "-g2005", "-Wall", "-Wno-timescale", *words, "-o", "bench.vvp", str(BENCH), *files]
        compiled = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
        assert compiled.returncode == 0, compiled.stderr
        self.warnings = [line for line in compiled.stderr.splitlines() if "gradrtl_axi.v" in line]
        self.size, self.packet_open = size, False
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(["vvp", "-n", "bench.vvp"], cwd=folder, stdin=pipe, stdout=pipe, text=True)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def __enter__(self) -> Wrapped:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, beats: Sequence[tuple[int, int, int]]) -> None:
        """Beats of data, TKEEP and TLAST."""
        for data, keep, last in beats:
            self._tell("d", data)
            self._tell("s", keep, last)

    def send_bytes(self, data: bytes) -> None:
        """A packet of `data`, as a DMA sends it: the bytes of its last beat that are kept are those that there are."""
        chunks = [data[at : at + self.size] for at in range(0, len(data), self.size)]
        ends = [chunk is chunks[-1] for chunk in chunks]
        self.send(
            [
                (int.from_bytes(chunk, "little"), (1 << len(chunk)) - 1, int(end))
                for chunk, end in zip(chunks, ends, strict=True)
            ]
        )

    def await_packet(self) -> None:
        self._tell("a")

    def packet(self) -> tuple[list[int], bool]:
        """The words of the packet that was awaited, and whether TUSER is set on all of them; it is the same on all."""
        self._tell("p")
        words, users, last = [], [], "0"
        while last == "0":
            word, last, user = self._line().split()
            words.append(int(word))
            users.append(user)
        assert len(set(users)) == 1
        return words, users[0] == "1"

    def read(self, address: int) -> int:
        self._tell("r", address)
        value, response = self._line().split()
        assert response == "0"
        return int(value)

    def write(self, address: int, value: int) -> None:
        self._tell("w", address, value)
        assert self._line() == "0"

    def reset(self) -> str:
        """Reset, and return the valid and ready outputs meanwhile."""
        self._tell("x")
        return self._line()

    def _tell(self, what: str, first: int = 0, second: int = 0) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {first:x} {second:x}\n")

    def _line(self) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.flush()
        line = self.process.stdout.readline().strip()
        assert line, "the simulation has ended"
        assert not line.startswith("!"), line
        return line
