"""A serial port of this computer: opened by one program at a time. Its errors are one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from .errors import UserError

READ_WAIT = 0.005  # seconds that a read waits for the first byte
WRITE_WAIT = 10.0  # seconds after which a line that takes no bytes is an error


class LineError(UserError):
    """The line is interrupted, the board does not answer, or it has another design."""


class Line(Protocol):
    """Interface of a serial port. `read` returns the bytes that arrive within a short time; errors are `LineError`s."""

    def read(self, size: int) -> bytes: ...

    def write(self, data: bytes) -> int | None: ...


class SerialLine:
    """An open serial port; closed at the end of a `with` block."""

    def __init__(self, port: str, serial: Any):
        self.port = port
        self._serial = serial

    def read(self, size: int) -> bytes:
        return self._checked(self._serial.read, size)

    def write(self, data: bytes) -> int | None:
        return self._checked(self._serial.write, data)

    def close(self) -> None:
        self._serial.close()

    def _checked(self, call: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return call(argument)
        except (OSError, TypeError) as error:  # pyserial's own are OSErrors; a port closed under it gives a TypeError
            self.close()
            raise LineError(f"the line to {self.port} was cut: {error}") from error

    def __enter__(self) -> SerialLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_line(port: str, baud: int) -> SerialLine:
    """Open the serial device `port` for this program alone. `LineError` if it is in use or can't be opened.

    The lock (`flock`) ends with the program, even a killed one. Programs that ask for no lock are not kept out.
    """
    try:
        import serial
    except ImportError as error:
        raise UserError("pyserial is not installed: pip install 'gradrtl[fpga]'") from error
    try:
        found = serial.Serial(port, baud, timeout=READ_WAIT, write_timeout=WRITE_WAIT, exclusive=True)
    except (OSError, ValueError) as error:
        raise LineError(_reason(port, error)) from error
    return SerialLine(port, found)


def _reason(port: str, error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.EAGAIN, errno.EBUSY):
        return f"port is {port}, which another program has open, expected a free one: end that program first"
    if number is None:  # termios refuses it
        return f"port is {port}, expected a serial device such as /dev/ttyUSB1"
    told = os.strerror(number)
    return f"port is {port}, which cannot be opened ({told}), expected a serial device such as /dev/ttyUSB1"
