"""The timing model: cycles of every frame, predicted from its events and the mapping, without simulating a clock.

The accelerator's queues, look-ups, readers, scans and serialisers obey recurrences of `max` and `+` over events and
rows. Each part of `rtl/` states its latency and what stalls it. The file of the same name here computes the times, with
the latencies of `rtl/latency.py`; they equal those counted in the compiled RTL.

A part's state is a record with the indices of its times: in an int64 array (`State.times`) for times of the part, in
rows of vectors (`State.lanes`) for times of each PE.
"""
