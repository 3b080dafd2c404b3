#include "tools/clinfo-bench/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds in which a thread of the process could have run and got no core; 0 where the system does
 * not say. On a busy machine an item may not be given up for what others do. */
static double starved_seconds(pid_t pid)
{
    char path[64];
    double most = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    for (const struct dirent *task; tasks && (task = readdir(tasks));) {
        char file[128];
        unsigned long long ran = 0, waited = 0;
        snprintf(file, sizeof file, "/proc/%d/task/%.20s/schedstat", (int)pid, task->d_name);
        FILE *stat = fopen(file, "r");
        if (stat && fscanf(stat, "%llu %llu", &ran, &waited) == 2 && 1e-9 * (double)waited > most)
            most = 1e-9 * (double)waited;
        if (stat) fclose(stat);
    }
    if (tasks) closedir(tasks);
    return most;
}

typedef struct line_reader {
    char *text;
    size_t used, capacity;
} line_reader;

typedef struct child_run {
    pid_t pid;
    int result_fd, text_fd;
    line_reader lines;
    char tail[1200]; /* the last of what the driver printed */
    char item[160];  /* announced and not answered yet */
    char kernel[80]; /* of that item, "" if it is no case of one */
    uint32_t begun;
    bool finished;
    bool timed_out;
    double deadline;
    double starved;  /* when the item began, see starved_seconds */
    double extended; /* seconds that the deadline was moved by */
} child_run;

static volatile sig_atomic_t running; /* the child's process, 0 while there is none */

/* A child has a process group of its own, so a terminal's interrupt does not reach it. */
static void on_signal(int number)
{
    if (running) {
        kill(-(pid_t)running, SIGKILL);
        kill((pid_t)running, SIGKILL);
    }
    raise(number); /* SA_RESETHAND: ends this process when the handler returns */
}

void bench_end_with_child(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, old;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaction(numbers[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) sigaction(numbers[i], &action, NULL); /* nohup stays so */
    }
}

/* Also when the parent is killed in a way that it cannot answer, nothing is left behind. */
static void die_with_parent(pid_t parent)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent) _exit(127);
}

static void exec_child(const bench_options *options, const bench_step *step, uint32_t device,
                       uint32_t from, int result_fd, int text_fd)
{
    char device_text[16], from_text[16], mode_text[16];
    snprintf(device_text, sizeof device_text, "%u", device);
    snprintf(from_text, sizeof from_text, "%u", from);
    snprintf(mode_text, sizeof mode_text, "%d", options->mode);
    if (dup2(result_fd, 9) < 0 || dup2(text_fd, 1) < 0 || dup2(text_fd, 2) < 0 ||
        dup2(9, BENCH_RESULT_FD) < 0)
        _exit(127);
    close(9);
    setpgid(0, 0);
    const char *args[] = {
        "clinfo-bench", "--step",  step->name,    "--step-device", device_text,
        "--step-from",  from_text, "--step-mode", mode_text,       options->only ? "--only" : NULL,
        options->only,  NULL};
    execv("/proc/self/exe", (char *const *)args);
    _exit(127);
}

static bool start(child_run *run, const bench_options *options, const bench_step *step,
                  uint32_t device, uint32_t from)
{
    int result[2], text[2];
    if (pipe(result)) return false;
    if (pipe(text)) {
        close(result[0]);
        close(result[1]);
        return false;
    }
    fflush(NULL);
    const pid_t parent = getpid();
    run->pid = fork();
    if (run->pid == 0) {
        die_with_parent(parent);
        close(result[0]);
        close(text[0]);
        exec_child(options, step, device, from, result[1], text[1]);
    }
    close(result[1]);
    close(text[1]);
    run->result_fd = result[0];
    run->text_fd = text[0];
    running = run->pid > 0 ? (sig_atomic_t)run->pid : 0;
    if (run->pid > 0) return true;
    close(result[0]);
    close(text[0]);
    return false;
}

static void keep_tail(child_run *run, const char *text, size_t length)
{
    size_t room = sizeof run->tail - 1, used = strlen(run->tail);
    if (length > room) {
        text += length - room;
        length = room;
    }
    if (used + length > room) {
        size_t drop = used + length - room;
        memmove(run->tail, run->tail + drop, used - drop + 1);
        used -= drop;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        run->tail[used + i] = c == '\n' || (c >= ' ' && c < 127) ? text[i] : '?';
    }
    run->tail[used + length] = '\0';
}

static void set_deadline(child_run *run, double limit_s)
{
    run->deadline = bench_now() + limit_s;
    run->starved = starved_seconds(run->pid);
    run->extended = 0;
}

/* Moves the deadline by the time the child was kept from running since it was set, up to nine times
 * the limit. */
static bool extend_deadline(child_run *run, double limit_s)
{
    enum { MOST_TIMES = 9 };
    double lost = starved_seconds(run->pid) - run->starved;
    if (lost > MOST_TIMES * limit_s) lost = MOST_TIMES * limit_s;
    if (lost <= run->extended + 0.1) return false;
    run->deadline += lost - run->extended;
    run->extended = lost;
    return true;
}

static void take_line(child_run *run, const char *line, double limit_s, const bench_sink *sink)
{
    json_t *object = json_loads(line, 0, NULL);
    const char *begin = json_string_value(json_object_get(object, "begin"));
    json_t *item = json_object_get(object, "item");
    if (begin) {
        const char *kernel = json_string_value(json_object_get(object, "kernel"));
        snprintf(run->item, sizeof run->item, "%s", begin);
        snprintf(run->kernel, sizeof run->kernel, "%s", kernel ? kernel : "");
        run->begun = (uint32_t)json_integer_value(json_object_get(object, "number")) + 1;
        if (sink->begin) sink->begin(sink->user, begin);
    } else if (item) {
        run->item[0] = '\0';
        sink->item(sink->user, item);
    } else if (json_object_get(object, "end")) {
        run->finished = true;
    }
    set_deadline(run, limit_s);
    json_decref(object);
}

