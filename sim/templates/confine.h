// Walls around a process that runs what others wrote: limits, no network, no files outside its folder, few system calls.
#pragma once

#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <cstddef>
#include <cstdint>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fcntl.h>

#include "records.h"

namespace confinement {

// This process gets `signal` when the thread that started it ends; false if its parent has ended already.
inline bool end_with_parent(int64_t parent, int signal) {
    prctl(PR_SET_PDEATHSIG, signal);
    return getppid() == pid_t(parent);
}

inline bool limit(int resource, int64_t most) {
    struct rlimit limits;
    if (getrlimit(resource, &limits)) return false;
    if (limits.rlim_max == RLIM_INFINITY || rlim_t(most) < limits.rlim_max) {
        limits.rlim_cur = most;
        limits.rlim_max = resource == RLIMIT_CPU ? most + 1 : most;  // SIGXCPU at the first, SIGKILL at the second
    } else {
        limits.rlim_cur = limits.rlim_max;
    }
    return setrlimit(resource, &limits) == 0;
}

// Bytes of memory, seconds of processor time, bytes of a file; no core file.
inline bool limit_all(int64_t memory, int64_t seconds, int64_t output) {
    const bool done = limit(RLIMIT_AS, memory) & limit(RLIMIT_CPU, seconds) & limit(RLIMIT_FSIZE, output);
    return done & limit(RLIMIT_CORE, 0);
}

// The private copy of a descriptor, out of reach of what is printed to the first three.
inline int keep(int file) { return fcntl(file, F_DUPFD_CLOEXEC, 100); }

// From now on, what is read from or printed to the first three descriptors is nothing.
inline void silence() {
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0) _exit(1);
    for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nothing, file);
}

// A network namespace without any interface.
inline bool leave_network() { return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 || unshare(CLONE_NEWNET) == 0; }

// Landlock: from now on, files can be opened for reading in the current folder, and nothing else.
inline bool only_this_folder() {
#if defined(__NR_openat) && (defined(__x86_64__) || defined(__aarch64__))
    enum : long { CREATE = 444, ADD_RULE = 445, RESTRICT = 446 };  // the same on every architecture
    const long version = syscall(CREATE, nullptr, 0, 1);
    if (version < 1) return false;
    const int kinds = version == 1 ? 13 : version == 2 ? 14 : 15;  // of access, bit by bit
    const uint64_t handled = (uint64_t(1) << kinds) - 1;
    struct __attribute__((packed)) { uint64_t allowed; int32_t folder; } beneath = {(1 << 2) | (1 << 3), -1};
    const int rules = syscall(CREATE, &handled, sizeof handled, 0);
    beneath.folder = open(".", O_PATH | O_CLOEXEC);
    const bool done = rules >= 0 && beneath.folder >= 0 && syscall(ADD_RULE, rules, 1, &beneath, 0) == 0 &&
                      syscall(RESTRICT, rules, 0) == 0;
    close(beneath.folder);
    close(rules);
    return done;
#else
    return false;
#endif
}

// Seccomp: every system call that a simulation does not need fails with EPERM.
inline bool few_calls() {
#if defined(__x86_64__)
    const uint32_t machine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
    const uint32_t machine = AUDIT_ARCH_AARCH64;
#else
    return false;
#endif
#if defined(__x86_64__) || defined(__aarch64__)
    static const int allowed[] = {
        __NR_read,      __NR_write,     __NR_readv,        __NR_writev,      __NR_lseek,          __NR_close,
        __NR_fstat,     __NR_openat,    __NR_mmap,         __NR_munmap,      __NR_mremap,         __NR_mprotect,
        __NR_brk,       __NR_madvise,   __NR_futex,        __NR_exit,        __NR_exit_group,     __NR_rt_sigaction,
        __NR_getpid,    __NR_gettid,    __NR_rt_sigreturn, __NR_getrandom,   __NR_clock_gettime,  __NR_rt_sigprocmask,
        __NR_ppoll,     __NR_getrusage, __NR_gettimeofday, __NR_sched_yield, __NR_sched_getaffinity, __NR_fcntl,
        __NR_restart_syscall,
#ifdef __NR_newfstatat
        __NR_newfstatat,
#endif
#ifdef __NR_poll
        __NR_poll,
#endif
    };
    const auto load = [](size_t offset) { return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, uint32_t(offset)); };
    const auto answer = [](uint32_t action) { return sock_filter BPF_STMT(BPF_RET | BPF_K, action); };
    const auto unless = [](uint32_t value) { return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1); };
    sock_filter program[2 * (sizeof allowed / sizeof *allowed) + 16];
    unsigned short length = 0;
    program[length++] = load(offsetof(seccomp_data, arch));
    program[length++] = sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, machine, 1, 0);
    program[length++] = answer(SECCOMP_RET_KILL_PROCESS);
    program[length++] = load(offsetof(seccomp_data, nr));
    for (const int call : allowed) {
        program[length++] = unless(call);
        program[length++] = answer(SECCOMP_RET_ALLOW);
    }
    // A process may end itself by a signal (abort), and no other process.
    program[length++] = sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_tgkill, 0, 3);
    program[length++] = load(offsetof(seccomp_data, args[0]));
    program[length++] = unless(uint32_t(getpid()));
    program[length++] = answer(SECCOMP_RET_ALLOW);
    program[length++] = answer(SECCOMP_RET_ERRNO | EPERM);
    const sock_fprog filter = {length, program};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
#endif
}

// All walls; returns a bit for each that stands.
inline int64_t confine(int64_t memory, int64_t seconds, int64_t output) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int64_t walls = 0;
    if (limit_all(memory, seconds, output)) walls |= WALL_LIMITS;
    if (leave_network()) walls |= WALL_NETWORK;
    if (only_this_folder()) walls |= WALL_FILES;
    if (few_calls()) walls |= WALL_CALLS | WALL_NETWORK;
    return walls;
}

}  // namespace confinement
