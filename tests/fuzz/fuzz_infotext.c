/* Any bytes as an infotext: refused, or parameters whose prompt and values are UTF-8 again, and which options can be filled with or not. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "output/characters.h"
#include "unetdump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_utf8(const char *text) {
    size_t length;
    for (; *text; text += length)
        if (udump_character_decode(text, &length) < 0) abort();
}

static void check_parameters(udump_parameters *parameters) {
    int32_t count;
    const udump_parameter *list = udump_parameters_list(parameters, &count);
    for (int32_t i = 0; i < count; i++) {
        check_utf8(list[i].key);
        check_utf8(list[i].value);
        if (!udump_parameters_get(parameters, list[i].key)) abort();
    }
    udump_generate_options options;
    udump_error error;
    udump_generate_options_init(&options);
    udump_status status = udump_parameters_apply(parameters, &options, &error);
    if (status != UDUMP_OK && (status != UDUMP_ERROR_ARGUMENT || !udump_parameters_get(parameters, error.where))) abort();
    if (status == UDUMP_OK && (!options.prompt || !options.negative_prompt)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    udump_parameters *parameters;
    if (udump_parameters_parse(text, &parameters, NULL) == UDUMP_OK) {
        check_parameters(parameters);
        udump_parameters_free(parameters);
    }
    free(text);
    return 0;
}
