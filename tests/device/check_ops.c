/* Checks, and with --large times, every operation of a backend module against plain C.
 * Usage: check_ops [--module FILE] [--libraries FOLDER] [--large] [--only NAME] [--dtype F32|F16|BF16] [--json FILE]. Exit status 1 where something differs, 77 without a device. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/module.h"
#include "base/parallel.h"
#include "harness.h"

struct run {
    const udump_backend *backend;
    udump_device_request request;
    const char *only;
    bool large;
    int trials, failures;
    const char *json_path;
    json_t *results; /* or NULL */
};

static json_t *result_json(const trial *t, const trial_result *r) {
    return json_pack("{s:s, s:s, s:[i,i,i,i,i], s:f, s:f, s:f, s:f, s:f}", "operation", t->name, "dtype", udump_dtype_name(t->dtype), "shape", t->n, t->h,
        t->w, t->in, t->out, "difference", isfinite(r->difference) ? r->difference : -1.0, "tolerance", r->tolerance, "seconds", r->seconds,
        "operations", t->operations, "bytes", t->bytes);
}

static void check(void *user, const trial *t) {
    struct run *run = user;
    if (run->only && !strstr(t->name, run->only)) return;
    run->trials++;
    trial_result result;
    if (!trial_check(run->backend, &run->request, t, run->large, &result)) run->failures++;
    if (run->results) json_array_append_new(run->results, result_json(t, &result));
    if (run->results && run->large) json_dump_file(run->results, run->json_path, JSON_INDENT(1)); /* what is there if time runs out */
    fflush(stdout);
}

static const char *option(int argc, char **argv, const char *name, bool flag) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return flag ? name : i + 1 < argc ? argv[i + 1] : NULL;
    return NULL;
}

int main(int argc, char **argv) {
    static const udump_dtype dtypes[] = { UDUMP_F32, UDUMP_F16, UDUMP_BF16 };
    const udump_module *module;
    udump_error error;
    char note[160];
    if (udump_module_load("cuda", option(argc, argv, "--module", false), &module, &error) || module->probe(0, note, sizeof note, &error)) {
        printf("no device: %s\n", error.what);
        return 77;
    }
    const char *json_path = option(argc, argv, "--json", false);
    struct run run = { .backend = module->backend, .only = option(argc, argv, "--only", false), .large = option(argc, argv, "--large", true),
        .json_path = json_path, .results = json_path ? json_array() : NULL };
    run.request = (udump_device_request){ .threads = udump_core_count(), .library_path = option(argc, argv, "--libraries", false) };
    printf("%s\n", note);
    const char *dtype = option(argc, argv, "--dtype", false);
    for (size_t i = run.large; i < sizeof dtypes / sizeof *dtypes; i++) { /* large: in the types that models run in */
        if (dtype && strcmp(dtype, udump_dtype_name(dtypes[i])) != 0) continue;
        trials_of_network(run.large, dtypes[i], check, &run);
        trials_of_looking(run.large, dtypes[i], check, &run);
    }
    trials_end();
    printf("%d trials, %d failed\n", run.trials, run.failures);
    if (run.results && json_dump_file(run.results, json_path, JSON_INDENT(1))) return printf("%s cannot be written\n", json_path), 1;
    json_decref(run.results);
    return run.failures || !run.trials;
}
