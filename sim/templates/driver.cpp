// Drives a compiled accelerator without Python in the loop: frames in, packets out, every update of every layer
// compared with what is expected or recorded.
//
// stdin   the setup, then the frames one after another, as `sim/driving.py` writes them; all integers little-endian
// stdout  one record per frame: `ResultHead`, the words of its packet; if asked for, the cycles in which each beat was offered (padded)
//         and each beat of the packet was taken; the recorded trace
// stderr  one `VerdictRecord` at the end; without it, with another nonce or an exit code, the run counts as failed
//
// All three are moved out of the design's reach before any of its code runs: what it prints goes nowhere.
// Cycle 0 is the first after reset; a transfer is counted in the cycle in which valid and ready are both 1.

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <new>
#include <string>
#include <sys/time.h>
#include <vector>

#include "confine.h"
#include "hooks.h"
#include "ports.h"
#include "records.h"
#include "stalls.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ports and files are read as little-endian bytes");

namespace {

constexpr int RESET_CYCLES = 4;
constexpr int64_t TAIL_CYCLES = 200;  // after the last packet: no further one may come

int input, results, verdicts, waves = -1;  // descriptors
Setup setup;
VerdictRecord verdict;         // what is to be told
int64_t cycle = 0;

// All bytes, or false.
bool write_all(int file, const void* source, size_t bytes) {
    const char* from = static_cast<const char*>(source);
    while (bytes) {
        const ssize_t done = ::write(file, from, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        from += done, bytes -= done;
    }
    return true;
}

std::vector<char> unwritten;  // results that wait to be written
void (*close_wave)() = nullptr;

[[noreturn]] void end(int64_t kind) {
    if (close_wave) {
        void (*const close)() = close_wave;
        close_wave = nullptr;  // it may end here again
        close();
    }
    if (kind != KIND_FAILED && !write_all(results, unwritten.data(), unwritten.size())) {
        kind = KIND_FAILED;
        std::snprintf(verdict.message, sizeof verdict.message, "results cannot be written: %s", std::strerror(errno));
    }
    verdict.kind = kind;
    verdict.cycles = cycle;
    _exit(write_all(verdicts, &verdict, sizeof verdict) ? 0 : 1);
}

[[noreturn]] void end(int64_t kind, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(verdict.message, sizeof verdict.message, format, arguments);
    va_end(arguments);
    end(kind);
}

template <typename... Values>
[[noreturn]] void fault(const char* format, Values... values) {
    if (verdict.seen < 0) verdict.seen = cycle;
    end(KIND_FAULT, format, values...);
}

void read(void* target, size_t bytes) {
    static char buffer[1 << 20];
    static size_t place = 0, filled = 0;
    char* to = static_cast<char*>(target);
    while (bytes) {
        if (place == filled) {
            const ssize_t got = ::read(input, buffer, sizeof buffer);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) end(KIND_FAILED, "the input of the driver ends early");
            place = 0, filled = got;
        }
        const size_t part = std::min(bytes, filled - place);
        std::memcpy(to, buffer + place, part);
        to += part, place += part, bytes -= part;
    }
}

template <typename T>
std::vector<T> read_vector(size_t size) {
    std::vector<T> values(size);
    read(values.data(), size * sizeof(T));
    return values;
}

void write_result(const void* source, size_t bytes) {
    const char* from = static_cast<const char*>(source);
    unwritten.insert(unwritten.end(), from, from + bytes);
    if (unwritten.size() < 1 << 16) return;
    if (!write_all(results, unwritten.data(), unwritten.size()))
        end(KIND_FAILED, "results cannot be written: %s", std::strerror(errno));
    unwritten.clear();
}

// Every `cycle_seconds` of processor time: has a cycle ended since?
void watch(int) {
    static int64_t before = -1;
    if (cycle == before)
        fault("cycle %lld takes more than %lld s of processor time: a loop without end?", (long long)cycle,
              (long long)setup.cycle_seconds);
    before = cycle;
}

// Take the three descriptors away from standard input and output, and build the walls.
void prepare() {
    input = confinement::keep(STDIN_FILENO);
    results = confinement::keep(STDOUT_FILENO);
    verdicts = confinement::keep(STDERR_FILENO);
    if (input < 0 || results < 0 || verdicts < 0) _exit(1);
    confinement::silence();
    read(&setup, sizeof setup);
    verdict.nonce = setup.nonce;
    verdict.seen = -1;
    if (setup.wave >= 0) {
        waves = confinement::keep(int(setup.wave));
        if (waves < 0) _exit(1);
        close(int(setup.wave));
    }
    signal(SIGXFSZ, SIG_IGN);  // a write beyond the limit fails instead
    if (!confinement::end_with_parent(setup.parent, SIGKILL)) _exit(1);
    if (!setup.confined) return;
    std::set_new_handler([] {
        end(KIND_FAILED, "the Verilog takes more than %lld MB of memory to simulate", (long long)(setup.memory >> 20));
    });
    signal(SIGPROF, watch);
    const timeval period = {time_t(setup.cycle_seconds), 0};
    const itimerval timer = {period, period};
    setitimer(ITIMER_PROF, &timer, nullptr);
    verdict.walls = confinement::confine(setup.memory, setup.seconds, setup.output);
}

// One layer: where its neurons sit, and the wires that show a row of them being updated.
struct Layer {
    int64_t neurons, rows, pes, bits;
    std::vector<int32_t> slots;  // [rows, pes]: neuron or -1
    std::vector<int32_t> used;   // neurons that are there, ascending
    std::vector<int32_t> row_of; // [neurons]: the row of each that is there
    Core core;
    int64_t updates = 0;  // rows seen so far
};

// Spikes and membranes of one layer in one frame, [steps, neurons], and the cycles of its updates, [steps, rows]: -1 for
// what was cancelled.
struct Trace {
    std::vector<uint8_t> spikes;
    std::vector<int32_t> membranes;
    std::vector<int64_t> cycles;
};

struct Frame {
    std::vector<uint64_t> beats;
    std::vector<Trace> expected;
    std::vector<int64_t> offered, taken;  // cycles: beats of the frame, beats of its packet
    int64_t first_beat = 0, last_beat = 0;
};

std::vector<Layer> read_layers(int64_t count, const Ports& ports) {
    if (count > int64_t(ports.cores.size())) end(KIND_FAILED, "the model shows %d layers", int(ports.cores.size()));
    std::vector<Layer> layers(count);
    for (int64_t l = 0; l < count; ++l) layers[l].core = ports.cores[l];
    for (Layer& layer : layers) {
        LayerHead head;
        read(&head, sizeof head);
        layer.neurons = head.neurons, layer.rows = head.rows, layer.pes = head.pes, layer.bits = head.bits;
        layer.slots = read_vector<int32_t>(layer.rows * layer.pes);
        layer.row_of.assign(layer.neurons, 0);
        for (size_t slot = 0; slot < layer.slots.size(); ++slot)
            if (layer.slots[slot] >= 0) layer.row_of[layer.slots[slot]] = int32_t(slot / layer.pes);
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
        trace.push_back({std::vector<uint8_t>(steps * layer.neurons), std::vector<int32_t>(steps * layer.neurons),
                         std::vector<int64_t>(steps * layer.rows, -1)});
    return trace;
}

Frame read_frame(const std::vector<Layer>& layers) {
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
void compare(const std::vector<Layer>& layers, const Frame& frame, const std::vector<Trace>& seen, int64_t number) {
    for (int64_t step = 0; step < setup.steps; ++step) {
        for (size_t l = 0; l < layers.size(); ++l) {
            const Trace &expected = frame.expected[l], &got = seen[l];
            const int64_t start = step * layers[l].neurons;
            int64_t shown = 0;
            for (int32_t neuron : layers[l].used) {
                const int64_t at = start + neuron;
                const int64_t seen_in = got.cycles[step * layers[l].rows + layers[l].row_of[neuron]];
                if (seen_in < 0) continue;
                ++shown;
                const bool spike = expected.spikes[at] != got.spikes[at];
                if (!spike && expected.membranes[at] == got.membranes[at]) continue;
                verdict.frame = number, verdict.step = step, verdict.layer = l, verdict.neuron = neuron;
                verdict.quantity = spike ? QUANTITY_SPIKE : QUANTITY_MEMBRANE;
                verdict.expected = spike ? expected.spikes[at] : expected.membranes[at];
                verdict.got = spike ? got.spikes[at] : got.membranes[at];
                verdict.seen = seen_in;
                end(KIND_DIFFERENCE);
            }
            verdict.spikes += shown;
            verdict.membranes += shown;
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
    int64_t whole = 0;  // the cycle behind its last beat; of an early packet until its frame is in
};

// A frame whose packet has left. Cores that the packet did not wait for may still work on it.
struct Finished {
    Frame frame;
    ResultHead head;
    std::vector<int64_t> packet;
};

// Row updates of `layer` that frame `number` still lacks.
int64_t lacking(const Layer& layer, int64_t number) {
    return (number + 1) * setup.steps * layer.rows - layer.updates;
}

void write_frame(const std::vector<Layer>& layers, Finished& done, const std::vector<Trace>& got, int64_t number) {
    write_result(&done.head, sizeof done.head);
    write_result(done.packet.data(), done.packet.size() * sizeof(int64_t));
    if (setup.beats) {
        done.frame.offered.resize(setup.beats);
        write_result(done.frame.offered.data(), done.frame.offered.size() * sizeof(int64_t));
        write_result(done.frame.taken.data(), done.frame.taken.size() * sizeof(int64_t));
    }
    if (setup.record)
        for (const Trace& trace : got) {
            write_result(trace.spikes.data(), trace.spikes.size());
            write_result(trace.membranes.data(), trace.membranes.size() * sizeof(int32_t));
        }
    if (setup.compare) compare(layers, done.frame, got, number);
}

}  // namespace

void simulation_fails(const char* message) { fault("the simulation stops: %s", message); }
void wave_fails(int error) { end(KIND_FAILED, "the wave cannot be written: %s", std::strerror(error)); }

int main(int count, char** arguments) {
    prepare();
    const Ports ports = make_model(count > 1 ? std::atoi(arguments[1]) : 0);
    std::vector<Layer> layers = read_layers(setup.layers, ports);

    if (waves >= 0) {
        if (!ports.open_wave) end(KIND_FAILED, "the model has no waves");
        ports.open_wave(waves);
        close_wave = ports.close_wave;
    }
    *ports.s_axis_tvalid = 0;
    *ports.m_axis_tready = 0;
    *ports.rst = 1;
    for (int i = 0; i < RESET_CYCLES; ++i) ports.tick();
    *ports.rst = 0;

    const auto number = [&](int64_t frame) { return (long long)(setup.first + frame); };
    Stalls stall_in{2 * uint64_t(setup.seed) + 1, setup.stall_in};
    Stalls stall_out{~(2 * uint64_t(setup.seed) + 1), setup.stall_out};
    std::deque<Frame> flying;  // frames whose packet has not left; the last one may still be going in
    std::deque<Finished> finished;           // frames behind, whose packet has left
    std::deque<std::vector<Trace>> traces;   // of the frames that are not written, and of those to come
    int64_t written = 0;
    Packet packet;
    int64_t sent = 0, taken = 0, received = 0;  // frames begun, frames that went in whole, packets finished
    size_t beat = 0;                            // of the frame that is going in
    bool going_in = false, offering = false;
    int64_t last_progress = 0;

    for (;; ++cycle) {
        const bool idle = flying.empty() && finished.empty() && cycle > last_progress + setup.gap;
        if (!going_in && sent < setup.frames && (setup.gap < 0 || sent == 0 || idle)) {
            flying.push_back(read_frame(layers));
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
        if (waves >= 0) {
            if (cycle > setup.wave_last) end(KIND_RECORDED);
            ports.wave_at(cycle < setup.wave_first ? -1 : 2 * cycle + 2);
        }
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
            const int64_t place = layer.updates / (layer.rows * setup.steps) - written;
            if (place < 0 || place >= sent - written + setup.ahead)
                fault("core%d updates a row that no frame asked for, in cycle %lld", int(l), (long long)cycle);
            while (place >= int64_t(traces.size())) traces.push_back(empty_trace(layers, setup.steps));
            take_row(layer, step, row, traces[place][l]);
            traces[place][l].cycles[step * layer.rows + row] = cycle;
            ++layer.updates;
            progress = true;
        }
        if (ports.cancel && *ports.cancel && !layers.empty()) {
            const auto frame_of = [](const Layer& layer) { return layer.updates / (layer.rows * setup.steps); };
            const int64_t frame = frame_of(layers.front());
            for (Layer& layer : layers) {
                if (frame_of(layer) != frame)
                    fault("core%d is not at the frame that is cancelled in cycle %lld", int(&layer - &layers.front()),
                          (long long)cycle);
                layer.updates = (frame + 1) * layer.rows * setup.steps;
            }
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
            const bool owed = received < taken || (setup.early && going_in && !packet.whole);
            if (!owed) fault("a packet that no frame asked for, in cycle %lld", (long long)cycle);
            packet.beats.push_back(int32_t(packet.data));
            flying.front().taken.push_back(cycle);
            progress = true;
            const int64_t beats = packet.beats.size();
            if (packet.last != (beats == setup.words))
                fault("the packet of frame %lld %s beat %lld instead of %lld", number(received),
                      packet.last ? "ends with" : "goes on after", (long long)beats, (long long)setup.words);
            if (packet.last) {
                packet.whole = cycle + 1;
                for (size_t l = 0; l < layers.size() && !setup.ahead && !setup.early; ++l) {
                    const int64_t lacks = lacking(layers[l], received);
                    if (lacks > 0)
                        fault("core%d lacks %lld row updates as the packet of frame %lld ends", int(l),
                              (long long)lacks, number(received));
                }
            }
        }
        if (packet.whole && received < taken) {
            const Frame& frame = flying.front();
            const ResultHead head = {frame.first_beat, frame.last_beat, packet.whole - 1, packet.user};
            finished.push_back({std::move(flying.front()), head, std::move(packet.beats)});
            packet.beats.clear();
            packet.whole = 0;
            flying.pop_front();
            ++received;
        }
        while (!finished.empty()) {
            const auto lacks = [&](const Layer& layer) { return lacking(layer, written) > 0; };
            if (std::any_of(layers.begin(), layers.end(), lacks)) break;
            if (traces.empty()) traces.push_back({});  // no layer is shown
            write_frame(layers, finished.front(), traces.front(), number(written));
            traces.pop_front();
            finished.pop_front();
            verdict.frames = ++written;
        }
        if (progress) last_progress = cycle;
        if (written == setup.frames && cycle - last_progress >= TAIL_CYCLES) {
            cycle -= TAIL_CYCLES - 1;
            end(KIND_DONE);
        }
        if (written < setup.frames && cycle - last_progress > setup.patience + (setup.gap > 0 ? setup.gap : 0)) {
            verdict.seen = last_progress;
            fault("nothing moves for %lld cycles, %s of frame %lld is due, its input %s", (long long)setup.patience,
                  finished.empty() ? "the packet" : "a row", number(written),
                  taken > written ? "went in" : "did not all go in");
        }
    }
}
