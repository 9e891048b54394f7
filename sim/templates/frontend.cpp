// Samples from standard input go into a compiled front end, its beats and their cycles go to standard output.
// Both sides are stalled at random. The run ends when nothing has moved for a while after the last sample.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vharness.h"
#include "hooks.h"
#include "stalls.h"
#include "verilated.h"

namespace {

struct Setup {
    int64_t samples, stalled_in, stalled_out, seed, patience;  // stalls in 65536ths of the cycles
};

struct Beat {
    int64_t cycle;
    uint32_t data, last;
};

template <class T>
std::vector<T> taken(size_t count) {
    std::vector<T> values(count);
    if (fread(values.data(), sizeof(T), count, stdin) != count) exit(1);
    return values;
}

template <class T>
void given(const std::vector<T>& values) {
    const int64_t count = values.size();
    if (fwrite(&count, sizeof count, 1, stdout) != 1) exit(1);
    if (count && fwrite(values.data(), sizeof(T), count, stdout) != size_t(count)) exit(1);
}

}  // namespace

void simulation_fails(const char*) { exit(1); }
void wave_fails(int) { exit(1); }

int main() {
    const Setup setup = taken<Setup>(1)[0];
    const std::vector<int32_t> samples = taken<int32_t>(setup.samples);  // 2 * sample + last
    std::vector<int64_t> accepted;                                       // cycle of each sample
    std::vector<Beat> beats;
    Stalls rests{uint64_t(setup.seed) * 2 + 1, setup.stalled_in}, waits{uint64_t(setup.seed) * 2 + 3, setup.stalled_out};
    Verilated::threadContextp()->threads(1);  // no thread pool
    Vharness dut;
    dut.rst = 1;
    for (int i = 0; i < 8; i++) dut.clk = i & 1, dut.eval();
    dut.rst = 0;
    size_t next = 0;
    bool offered = false;
    int64_t moved = 0;
    for (int64_t cycle = 0; cycle - moved < setup.patience; ++cycle) {
        offered = next < samples.size() && (offered || !rests());  // what is offered stays until it is taken
        dut.s_axis_tvalid = offered;
        dut.s_axis_tdata = offered ? uint16_t(samples[next] >> 1) : 0xAAAA;
        dut.s_axis_tlast = offered ? samples[next] & 1 : 1;
        dut.m_axis_tready = !waits();
        dut.clk = 0;
        dut.eval();
        if (offered && dut.s_axis_tready) {
            accepted.push_back(cycle);
            ++next;
            offered = false;
            moved = cycle;
        }
        if (dut.m_axis_tvalid && dut.m_axis_tready) {
            beats.push_back({cycle, dut.m_axis_tdata, dut.m_axis_tlast});
            moved = cycle;
        }
        dut.clk = 1;
        dut.eval();
    }
    given(accepted);
    given(beats);
}
