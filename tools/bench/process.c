#include "tools/bench/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(char *const *argv, int err)
{
    int nothing = open("/dev/null", O_RDWR);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0 || dup2(err, 2) < 0) _exit(127);
    execv(argv[0], argv);
    _exit(127);
}

/* False when the time is over. */
static bool wait_for_text(int from, time_t end)
{
    struct pollfd ready = {.fd = from, .events = POLLIN};
    for (;;) {
        time_t left = end - time(NULL);
        if (left <= 0) return false;
        int n = poll(&ready, 1, (int)left * 1000);
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
}

/* Keeps at least the last half of `err`. False when the time is over. */
static bool read_end(int from, int limit_s, char *err, size_t err_size)
{
    size_t used = 0;
    time_t end = time(NULL) + limit_s;
    while (wait_for_text(from, end)) {
        if (used > err_size / 2) {
            size_t drop = used - err_size / 2;
            memmove(err, err + drop, used - drop);
            used -= drop;
        }
        ssize_t got = read(from, err + used, err_size - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return true;
        used += (size_t)got;
        err[used] = '\0';
    }
    return false;
}

int bench_process_run(char *const *argv, int limit_s, char *err, size_t err_size)
{
    int ends[2], status = 0;
    err[0] = '\0';
    if (pipe(ends) != 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        become(argv, ends[1]);
    }
    close(ends[1]);
    if (child > 0 && !read_end(ends[0], limit_s, err, err_size)) kill(child, SIGKILL);
    close(ends[0]);
    if (child < 0) return -1;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
