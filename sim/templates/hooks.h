// What a program around a design defines: the simulation cannot go on.
#pragma once

[[noreturn]] void simulation_fails(const char* message);
[[noreturn]] void wave_fails(int error);  // it cannot be written
