"""A front end for sound in hardware: PCM samples in, beats of graded events out, as the accelerator takes them.

One multiplier does the work of all filters, a product per cycle. A filter is four products of words from one memory:
its input now and two samples ago, its output one and two samples ago (`quantize/frontend.py` has the formula). All
bands go through their first filters, then all through their second ones, so that the pipeline never waits for a result:
the same band is `TAPS * bands` cycles away. The memory keeps four outputs of each filter, under the sample's number
modulo four. So nothing is moved, and nothing is cleared: what is older than the recording is read as 0.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect

from ..bits import lane_bits, unsigned_bits
from ..quantize.frontend import SAMPLE_BITS, TAPS, FrontEnd
from . import latency
from .fifo import Queue
from .frame_words import COUNT_BIT, MARK_BIT, SPIKE_BITS
from .framing import spike_beat_layout
from .memory import read_port, write_port
from .verilog import converted, no_collection

OUTPUTS = 4  # of each filter that are kept, a power of two: the tap furthest back is two samples ago
TAP_AGES = (0, 2, 1, 2)  # how many samples ago each tap's word was made
TOP = "front_end"  # module of the generated Verilog
INPUT_TAPS = 2  # the taps of a filter's input come first, then those of its output


def sample_layout() -> data.StructLayout:
    """A sample of a recording, and whether it is its last."""
    return data.StructLayout({"data": signed(SAMPLE_BITS), "last": 1})


class FilterBank(wiring.Component):
    """Samples to the loudness of every band in a step.

    Ports
    -----
    samples
        In: `sample_layout`. A step that a recording ends in is filled up with samples of 0.
    full
        Out: the loudness of all bands is known, and can be read; no sample is taken.
    ends
        Out: with `full`: the step is the last of its recording.
    band, loudness
        In, out: while `full`, the loudness of `band` in the cycle before.
    release
        In: with `full`: it has been read. The next sample, or after `ends` the next recording, may come.

    Latency: `full` rises `latency.front_end_filters` cycles after a step's last sample. Throughput: a sample in
    `latency.front_end_sample` cycles. Stalls: none but `release`.
    """

    def __init__(self, settings: FrontEnd):
        self.settings = settings
        super().__init__(
            {
                "samples": In(stream.Signature(sample_layout())),
                "full": Out(1),
                "ends": Out(1),
                "band": In(range(settings.bands)),
                "loudness": Out(settings.loudness_bits),
                "release": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        settings = self.settings
        bands, stages, word = settings.bands, settings.stages, signed(settings.state_bits)
        at = data.StructLayout({"slot": lane_bits(OUTPUTS), "band": lane_bits(bands), "stage": lane_bits(stages)})
        issue = data.StructLayout({"valid": 1, "tap": lane_bits(TAPS), "place": at, "first": 1, "silent": 1})

        # control: one sample, then every tap of every band of every stage
        sample = Array(Signal(signed(SAMPLE_BITS), name=f"sample{age}") for age in range(3))
        number = Signal(range(max(2, settings.step)), name="number")  # of the sample in its step
        age = Signal(range(3), name="age")  # of the recording in samples, at most 2
        slot = Signal(lane_bits(OUTPUTS), name="slot")
        tap = Signal(lane_bits(TAPS), name="tap")
        band = Signal(range(bands), name="band_now")
        stage = Signal(range(max(2, stages)), name="stage")
        ended = Signal(name="ended")
        drained = Signal(range(latency.FRONT_END_DRAIN), name="drained")
        issued = Signal(issue, name="issued")
        final_sample = number == settings.step - 1
        tap_age = Array(TAP_AGES)[tap]
        with m.FSM():
            with m.State("take"):
                m.d.comb += self.samples.ready.eq(~ended)
                with m.If(self.samples.valid | ended):
                    m.d.sync += [
                        sample[0].eq(Mux(ended, 0, self.samples.payload.data)),
                        sample[1].eq(sample[0]),
                        sample[2].eq(sample[1]),
                        ended.eq(ended | self.samples.payload.last),
                    ]
                    m.next = "filter"
            with m.State("filter"):
                m.d.comb += issued.valid.eq(1)
                m.d.sync += tap.eq(tap + 1)
                with m.If(tap == TAPS - 1):
                    m.d.sync += band.eq(band + 1)
                    with m.If(band == bands - 1):
                        m.d.sync += [band.eq(0), stage.eq(stage + 1)]
                        with m.If(stage == stages - 1):
                            m.d.sync += [stage.eq(0), slot.eq(slot + 1), age.eq(Mux(age == 2, 2, age + 1))]
                            m.d.sync += number.eq(Mux(final_sample, 0, number + 1))
                            m.next = "take"
                            with m.If(final_sample):
                                m.next = "drain"
            with m.State("drain"):
                m.d.sync += drained.eq(drained + 1)
                with m.If(drained == latency.FRONT_END_DRAIN - 1):
                    m.d.sync += drained.eq(0)
                    m.next = "full"
            with m.State("full"):
                m.d.comb += [self.full.eq(1), self.ends.eq(ended)]
                with m.If(self.release):
                    m.next = "take"
                    with m.If(ended):
                        m.d.sync += [ended.eq(0), age.eq(0)]
        m.d.comb += [
            issued.tap.eq(tap),
            issued.place.slot.eq(slot),
            issued.place.band.eq(band),
            issued.place.stage.eq(stage),
            issued.first.eq(number == 0),
            issued.silent.eq(tap_age > age),
        ]

        # fetch: a word and its coefficient
        m.submodules.outputs = outputs = Memory(shape=word, depth=1 << at.size, init=[])
        m.submodules.coefficients = coefficients = Memory(
            shape=signed(settings.coefficient_bits),
            depth=TAPS << lane_bits(bands),
            init=[n for g, a1, a2 in settings.filters for n in (g, -g, a1, a2)],
        )
        read, write = read_port(outputs, "read"), write_port(outputs, "write")
        constant = read_port(coefficients, "read")
        level = Mux(tap < INPUT_TAPS, stage - 1, stage)  # the filter that has put the word out
        m.d.comb += [
            read.addr.eq(Cat((slot - tap_age)[: len(slot)], issued.place.band, level[: lane_bits(stages)])),
            constant.addr.eq(Cat(tap, issued.place.band)),
        ]
        fetched, multiplied = Signal(issue, name="fetched"), Signal(issue, name="multiplied")
        m.d.sync += [fetched.eq(issued), multiplied.eq(fetched)]

        # multiply
        operand = Signal(word, name="operand")
        product = Signal(signed(settings.state_bits + settings.coefficient_bits), name="product")
        given = Mux(fetched.tap == 0, sample[0], sample[2]) << settings.guard
        outer = (fetched.place.stage == 0) & (fetched.tap < INPUT_TAPS)
        m.d.comb += operand.eq(Mux(fetched.silent, 0, Mux(outer, given, read.data)))
        m.d.sync += product.eq(operand * constant.data)

        # add, and after the last tap round and keep
        total = Signal(signed(settings.sum_bits), name="total")
        before = Signal(signed(settings.sum_bits), name="before")
        result = Signal(word, name="result")
        complete = Signal(name="complete")
        m.d.comb += [
            total.eq(product + Mux(multiplied.tap == 0, 1 << (settings.fraction - 1), before)),
            result.eq(total >> settings.fraction),
            complete.eq(multiplied.valid & (multiplied.tap == TAPS - 1)),
            write.addr.eq(multiplied.place),
            write.data.eq(result),
            write.en.eq(complete),
        ]
        m.d.sync += before.eq(total)

        # the sum of the sizes of the last filters' outputs
        m.submodules.sums = sums = Memory(shape=unsigned(settings.loudness_bits), depth=1 << lane_bits(bands), init=[])
        so_far, add = read_port(sums, "read"), write_port(sums, "write")
        size = Signal(settings.state_bits, name="size")
        adds, adds_first = Signal(name="adds"), Signal(name="adds_first")
        m.d.sync += [
            adds.eq(complete & (multiplied.place.stage == stages - 1 if stages > 1 else 1)),
            adds_first.eq(multiplied.first),
            size.eq(abs(result)),
            add.addr.eq(multiplied.place.band),
        ]
        m.d.comb += [
            so_far.addr.eq(Mux(self.full, self.band, multiplied.place.band)),
            add.data.eq(Mux(adds_first, 0, so_far.data) + size),
            add.en.eq(adds),
            self.loudness.eq(so_far.data),
        ]
        return m


class Coder(wiring.Component):
    """The loudness of all bands to the beats of a step.

    Ports
    -----
    full, ends, band, loudness, release
        The other side of those of `FilterBank`.
    beats
        Out: `spike_beat_layout`: the graded events of a step, addresses ascending, then its mark; `last` with the mark
        of a recording's last step.

    Latency: from `full` to the first source `latency.front_end_codes` cycles. Throughput: a source per cycle, whether
    it has an event or not, then the mark, with which `release` comes. Stalls: `beats.ready` low.
    """

    def __init__(self, settings: FrontEnd):
        self.settings = settings
        super().__init__(
            {
                "full": In(1),
                "ends": In(1),
                "band": Out(range(settings.bands)),
                "loudness": In(settings.loudness_bits),
                "release": Out(1),
                "beats": Out(stream.Signature(spike_beat_layout())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        settings = self.settings
        bands = settings.bands
        value = unsigned(unsigned_bits(settings.loudest))
        m.submodules.logarithms = logarithms = Memory(shape=value, depth=bands, init=[])
        m.submodules.heard = heard = Memory(shape=value, depth=bands, init=[])
        known, keep = read_port(logarithms, "read"), write_port(logarithms, "write")
        was, hear = read_port(heard, "read"), write_port(heard, "write")
        first = Signal(name="first", init=1)  # step of a recording
        band = Signal(range(bands), name="band_now")
        next_band = Signal(range(bands), name="next_band")
        down = Signal(name="down")  # the code
        source = Signal(range(settings.sources), name="source")
        shown = Signal(range(bands), name="shown")
        advance = Signal(name="advance")
        reading, finding = Signal(name="reading"), Signal(name="finding")
        found = Signal(value, name="found")

        # logarithms: read, found, kept, one cycle each
        read_band, found_band = Signal(range(bands), name="read_band"), Signal(range(bands), name="found_band")
        logarithm = self._logarithm()
        m.d.sync += [
            finding.eq(reading),
            read_band.eq(band),
            found_band.eq(read_band),
            found.eq(Mux(logarithm < settings.least, settings.least, logarithm)),
            keep.en.eq(finding),
        ]
        m.d.comb += [self.band.eq(band), keep.addr.eq(found_band), keep.data.eq(found)]

        # changes: the memories show `band`
        reference = Mux(first & ~down, settings.least, was.data)
        away = Mux(down, reference - known.data, known.data - reference)
        whole = Signal(signed(len(away)), name="whole")
        count = Signal(settings.bits, name="count")
        moved = count << settings.change
        m.d.comb += [
            whole.eq(away >> settings.change),
            count.eq(Mux(whole < 0, 0, Mux(whole > settings.largest, settings.largest, whole))),
            known.addr.eq(shown),
            was.addr.eq(shown),
            hear.addr.eq(band),
            hear.data.eq(Mux(down, reference - moved, reference + moved)),
            hear.en.eq(advance),
            next_band.eq(Mux(band == bands - 1, 0, band + 1)),
            shown.eq(Mux(advance, next_band, band)),
        ]
        beat = self.beats.payload
        with m.FSM():
            with m.State("wait"), m.If(self.full):
                m.next = "logarithms"
            with m.State("logarithms"):
                m.d.comb += reading.eq(1)
                m.d.sync += band.eq(next_band)
                with m.If(band == bands - 1):
                    m.next = "fetch"
            with m.State("fetch"):
                m.next = "code"
            with m.State("code"):
                m.d.comb += [
                    self.beats.valid.eq(count != 0),
                    beat.data.eq(count << COUNT_BIT | source),
                    advance.eq(self.beats.ready | (count == 0)),
                ]
                with m.If(advance):
                    m.d.sync += [band.eq(next_band), source.eq(source + 1)]
                    with m.If(band == bands - 1):
                        m.d.sync += down.eq(~down)
                        with m.If(down):
                            m.d.sync += source.eq(0)
                            m.next = "mark"
            with m.State("mark"):
                m.d.comb += [
                    self.beats.valid.eq(1),
                    beat.data.eq(1 << MARK_BIT),
                    beat.last.eq(self.ends),
                    self.release.eq(self.beats.ready),
                ]
                with m.If(self.beats.ready):
                    m.d.sync += first.eq(self.ends)
                    m.next = "wait"
        return m

    def _logarithm(self) -> Value:
        """The number of the leading one of `loudness` and the `mantissa` bits below it; 0 if there is none."""
        mantissa = self.settings.mantissa
        found: Value = Const(0, unsigned_bits(self.settings.loudest))
        for place in range(self.settings.loudness_bits):
            padded = Cat(Const(0, mantissa), self.loudness)  # so that there are bits below the first ones
            found = Mux(self.loudness[place], Cat(padded[place : place + mantissa], Const(place)), found)
        return found


class SoundInput(wiring.Component):
    """The front end: PCM samples in, the accelerator's beats out.

    Ports
    -----
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast
        AXI4-Stream, in: a sample per beat, signed, 16 bits. TLAST, with a recording's last sample, is optional: without
        it, steps come for ever.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast
        AXI4-Stream, out: what `s_axis` of an accelerator with graded input takes, `settings.sources` sources and
        `settings.bits` bits a count.

    Latency: from a step's last sample to its mark `latency.front_end_step_end` cycles. Throughput: a step in
    `latency.front_end_step` cycles. Stalls: `m_axis_tready` low, from the second beat that waits on; no sample is taken
    then.
    """

    def __init__(self, settings: FrontEnd):
        self.settings = settings
        super().__init__(
            {
                "s_axis_tdata": In(SAMPLE_BITS),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(SPIKE_BITS),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.filters = filters = FilterBank(self.settings)
        m.submodules.coder = coder = Coder(self.settings)
        m.submodules.output_queue = queue = Queue(spike_beat_layout(), latency.OUTPUT_QUEUE)
        m.d.comb += [
            filters.samples.payload.data.eq(self.s_axis_tdata),
            filters.samples.payload.last.eq(self.s_axis_tlast),
            filters.samples.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(filters.samples.ready),
            coder.full.eq(filters.full),
            coder.ends.eq(filters.ends),
            coder.loudness.eq(filters.loudness),
            filters.band.eq(coder.band),
            filters.release.eq(coder.release),
            self.m_axis_tdata.eq(queue.o.payload.data),
            self.m_axis_tlast.eq(queue.o.payload.last),
            self.m_axis_tvalid.eq(queue.o.valid),
            queue.o.ready.eq(self.m_axis_tready),
        ]
        connect(m, coder.beats, queue.i)
        return m


def generate(settings: FrontEnd) -> str:
    """Verilog text with top module `front_end`: the ports of `SoundInput`, `clk` and `rst`."""
    with no_collection():
        (text,) = converted([(SoundInput(settings), TOP)])
    return text
