"""The CRC of a packet in hardware: equal to `zlib.crc32`, which `rtl/packets.py` uses."""

from __future__ import annotations

from amaranth.lib.crc import catalog

CRC = catalog.CRC32_ISO_HDLC(data_width=8)