/* @return false at the end of the stream. */
static bool read_results(child_run *run, double limit_s, const bench_sink *sink)
{
    line_reader *r = &run->lines;
    if (r->used + 4096 > r->capacity) {
        char *grown = realloc(r->text, r->capacity + 65536);
        if (!grown) return false;
        r->text = grown;
        r->capacity += 65536;
    }
    ssize_t got = read(run->result_fd, r->text + r->used, 4095);
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) return false;
    r->used += (size_t)got;
    r->text[r->used] = '\0';
    char *at = r->text, *end;
    while ((end = strchr(at, '\n'))) {
        *end = '\0';
        take_line(run, at, limit_s, sink);
        at = end + 1;
    }
    r->used -= (size_t)(at - r->text);
    memmove(r->text, at, r->used + 1);
    return true;
}

static bool read_text(child_run *run)
{
    char text[2048];
    ssize_t got = read(run->text_fd, text, sizeof text);
    if (got < 0 && errno == EINTR) return true;
    if (got > 0) keep_tail(run, text, (size_t)got);
    return got > 0;
}

/* Reads until the child closes its results or misses the deadline. Threads of a driver may keep the
 * text pipe open longer; nobody waits for that. */
static void watch(child_run *run, double limit_s, const bench_sink *sink)
{
    bool results = true, text = true;
    set_deadline(run, limit_s);
    while (results) {
        struct pollfd fds[2] = {{run->result_fd, POLLIN, 0}, {text ? run->text_fd : -1, POLLIN, 0}};
        double left = run->deadline - bench_now();
        if (left <= 0 && extend_deadline(run, limit_s)) continue;
        if (left <= 0) {
            run->timed_out = true;
            return;
        }
        int ready = poll(fds, 2, (int)(left * 1000) + 1);
        if (ready < 0 && errno != EINTR) return;
        if (ready <= 0) continue;
        if (fds[1].revents) text = read_text(run);
        if (fds[0].revents) results = read_results(run, limit_s, sink);
    }
    struct pollfd last = {run->text_fd, POLLIN, 0};
    while (text && poll(&last, 1, 0) > 0) text = read_text(run);
}

/* Ends the child and all it started. A process stuck in the kernel of the system is given up. */
static int reap(child_run *run)
{
    int status = 0;
    bool ended = false;
    for (int i = 0; i < 100 && !ended; i++) {
        ended = waitpid(run->pid, &status, WNOHANG) == run->pid;
        if (ended) break;
        if (run->timed_out || i > 50) kill(-run->pid, SIGKILL);
        if (run->timed_out || i > 50) kill(run->pid, SIGKILL);
        struct timespec pause = {0, 50000000};
        nanosleep(&pause, NULL);
    }
    if (ended) running = 0;
    close(run->result_fd);
    close(run->text_fd);
    free(run->lines.text);
    return ended ? status : -1;
}

static const char *describe_end(const child_run *run, int status, double limit_s, char *text,
                                size_t size)
{
    if (run->timed_out) {
        snprintf(text, size, "no answer within %.0f s; ended by force", limit_s);
        return "timeout";
    }
    if (status >= 0 && WIFSIGNALED(status)) {
        int number = WTERMSIG(status);
        snprintf(text, size, "ended by signal %d%s", number,
                 number == SIGSEGV   ? " (invalid memory access)"
                 : number == SIGABRT ? " (abort, an assertion of the driver)"
                 : number == SIGKILL ? " (killed; out of memory?)"
                                     : "");
    } else {
        snprintf(text, size, "the driver ended the process with status %d",
                 status < 0 ? -1 : WEXITSTATUS(status));
    }
    return "crash";
}

static void report_end(const child_run *run, const bench_step *step, int status, double limit_s,
                       const bench_sink *sink)
{
    char text[160], detail[1500];
    const char *kind = describe_end(run, status, limit_s, text, sizeof text);
    const char *tail = run->tail;
    while (*tail == '\n') tail++;
    snprintf(detail, sizeof detail, "%s%s%s", text, *tail ? "; it said: " : "", tail);
    json_t *item = json_pack("{s:s, s:s, s:s}", "name", run->item[0] ? run->item : "(start)",
                             "status", kind, "detail", detail);
    if (item && run->item[0] && run->kernel[0]) {
        json_object_set_new(item, "kernel", json_string(run->kernel));
        json_object_set_new(item, "class",
                            json_string(step->device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu"));
    }
    if (item) sink->item(sink->user, item);
    json_decref(item);
}

bench_step_end bench_run_step(const bench_options *options, const bench_step *step, uint32_t device,
                              const bench_sink *sink)
{
    bench_step_end end = {0};
    double limit_s = options->limit_s > 0 ? options->limit_s : step->limit_s;
    double began = bench_now();
    uint32_t from = 0;
    while (true) {
        child_run run = {.begun = from};
        if (!start(&run, options, step, device, from)) {
            end.broken = true;
            break;
        }
        watch(&run, limit_s, sink);
        int status = reap(&run);
        if (run.finished) break; /* what happens in a driver's exit handlers is no result */
        report_end(&run, step, status, limit_s, sink);
        end.ended_early++;
        bool progress = run.begun > from;
        from = run.begun;
        if (!progress || end.ended_early >= BENCH_MAX_RESTARTS) {
            end.broken = true;
            break;
        }
    }
    end.seconds = bench_now() - began;
    return end;
}
