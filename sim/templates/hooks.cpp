// What the design may ask of the simulator that runs it: to end or to stop is not its to decide, so both do nothing.

#include "hooks.h"
#include "verilated.h"

void vl_finish(const char*, int, const char*) {}
void vl_stop(const char*, int, const char*) {}
void vl_warn(const char*, int, const char*, const char*) {}
void vl_fatal(const char*, int, const char*, const char* message) { simulation_fails(message); }
