#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli.h"

/* The option that argument names, and where its value begins after '='; NULL if there is none. */
static const cli_option *find_option(const char *argument, const cli_option *options, size_t count, const char **value) {
    const char *equals = argument[1] == '-' ? strchr(argument, '=') : NULL;
    size_t length = equals ? (size_t)(equals - argument) : strlen(argument);
    *value = equals ? equals + 1 : NULL;
    for (size_t i = 0; i < count; i++) {
        bool named = strlen(options[i].name) == length && strncmp(argument, options[i].name, length) == 0;
        if (named || (options[i].shorthand && strcmp(argument, options[i].shorthand) == 0)) return &options[i];
    }
    return NULL;
}

static bool read_integer(const char *text, const cli_option *option) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool wide = option->kind == OPTION_LONG, number = (*text == '-' || *text == '+' || (*text >= '0' && *text <= '9')) && end > text && !*end;
    bool fits = number && !errno && (wide || (value >= INT32_MIN && value <= INT32_MAX));
    if (fits && wide) *(int64_t *)option->value = (int64_t)value;
    else if (fits) *(int32_t *)option->value = (int32_t)value;
    else if (!number) fail_usage("%s: expected a whole number, found '%s'", option->name, text);
    else fail_usage("%s: expected a whole number from %lld to %lld, found '%s'", option->name, wide ? (long long)INT64_MIN : INT32_MIN,
        wide ? (long long)INT64_MAX : INT32_MAX, text);
    return fits;
}

static bool read_number(const char *text, const cli_option *option) {
    char *end;
    double value = strtod(text, &end);
    bool fits = *text && !*end && isfinite(value);
    if (fits) *(double *)option->value = value;
    else fail_usage("%s: expected a number, found '%s'", option->name, text);
    return fits;
}

/* A random one, of 32 bits as the webui's. The picture's own text says which. */
static bool choose_seed(const cli_option *option) {
    uint32_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) return fail_usage("%s: the system gives no random number", option->name), false;
    *(uint64_t *)option->value = seed;
    return true;
}

static bool read_seed(const char *text, const cli_option *option) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    bool fits = *text >= '0' && *text <= '9' && !*end && !errno;
    if (strcmp(text, "-1") == 0) return choose_seed(option); /* the webui's */
    if (fits) *(uint64_t *)option->value = value;
    else fail_usage("%s: expected a whole number from 0 to 18446744073709551615, or -1 for any, found '%s'", option->name, text);
    return fits;
}

static bool add_item(const char *text, const cli_option *option) {
    option_list *list = option->value;
    if (list->count == LIST_MOST) return fail_usage("%s: more than %d", option->name, LIST_MOST), false;
    list->items[list->count++] = text;
    return true;
}

static bool read_value(const char *text, const cli_option *option) {
    switch (option->kind) {
    case OPTION_TEXT: *(const char **)option->value = text; return true;
    case OPTION_INTEGER:
    case OPTION_LONG: return read_integer(text, option);
    case OPTION_NUMBER: return read_number(text, option);
    case OPTION_SEED: return read_seed(text, option);
    case OPTION_LIST: return add_item(text, option);
    case OPTION_FLAG: break;
    }
    return fail_usage("%s takes no value", option->name), false;
}

/* With the option that was meant, if one is near. */
static void refuse_option(const char *argument, const cli_option *options, size_t count) {
    char given[64];
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    snprintf(given, sizeof given, "%.*s", (int)strcspn(argument, "="), argument);
    for (size_t i = 0; i < count; i++) choose_nearest(given, options[i].name, &nearest, &least);
    if (nearest) fail_usage("unknown option '%s'; did you mean %s?", argument, nearest);
    else fail_usage("unknown option '%s'", argument);
}

int parse_options(int argc, char **argv, const cli_option *options, size_t option_count, const char **rest, int most) {
    int count = 0;
    bool ended = false;
    for (int i = 0; i < argc; i++) {
        const char *value;
        if (ended || argv[i][0] != '-' || !argv[i][1]) {
            if (count == most) return fail_usage("unexpected argument '%s'", argv[i]), -1;
            rest[count++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            ended = true;
            continue;
        }
        const cli_option *option = find_option(argv[i], options, option_count, &value);
        if (!option) return refuse_option(argv[i], options, option_count), -1;
        if (option->kind == OPTION_FLAG && !value) {
            *(bool *)option->value = true;
            continue;
        }
        if (!value && option->kind != OPTION_FLAG && i + 1 == argc) return fail_usage("%s needs a value", option->name), -1;
        if (!read_value(value ? value : argv[++i], option)) return -1;
    }
    return count;
}

void print_options(const cli_option *options, size_t option_count) {
    for (size_t i = 0; i < option_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s%s", options[i].shorthand ? options[i].shorthand : "", options[i].shorthand ? ", " : "",
            options[i].name);
        printf("  %-22s %s\n", name, options[i].help);
    }
}
