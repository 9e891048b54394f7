// Runs a tool under limits: launch PARENT MEMORY SECONDS OUTPUT COMMAND...
// The tool and all that it starts are one process group, which ends when the parent ends or this process is told to.
// The exit code is the tool's; 128 and the signal's number if a signal ended it.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/wait.h>

#include "confine.h"

static pid_t tool = 0;

static void end_all(int signal) {
    if (tool > 0) kill(-tool, SIGKILL);
    _exit(128 + signal);
}

int main(int count, char** arguments) {
    if (count < 6) return 127;
    const int64_t parent = std::atoll(arguments[1]);
    sigset_t ends, before;
    sigemptyset(&ends);
    for (const int one : {SIGTERM, SIGINT, SIGHUP}) {
        sigaddset(&ends, one);
        signal(one, end_all);
    }
    sigprocmask(SIG_BLOCK, &ends, &before);
    if (!confinement::end_with_parent(parent, SIGTERM)) return 128 + SIGTERM;
    tool = fork();
    if (tool < 0) return 127;
    if (tool == 0) {
        setpgid(0, 0);
        confinement::end_with_parent(getppid(), SIGKILL);
        for (const int one : {SIGTERM, SIGINT, SIGHUP}) signal(one, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before, nullptr);
        if (std::strcmp(arguments[2], "0")) {
            confinement::limit_all(std::atoll(arguments[2]), std::atoll(arguments[3]), std::atoll(arguments[4]));
            confinement::leave_network();
        }
        execvp(arguments[5], arguments + 5);
        std::fprintf(stderr, "%s: %s\n", arguments[5], std::strerror(errno));
        _exit(127);
    }
    setpgid(tool, tool);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    int status;
    while (waitpid(tool, &status, 0) < 0)
        if (errno != EINTR) return 127;
    kill(-tool, SIGKILL);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
