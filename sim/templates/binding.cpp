// The ports of the design that Verilator has compiled, for the driver.

#include "Vharness.h"
#include "ports.h"
#include "verilated.h"

namespace {

Vharness& model() {
    static VerilatedContext context;
    static const bool alone = (context.threads(1), true);  // no thread pool, for which there is neither use nor permission
    static Vharness made{&context};
    (void)alone;
    return made;
}

void tick() {
    Vharness& m = model();
    m.clk = 0, m.eval();
    m.clk = 1, m.eval();
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
#include "cores.h"
#undef CORE
    ports.tick = tick;
    return ports;
}
