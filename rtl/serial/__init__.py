"""The accelerator behind a serial port. What a packet is: `rtl/packets.py`.

```
 rx -> Receiver -> PacketReceiver -+-> Assembler ------> Datapath -+
                                   +-> Loader ---------^           v
 tx <- Transmitter <- PacketSender <---------------------------- Answers
```

The assembler is `FrameAssembler` for pixels, `EventAssembler` for an input that is new at each step. `Receiver` and
`Transmitter` are those of `rtl/uart.py`, `PacketSender` is a part of `Answers`.
"""

from .accelerator import SerialAccelerator, check_design, identity

__all__ = ["SerialAccelerator", "check_design", "identity"]
