/* Checks, and with --large times, every operation of a backend module against plain C.
 * Usage: check_ops [--module FILE] [--libraries FOLDER] [--plan-cache FOLDER] [--large] [--only NAME,...] [--dtype F32|F16|BF16] [--json FILE] [--apart SECONDS]. Exit status 1 where something differs, 77
 * without a device. --apart: in a process of its own; a trial that crashes it, costs it the device or takes longer than SECONDS fails alone: another goes on after it. */
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/module.h"
#include "base/parallel.h"
#include "harness.h"

enum { LOST = 3 /* exit status of a process that has lost its device */ };

/* What outlives a process. */
struct progress {
    int trials, failures; /* begun, the one that runs now included */
    char now[64];
};

struct run {
    const udump_backend *backend;
    udump_device_request request;
    const char *only, *dtype;
    bool large;
    unsigned limit_s; /* of a trial; 0: none */
    int from, trials; /* those before it are another process's */
    struct progress *progress;
    const char *json_path;
    json_t *results; /* or NULL */
};

static json_t *result_json(const trial *t, const trial_result *r) {
    return json_pack("{s:s, s:s, s:[i,i,i,i,i], s:f, s:f, s:f, s:f, s:f}", "operation", t->name, "dtype", udump_dtype_name(t->dtype), "shape", t->n, t->h,
        t->w, t->in, t->out, "difference", isfinite(r->difference) ? r->difference : -1.0, "tolerance", r->tolerance, "seconds", r->seconds,
        "operations", t->operations, "bytes", t->bytes);
}

/* Whether one of the names, with commas between them, stands in the trial's. */
static bool is_named(const trial *t, const char *names) {
    char name[64];
    for (size_t length; *names; names += length + (names[length] == ',')) {
        length = strcspn(names, ",");
        snprintf(name, sizeof name, "%.*s", (int)length, names);
        if (strstr(t->name, name)) return true;
    }
    return false;
}

static void check(void *user, const trial *t) {
    struct run *run = user;
    struct progress *progress = run->progress;
    if (run->only && !is_named(t, run->only)) return;
    if (run->trials++ < run->from) return;
    progress->trials = run->trials;
    snprintf(progress->now, sizeof progress->now, "%s %s [%d, %d, %d, %d]", t->name, udump_dtype_name(t->dtype), (int)t->n, (int)t->h, (int)t->w, (int)t->in);
    trial_result result;
    alarm(run->limit_s);
    if (!trial_check(run->backend, &run->request, t, run->large, &result)) progress->failures++;
    alarm(0);
    if (run->results) json_array_append_new(run->results, result_json(t, &result));
    if (run->results && (run->large || run->limit_s)) json_dump_file(run->results, run->json_path, JSON_INDENT(1)); /* what is there if time runs out */
    fflush(stdout);
    if (result.lost && run->limit_s) _exit(LOST);
}

static const char *option(int argc, char **argv, const char *name, bool flag) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return flag ? name : i + 1 < argc ? argv[i + 1] : NULL;
    return NULL;
}

/* All trials from run->from on, in this process. */
static int run_here(struct run *run, const char *module_path) {
    static const udump_dtype dtypes[] = { UDUMP_F32, UDUMP_F16, UDUMP_BF16 };
    const udump_module *module;
    udump_error error;
    char note[160];
    if (udump_module_load("cuda", module_path, &module, &error) || module->probe(0, note, sizeof note, &error)) return printf("no device: %s\n", error.what), 77;
    run->backend = module->backend;
    run->request.threads = udump_core_count();
    if (run->json_path) run->results = run->from ? json_load_file(run->json_path, 0, NULL) : NULL;
    if (run->json_path && !run->results) run->results = json_array();
    printf("%s\n", note);
    for (size_t i = run->large; i < sizeof dtypes / sizeof *dtypes; i++) { /* large: in the types that models run in */
        if (run->dtype && strcmp(run->dtype, udump_dtype_name(dtypes[i])) != 0) continue;
        trials_of_network(run->large, dtypes[i], check, run);
        trials_of_looking(run->large, dtypes[i], check, run);
    }
    trials_end();
    const struct progress *progress = run->progress;
    printf("%d trials, %d failed\n", progress->trials, progress->failures);
    if (run->results && json_dump_file(run->results, run->json_path, JSON_INDENT(1))) return printf("%s cannot be written\n", run->json_path), 1;
    json_decref(run->results);
    return progress->failures || !progress->trials;
}

/* In processes of their own, each from behind the trial that the one before did not survive. */
static int run_apart(struct run *run, const char *module_path) {
    struct progress *progress = run->progress;
    for (;;) {
        int how = 0;
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            int status = run_here(run, module_path);
            fflush(stdout);
            _exit(status);
        }
        if (child < 0 || waitpid(child, &how, 0) != child) return perror("check_ops"), 1;
        if (WIFEXITED(how) && WEXITSTATUS(how) != LOST) return WEXITSTATUS(how);
        if (progress->trials == run->from) return printf("FAILED before the first trial\n"), 1;
        if (WIFSIGNALED(how)) {
            progress->failures++;
            printf("FAILED %s: %s\n", progress->now, WTERMSIG(how) == SIGALRM ? "took too long" : strsignal(WTERMSIG(how)));
        } else printf("       %s: the device was lost\n", progress->now);
        run->from = progress->trials;
    }
}

int main(int argc, char **argv) {
    const char *module_path = option(argc, argv, "--module", false), *apart = option(argc, argv, "--apart", false);
    struct run run = { .only = option(argc, argv, "--only", false), .dtype = option(argc, argv, "--dtype", false), .large = option(argc, argv, "--large", true),
        .limit_s = apart ? (unsigned)atoi(apart) : 0, .json_path = option(argc, argv, "--json", false), .request = { .library_path = option(argc, argv, "--libraries", false), .plan_cache = option(argc, argv, "--plan-cache", false) } };
    run.progress = mmap(NULL, sizeof *run.progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run.progress == MAP_FAILED) return perror("check_ops"), 1;
    return run.limit_s ? run_apart(&run, module_path) : run_here(&run, module_path);
}
