// The serial pins of a simulated board: bytes from standard input go out bit by bit, bytes from the pin to standard output.
// The clock stands still while the line is idle in both directions.

#include <cstdint>
#include <poll.h>
#include <unistd.h>

#include "Vharness.h"
#include "board.h"
#include "confine.h"
#include "hooks.h"
#include "verilated.h"

namespace {

const int BITS = 10;                // start, data, stop
const long REST = 2000L * DIVISOR;  // cycles without a bit on either side after which nothing more can come
Vharness* dut;
int input, output;                  // of the line: the design cannot print to it

void cycle() {
    dut->clk = 0;
    dut->eval();
    dut->clk = 1;
    dut->eval();
}

// The next byte for the board; -1 if there is none now. Waits only if `wait`.
int next_byte(bool wait) {
    static uint8_t buffer[4096];
    static ssize_t place = 0, count = 0;
    if (place == count) {
        pollfd waiting = {input, POLLIN, 0};
        if (poll(&waiting, 1, wait ? 100 : 0) <= 0) return -1;
        count = read(input, buffer, sizeof buffer);
        place = 0;
        if (count <= 0) _exit(0);
    }
    return buffer[place++];
}

struct Sender {
    unsigned shift = 0;
    int bits = 0, timer = 0;

    void step(bool may_wait) {
        if (bits == 0) {
            const int byte = next_byte(may_wait);
            if (byte < 0) return;
            shift = 1u << (BITS - 1) | byte << 1;
            bits = BITS;
            timer = DIVISOR;
        }
        dut->rx = shift & 1;
        if (--timer == 0) {
            shift >>= 1;
            timer = DIVISOR;
            if (--bits == 0) dut->rx = 1;
        }
    }
};

struct Receiver {
    unsigned shift = 0;
    int bits = 0, timer = 0;

    void step() {
        if (bits == 0) {
            if (dut->tx) return;
            bits = BITS - 1;
            timer = DIVISOR + DIVISOR / 2;
        } else if (--timer == 0) {
            timer = DIVISOR;
            if (--bits == 0) {
                const uint8_t byte = shift >> 1;
                if (write(output, &byte, 1) != 1) _exit(0);
                shift = 0;
            } else {
                shift = shift >> 1 | unsigned(dut->tx) << (BITS - 2);
            }
        }
    }
};

}  // namespace

void simulation_fails(const char*) { _exit(1); }

// Argument: the process that started this one, and with which it ends.
int main(int, char** arguments) {
    confinement::end_with_parent(atoi(arguments[1]), SIGKILL);
    input = confinement::keep(STDIN_FILENO);
    output = confinement::keep(STDOUT_FILENO);
    confinement::silence();
    confinement::confine(MEMORY, SECONDS, 1 << 20);
    Verilated::threadContextp()->threads(1);  // no thread pool
    dut = new Vharness;
    dut->rx = 1;
    dut->rst = 1;
    for (int i = 0; i < 4; i++) cycle();
    dut->rst = 0;
    Sender sender;
    Receiver receiver;
    for (long rest = 0;;) {
        sender.step(rest > REST);
        cycle();
        receiver.step();
        rest = sender.bits || receiver.bits ? 0 : rest + 1;
    }
}
