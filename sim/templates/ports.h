// What the driver knows of a compiled design: its ports in memory, and how to advance it by a cycle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

// The trace wires of one layer; wide ones are little-endian words one after another.
struct Core {
    const uint8_t *valid, *spikes, *membranes;
    size_t membrane_bytes;
};

struct Ports {
    uint8_t *rst, *s_axis_tvalid, *s_axis_tlast, *m_axis_tready;  // inputs: they take effect in the cycle that `tick` enters
    uint8_t* s_axis_tdata;
    size_t s_axis_tdata_bytes;
    const uint8_t *s_axis_tready, *m_axis_tvalid, *m_axis_tlast, *m_axis_tuser;
    const uint32_t* m_axis_tdata;
    const uint8_t* cancel;  // the rest of the frame is cancelled; null where none ever is
    std::vector<Core> cores;
    void (*tick)();
    void (*open_wave)(int file);      // null in a model without waves; VCD goes to the descriptor
    void (*wave_at)(int64_t time);    // the time at which the next `tick` is shown, -1: it is not
    void (*close_wave)();
};

Ports make_model(int number);  // of the models in this program, number `number`
