/* Where a step's and a decode's time goes, by operation: operations [MODEL [SIDE]]. In a build with -DUDUMP_TIME_OPERATIONS=ON, in which the compiler
 * calls the two functions below around every operation of the vocabulary (src/backend/ops.c). Operations wait for their threads, so that one clock tells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common.h"

enum { OPERATIONS_MOST = 64 };

typedef struct operation {
    void *function;
    double seconds;
    int calls;
} operation;
static operation operations[OPERATIONS_MOST];
static int depth; /* of calls: an operation's helpers are its own */
static double begin;

static double now(void) { return bench_clock(CLOCK_MONOTONIC); }

void __cyg_profile_func_enter(void *function, void *site);
void __cyg_profile_func_exit(void *function, void *site);

void __cyg_profile_func_enter(void *function, void *site) {
    (void)function, (void)site;
    if (depth++ == 0) begin = now();
}

void __cyg_profile_func_exit(void *function, void *site) {
    (void)site;
    if (--depth) return;
    double seconds = now() - begin;
    int i = 0;
    while (i + 1 < OPERATIONS_MOST && operations[i].function && operations[i].function != function) i++;
    operations[i].function = function;
    operations[i].seconds += seconds;
    operations[i].calls++;
}

static int most_first(const void *a, const void *b) {
    double x = ((const operation *)a)->seconds, y = ((const operation *)b)->seconds;
    return (x < y) - (x > y);
}

/* By the program's own symbols, as nm lists them: hidden functions have no others. */
static void name_of(const void *function, char *name, size_t size) {
    snprintf(name, size, "%p", function);
    FILE *symbols = popen("nm /proc/$PPID/exe", "r");
    char line[512], found[256];
    unsigned long address, own = 0;
    unsigned long wanted = (unsigned long)function;
    for (int pass = 0; symbols && pass < 2; pass++) { /* first where this program was loaded, by main's address */
        while (fgets(line, sizeof line, symbols)) {
            if (sscanf(line, "%lx %*c %255s", &address, found) != 2) continue;
            if (pass == 0 && strcmp(found, "__cyg_profile_func_exit") == 0) own = (unsigned long)(void *)__cyg_profile_func_exit - address;
            if (pass == 1 && address + own == wanted) snprintf(name, size, "%s", found + (strncmp(found, "udump_", 6) == 0 ? 6 : 0));
        }
        pclose(symbols);
        symbols = pass == 0 ? popen("nm /proc/$PPID/exe", "r") : NULL;
    }
}

static void report(const char *what, double seconds) {
    double all = 0;
    qsort(operations, OPERATIONS_MOST, sizeof *operations, most_first);
    printf("| %s: %.0f ms | calls | ms | share |\n| --- | --- | --- | --- |\n", what, 1e3 * seconds);
    for (int i = 0; i < OPERATIONS_MOST && operations[i].calls; i++) {
        char name[256];
        all += operations[i].seconds;
        if (operations[i].seconds < 5e-4 * seconds) continue;
        name_of(operations[i].function, name, sizeof name);
        printf("| %s | %d | %.1f | %.1f %% |\n", name, operations[i].calls, 1e3 * operations[i].seconds, 100 * operations[i].seconds / seconds);
    }
    printf("| between operations | | %.1f | %.1f %% |\n\n", 1e3 * (seconds - all), 100 * (1 - all / seconds));
    memset(operations, 0, sizeof operations);
}

int main(int argc, char **argv) {
    udump_error error;
    udump_model *model = NULL;
    udump_session *session = NULL;
    udump_generate_options options;
    const udump_sink none = { .struct_bytes = sizeof none };
    udump_generate_options_init(&options);
    options.sampler = "Euler";
    options.prompt = "a red circle on a blue background";
    options.steps = 2;
    options.width_px = options.height_px = argc > 2 ? atoi(argv[2]) : 128;
    check(udump_model_load(argc > 1 ? argv[1] : "models/demo", NULL, &model, &error), &error);
    check(udump_session_create(model, &session, &error), &error);
    check(udump_begin(session, &options, NULL, &none, &error), &error);
    check(udump_step(session, NULL, &error), &error); /* warms the plans */
    memset(operations, 0, sizeof operations);
    double start = now();
    check(udump_step(session, NULL, &error), &error);
    double step = now() - start;
    if (!operations[0].calls) return fputs("operations: built without -DUDUMP_TIME_OPERATIONS=ON\n", stderr), 1;
    report("a step", step);
    start = now();
    check(udump_end(session, 1, &error), &error);
    report("decode", now() - start);
    udump_session_destroy(session);
    udump_model_release(model);
    return 0;
}
