// Drives a compiled accelerator without Python in the loop: frames in, packets out, every update of every layer
// compared with what is expected or recorded.
//
// stdin   the setup, then the frames one after another, as `sim/verilated.py` writes them; all integers little-endian
// stdout  one record a frame: first beat, last beat and end of packet (cycles), user flag, class, sums; if asked for, the
//         cycles in which each beat was offered (padded) and each beat of the packet was taken; the recorded trace
// stderr  one line of JSON, the verdict: "done", "difference" or "fault"
//
// Cycle 0 is the first after reset; a transfer is counted in the cycle in which valid and ready are both 1.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "ports.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ports and files are read as little-endian bytes");

namespace {

constexpr int RESET_CYCLES = 4;
constexpr int64_t TAIL_CYCLES = 200;  // after the last packet: no further one may come

int64_t cycle = 0;
int64_t spikes_compared = 0;
int64_t membranes_compared = 0;

[[noreturn]] void verdict(const char* kind, const char* format, ...) {
    std::fflush(stdout);
    std::fprintf(stderr, "{\"verdict\": \"%s\", \"cycles\": %lld, \"spikes\": %lld, \"membranes\": %lld", kind,
                 (long long)cycle, (long long)spikes_compared, (long long)membranes_compared);
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fprintf(stderr, "}\n");
    std::fflush(stderr);
    std::_Exit(0);
}

template <typename... Values>
[[noreturn]] void fault(const char* format, Values... values) {
    char text[256];
    std::snprintf(text, sizeof text, format, values...);
    verdict("fault", ", \"message\": \"%s\"", text);
}

void read(void* target, size_t bytes) {
    if (std::fread(target, 1, bytes, stdin) != bytes) fault("the input of the driver ends early");
}

template <typename T>
std::vector<T> read_vector(size_t size) {
    std::vector<T> values(size);
    read(values.data(), size * sizeof(T));
    return values;
}

void write(const void* source, size_t bytes) {
    if (std::fwrite(source, 1, bytes, stdout) != bytes) fault("the results cannot be written");
}

void write(int64_t value) { write(&value, sizeof value); }

// Random bits that stall a stream with a given density, in 65536ths; xorshift64*.
struct Stalls {
    uint64_t state;
    int64_t density;
    bool operator()() {
        if (density == 0) return false;
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return int64_t((state * 0x2545F4914F6CDD1Dull) >> 48) < density;
    }
};

struct Setup {
    int64_t frames, first, classes, steps, layers, compare, record, beats, seed, stall_in, stall_out, gap, patience;
};

// One layer: where its neurons sit, and the wires that show a row of them being updated.
struct Layer {
    int64_t neurons, rows, pes, bits;
    std::vector<int32_t> slots;  // [rows, pes]: neuron or -1
    std::vector<int32_t> used;   // neurons that are there, ascending
    Core core;
    int64_t updates = 0;  // rows seen so far
};

// Spikes and membranes of one layer in one frame: [steps, neurons].
struct Trace {
    std::vector<uint8_t> spikes;
    std::vector<int32_t> membranes;
};

struct Frame {
    std::vector<uint64_t> beats;
    std::vector<Trace> expected, got;
    std::vector<int64_t> offered, taken;  // cycles: beats of the frame, beats of its packet
    int64_t first_beat = 0, last_beat = 0;
};

std::vector<Layer> read_layers(int64_t count, const Ports& ports) {
    if (count > int64_t(ports.cores.size())) fault("the model shows %d layers", int(ports.cores.size()));
    std::vector<Layer> layers(count);
    for (int64_t l = 0; l < count; ++l) layers[l].core = ports.cores[l];
    for (Layer& layer : layers) {
        int64_t sizes[4];
        read(sizes, sizeof sizes);
        layer.neurons = sizes[0], layer.rows = sizes[1], layer.pes = sizes[2], layer.bits = sizes[3];
        layer.slots = read_vector<int32_t>(layer.rows * layer.pes);
        std::vector<bool> there(layer.neurons);
        for (int32_t neuron : layer.slots)
            if (neuron >= 0) there[neuron] = true;
        for (int32_t neuron = 0; neuron < layer.neurons; ++neuron)
            if (there[neuron]) layer.used.push_back(neuron);
    }
    return layers;
}

std::vector<Trace> empty_trace(const std::vector<Layer>& layers, int64_t steps) {
    std::vector<Trace> trace;
    for (const Layer& layer : layers)
        trace.push_back({std::vector<uint8_t>(steps * layer.neurons), std::vector<int32_t>(steps * layer.neurons)});
    return trace;
}

Frame read_frame(const Setup& setup, const std::vector<Layer>& layers) {
    Frame frame;
    uint64_t beats;
    read(&beats, sizeof beats);
    frame.beats = read_vector<uint64_t>(beats);
    if (setup.compare) {
        frame.expected = empty_trace(layers, setup.steps);
        for (Trace& trace : frame.expected) {
            read(trace.spikes.data(), trace.spikes.size());
            read(trace.membranes.data(), trace.membranes.size() * sizeof(int32_t));
        }
    }
    frame.got = empty_trace(layers, setup.steps);
    return frame;
}

// Take the row of neurons that `layer` updates in this cycle into `trace`, at `step`.
void take_row(const Layer& layer, int64_t step, int64_t row, Trace& trace) {
    static std::vector<uint8_t> wires;
    wires.resize(layer.core.membrane_bytes + sizeof(uint64_t));
    std::memcpy(wires.data(), layer.core.membranes, layer.core.membrane_bytes);
    for (int64_t pe = 0; pe < layer.pes; ++pe) {
        const int32_t neuron = layer.slots[row * layer.pes + pe];
        if (neuron < 0) continue;
        const int64_t at = step * layer.neurons + neuron, bit = pe * layer.bits;
        uint64_t window;
        std::memcpy(&window, &wires[bit / 8], sizeof window);
        const int unused = 64 - int(layer.bits);
        trace.spikes[at] = layer.core.spikes[pe / 8] >> pe % 8 & 1;
        trace.membranes[at] = int32_t(int64_t(window >> bit % 8 << unused) >> unused);
    }
}

// Compare a finished frame; the first difference in the order step, layer, neuron ends the run.
void compare(const Setup& setup, const std::vector<Layer>& layers, const Frame& frame, int64_t number) {
    for (int64_t step = 0; step < setup.steps; ++step) {
        for (size_t l = 0; l < layers.size(); ++l) {
            const Trace &expected = frame.expected[l], &got = frame.got[l];
            const int64_t start = step * layers[l].neurons;
            for (int32_t neuron : layers[l].used) {
                const int64_t at = start + neuron;
                const bool spike = expected.spikes[at] != got.spikes[at];
                if (!spike && expected.membranes[at] == got.membranes[at]) continue;
                verdict("difference",
                        ", \"frame\": %lld, \"step\": %lld, \"layer\": %d, \"neuron\": %d, \"quantity\": \"%s\", "
                        "\"expected\": %d, \"got\": %d",
                        (long long)number, (long long)step, int(l), neuron, spike ? "spike" : "membrane",
                        spike ? expected.spikes[at] : expected.membranes[at],
                        spike ? got.spikes[at] : got.membranes[at]);
            }
            spikes_compared += layers[l].used.size();
            membranes_compared += layers[l].used.size();
        }
    }
}

// The packet that is leaving: beats of the frame in front.
struct Packet {
    std::vector<int64_t> beats;
    bool user = false;
    bool waiting = false;  // valid without ready in the cycle before: nothing may change
    uint32_t data = 0;
    bool last = false;
};

}  // namespace

