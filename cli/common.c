#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "lora.h"

/* What a terminal would obey. */
static bool is_control(char c) { return ((unsigned char)c < 0x20 && c != '\n' && c != '\t') || c == 0x7F; }

void print_plain(FILE *to, const char *text, size_t bytes, bool one_line) {
    for (const char *end = text + bytes; text < end; text++) {
        bool c1 = text[0] == '\xC2' && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xA0; /* U+0080 to U+009F: as ESC with a letter */
        bool ends = one_line && (*text == '\n' || *text == '\r');
        fputc(ends ? ' ' : c1 || is_control(*text) ? '?' : *text, to);
        text += c1;
    }
}

/* One line, whatever stands in the texts. */
static __attribute__((format(printf, 2, 0))) void say(const char *begin, const char *format, va_list args) {
    char *line = NULL;
    int bytes = vasprintf(&line, format, args);
    fputs(begin, stderr);
    if (bytes < 0) fputs("out of memory", stderr);
    else print_plain(stderr, line, (size_t)bytes, true);
    fputc('\n', stderr);
    if (bytes >= 0) free(line);
}

int fail_usage(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("unetdump: ", format, args);
    va_end(args);
    return EXIT_BAD_INPUT;
}

void warn(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("unetdump: warning: ", format, args);
    va_end(args);
}

int fail_error(const udump_error *error) {
    char line[2048];
    udump_error_format(error, line, sizeof line);
    fail_usage("%s", line);
    switch (error->status) {
    case UDUMP_ERROR_ARGUMENT:
    case UDUMP_ERROR_SYNTAX:
    case UDUMP_ERROR_FORMAT:
    case UDUMP_ERROR_WEIGHTS:
    case UDUMP_ERROR_UNSUPPORTED: return EXIT_BAD_INPUT;
    default: return EXIT_FAILED;
    }
}

int fail_input(const udump_error *error) {
    int status = fail_error(error);
    return error->status == UDUMP_ERROR_FILE ? EXIT_BAD_INPUT : status;
}

int find_name(const char *text, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0) return (int)i;
    return -1;
}

bool parse_average(const char *text, udump_average *average) {
    static const char *const names[] = { "none", "sum", "1-norm", "2-norm" };
    int index = find_name(text, names, 4);
    if (index < 0) return fail_usage("--average: expected none, sum, 1-norm or 2-norm, found '%s'", text), false;
    *average = (udump_average)index;
    return true;
}

int finish_output(int status) {
    if (fflush(stdout) || ferror(stdout)) {
        fputs("unetdump: standard output cannot be written\n", stderr);
        return EXIT_FAILED;
    }
    return status;
}

int print_json(json_t *value) {
    bool fine = value && json_dumpf(value, stdout, JSON_COMPACT) == 0;
    json_decref(value);
    if (fine) putchar('\n');
    return fine || ferror(stdout) ? finish_output(EXIT_DONE) : (fputs("unetdump: out of memory\n", stderr), EXIT_FAILED);
}

/* One of names, or -1 after printing what is wrong; NULL text is the first. */
static int choose(const char *option, const char *text, const char *const *names, size_t count) {
    int index = text ? find_name(text, names, count) : 0;
    if (index >= 0) return index;
    char known[128] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
    }
    fail_usage("%s: expected one of %s, found '%s'", option, known, text);
    return -1;
}

bool resolve_model(const model_arguments *arguments, udump_model_options *options, lora_list *loras) {
    static const char *const devices[] = { "auto", "cpu", "reference", "cuda" }, *const precisions[] = { "auto", "fp32", "bf16", "fp16" },
                             *const predictions[] = { "auto", "epsilon", "v" };
    *loras = (lora_list){ 0 };
    udump_model_options_init(options);
    char name[16] = "";
    const char *colon = arguments->device ? strchr(arguments->device, ':') : NULL;
    if (colon && strncmp(arguments->device, "cuda:", 5) == 0) snprintf(name, sizeof name, "cuda");
    char *end = NULL;
    long index = *name ? strtol(colon + 1, &end, 10) : 0;
    int device = choose("--device", *name ? name : arguments->device, devices, 4);
    int precision = choose("--precision", arguments->precision, precisions, 4);
    int prediction = choose("--prediction", arguments->prediction, predictions, 3);
    if (device < 0 || precision < 0 || prediction < 0) return false;
    if (arguments->threads < 0) return fail_usage("--threads: expected a number from 0, found %d", (int)arguments->threads), false;
    if (*name && (*end || end == colon + 1 || index < 0 || index > 1024))
        return fail_usage("--device: expected cuda:N, found '%s'", arguments->device), false;
    options->device = (udump_device)device;
    options->device_index = (int32_t)index;
    options->cuda_module = arguments->cuda_module;
    options->cuda_libraries = arguments->cuda_libraries;
    options->plan_cache = arguments->plan_cache;
    options->cuda_eager = arguments->cuda_eager;
    options->hash_files = arguments->hash_files;
    options->precision = (udump_precision)precision;
    options->prediction = (udump_prediction)prediction;
    options->threads = arguments->threads;
    options->vae_path = arguments->vae;
    options->embeddings = arguments->embeddings;
    bool readable = read_loras(&arguments->loras, loras);
    options->loras = loras->items;
    options->lora_count = loras->count;
    return readable;
}

udump_model *load_model(const model_arguments *arguments, int *status) {
    udump_model_options options;
    udump_model *model = NULL;
    udump_error error;
    lora_list loras;
    *status = EXIT_BAD_INPUT;
    bool readable = resolve_model(arguments, &options, &loras);
    if (readable && udump_model_load(arguments->path, &options, &model, &error)) *status = fail_loras(&error, &loras);
    free_loras(&loras);
    if (!model) return NULL;
    for (int32_t i = 0; udump_model_warning(model, i); i++) warn("%s", udump_model_warning(model, i));
    return model;
}
