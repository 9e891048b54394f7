// The ports of the design that Verilator has compiled, for the driver.

#include "Vharness.h"
#include "ports.h"
#include "verilated.h"
#if VM_TRACE
#include "hooks.h"
#include "verilated_vcd_c.h"
#endif

namespace {

Vharness& model() {
    static VerilatedContext context;
    static const bool alone = (context.traceEverOn(VM_TRACE), context.threads(1), true);  // no thread pool, for which there is neither use nor permission
    static Vharness made{&context};
    (void)alone;
    return made;
}

#if VM_TRACE
// What Verilator writes of a wave goes to a descriptor that was open before the walls stood.
struct WaveFile final : VerilatedVcdFile {
    int file = -1;
    bool open(const std::string&) override { return true; }
    void close() override {}
    ssize_t write(const char* from, ssize_t bytes) override {
        for (ssize_t left = bytes; left > 0;) {
            const ssize_t done = ::write(file, from, left);
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0) wave_fails(errno);
            from += done, left -= done;
        }
        return bytes;
    }
};

WaveFile wave_file;
VerilatedVcdC wave{&wave_file};
int64_t wave_time = -1;

void open_wave(int file) {
    wave_file.file = file;
    model().trace(&wave, 99);
    wave.open("wave");
}
void wave_at(int64_t time) { wave_time = time; }
void close_wave() { wave.close(); }
#endif

void tick() {
    Vharness& m = model();
    m.clk = 0, m.eval();
#if VM_TRACE
    if (wave_time > 0) wave.dump(uint64_t(wave_time - 1));
#endif
    m.clk = 1, m.eval();
#if VM_TRACE
    if (wave_time > 0) wave.dump(uint64_t(wave_time));
#endif
}

template <typename Port>
const uint8_t* bytes(const Port& port) {
    return reinterpret_cast<const uint8_t*>(&port);
}

}  // namespace

Ports make_model(int) {
    Vharness& m = model();
    Ports ports;
    ports.rst = &m.next_rst;
    ports.s_axis_tvalid = &m.next_s_axis_tvalid;
    ports.s_axis_tlast = &m.next_s_axis_tlast;
    ports.s_axis_tdata = reinterpret_cast<uint8_t*>(&m.next_s_axis_tdata);
    ports.s_axis_tdata_bytes = sizeof m.next_s_axis_tdata;
    ports.m_axis_tready = &m.next_m_axis_tready;
    ports.s_axis_tready = &m.s_axis_tready;
    ports.m_axis_tvalid = &m.m_axis_tvalid;
    ports.m_axis_tlast = &m.m_axis_tlast;
    ports.m_axis_tuser = &m.m_axis_tuser;
    ports.m_axis_tdata = &m.m_axis_tdata;
#define CORE(l)                                                                                  \
    ports.cores.push_back({bytes(m.core##l##_valid), bytes(m.core##l##_spikes), bytes(m.core##l##_membranes), \
                           sizeof m.core##l##_membranes});
#define CANCEL(name) ports.cancel = &m.name;
    ports.cancel = nullptr;
#include "cores.h"
#undef CANCEL
#undef CORE
    ports.tick = tick;
    ports.open_wave = nullptr, ports.wave_at = nullptr, ports.close_wave = nullptr;
#if VM_TRACE
    ports.open_wave = open_wave, ports.wave_at = wave_at, ports.close_wave = close_wave;
#endif
    return ports;
}