int main(int count, char** arguments) {
    static char buffer[1 << 20];
    std::setvbuf(stdin, buffer, _IOFBF, sizeof buffer);
    const Ports ports = make_model(count > 1 ? std::atoi(arguments[1]) : 0);
    Setup setup;
    read(&setup, sizeof setup);
    std::vector<Layer> layers = read_layers(setup.layers, ports);

    *ports.s_axis_tvalid = 0;
    *ports.m_axis_tready = 0;
    *ports.rst = 1;
    for (int i = 0; i < RESET_CYCLES; ++i) ports.tick();
    *ports.rst = 0;

    const auto number = [&](int64_t frame) { return (long long)(setup.first + frame); };
    Stalls stall_in{2 * uint64_t(setup.seed) + 1, setup.stall_in};
    Stalls stall_out{~(2 * uint64_t(setup.seed) + 1), setup.stall_out};
    std::deque<Frame> flying;  // frames whose packet has not left; the last one may still be going in
    Packet packet;
    int64_t sent = 0, taken = 0, received = 0;  // frames begun, frames that went in whole, packets finished
    size_t beat = 0;                            // of the frame that is going in
    bool going_in = false, offering = false;
    int64_t free_from = 0, last_progress = 0;

    for (;; ++cycle) {
        if (!going_in && sent < setup.frames && (setup.gap < 0 || (flying.empty() && cycle >= free_from))) {
            flying.push_back(read_frame(setup, layers));
            ++sent;
            beat = 0;
            going_in = true;
        }
        if (going_in && !offering && !stall_in()) {
            const std::vector<uint64_t>& beats = flying.back().beats;
            offering = true;
            flying.back().offered.push_back(cycle);
            std::memcpy(ports.s_axis_tdata, &beats[beat], ports.s_axis_tdata_bytes);
            *ports.s_axis_tlast = beat + 1 == beats.size();
        }
        const bool accepting = !stall_out();
        *ports.s_axis_tvalid = offering;
        *ports.m_axis_tready = accepting;
        ports.tick();

        bool progress = false;
        if (offering && *ports.s_axis_tready) {
            Frame& frame = flying.back();
            if (beat == 0) frame.first_beat = cycle;
            frame.last_beat = cycle;
            offering = false;
            going_in = ++beat < frame.beats.size();
            taken += !going_in;
            progress = true;
        }
        for (size_t l = 0; l < layers.size(); ++l) {
            Layer& layer = layers[l];
            if (!*layer.core.valid) continue;
            const int64_t row = layer.updates % layer.rows, step = layer.updates / layer.rows % setup.steps;
            const int64_t place = layer.updates / (layer.rows * setup.steps) - received;
            if (place < 0 || place >= int64_t(flying.size()))
                fault("core%d updates a row that no frame asked for, in cycle %lld", int(l), (long long)cycle);
            take_row(layer, step, row, flying[place].got[l]);
            ++layer.updates;
            progress = true;
        }
        if (*ports.m_axis_tvalid) {
            const bool stable = packet.data == *ports.m_axis_tdata && packet.last == bool(*ports.m_axis_tlast) &&
                                packet.user == bool(*ports.m_axis_tuser);
            if (packet.waiting && !stable)
                fault("m_axis changes while it waits, frame %lld, cycle %lld", number(received), (long long)cycle);
            if (!packet.beats.empty() && packet.user != bool(*ports.m_axis_tuser))
                fault("m_axis_tuser changes within the packet of frame %lld", number(received));
            packet.data = *ports.m_axis_tdata;
            packet.last = *ports.m_axis_tlast;
            packet.user = *ports.m_axis_tuser;
        } else if (packet.waiting) {
            fault("m_axis withdraws a beat, frame %lld, cycle %lld", number(received), (long long)cycle);
        }
        packet.waiting = *ports.m_axis_tvalid && !accepting;
        if (*ports.m_axis_tvalid && accepting) {
            if (received == taken) fault("a packet that no frame asked for, in cycle %lld", (long long)cycle);
            packet.beats.push_back(int32_t(packet.data));
            flying.front().taken.push_back(cycle);
            progress = true;
            const int64_t beats = packet.beats.size();
            if (packet.last != (beats == setup.classes + 1))
                fault("the packet of frame %lld %s beat %lld instead of %lld", number(received),
                      packet.last ? "ends with" : "goes on after", (long long)beats, (long long)setup.classes + 1);
            if (packet.last) {
                Frame& frame = flying.front();
                for (size_t l = 0; l < layers.size(); ++l) {
                    const int64_t due = (received + 1) * setup.steps * layers[l].rows;
                    if (layers[l].updates < due)
                        fault("core%d lacks %lld row updates as the packet of frame %lld ends", int(l),
                              (long long)(due - layers[l].updates), number(received));
                }
                write(frame.first_beat);
                write(frame.last_beat);
                write(cycle);
                write(packet.user);
                write(packet.beats.data(), packet.beats.size() * sizeof(int64_t));
                if (setup.beats) {
                    frame.offered.resize(setup.beats);
                    write(frame.offered.data(), frame.offered.size() * sizeof(int64_t));
                    write(frame.taken.data(), frame.taken.size() * sizeof(int64_t));
                }
                if (setup.record)
                    for (const Trace& trace : frame.got) {
                        write(trace.spikes.data(), trace.spikes.size());
                        write(trace.membranes.data(), trace.membranes.size() * sizeof(int32_t));
                    }
                if (setup.compare) compare(setup, layers, frame, number(received));
                packet.beats.clear();
                flying.pop_front();
                ++received;
                free_from = cycle + 1 + setup.gap;
            }
        }
        if (progress) last_progress = cycle;
        if (received == setup.frames && cycle - last_progress >= TAIL_CYCLES) {
            cycle -= TAIL_CYCLES - 1;
            verdict("done", "%s", "");
        }
        if (received < setup.frames && cycle - last_progress > setup.patience + (setup.gap > 0 ? setup.gap : 0))
            fault("nothing moves for %lld cycles, the packet of frame %lld is due, its input %s", (long long)setup.patience,
                  number(received), taken > received ? "went in" : "did not all go in");
    }
}
