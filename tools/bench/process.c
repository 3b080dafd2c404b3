#include "tools/bench/process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(char *const *argv, int err)
{
    int nothing = open("/dev/null", O_RDWR);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0 || dup2(err, 2) < 0) _exit(127);
    execv(argv[0], argv);
    _exit(127);
}

/* Keeps the last err_size - 1 bytes. */
static void read_end(int from, char *err, size_t err_size)
{
    size_t used = 0;
    for (;;) {
        if (used > err_size / 2) {
            size_t drop = used - err_size / 2;
            memmove(err, err + drop, used - drop);
            used -= drop;
        }
        ssize_t got = read(from, err + used, err_size - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        used += (size_t)got;
    }
    err[used] = '\0';
}

int bench_process_run(char *const *argv, char *err, size_t err_size)
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
    if (child > 0) read_end(ends[0], err, err_size);
    close(ends[0]);
    if (child < 0) return -1;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
