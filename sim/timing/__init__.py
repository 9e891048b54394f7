"""The timing model: cycles of every frame, predicted from its events and the mapping, without simulating a clock.

The accelerator's queues, look-ups, readers, scans and serialisers obey recurrences of `max` and `+` over events and
rows. Each part of `rtl/` states its latency and what stalls it; the file of the same name here says the same in
arithmetic, with the latencies of `rtl/latency.py`, so that its times equal those that the compiled RTL counts.

A part's state is a record that says where its times lie: in one array of int64 (`State.times`) for what happens once in
a part, in rows of vectors (`State.lanes`) for what happens in every PE.
"""
