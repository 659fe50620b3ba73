/* Styles from bytes: an expression alone, then the whole as a colour with a transform behind the first line break. What compiles is
 * run on odd values, and its bytecode must stay within its registers. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/reference/tiles_expression.h"
#include "render/expression.h"
#include "render/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const float odd[15] = { 0, -0.0f, 1, -1, 0.5f, -0.25f, 1e-40f, 3.4e38f, -3.4e38f, INFINITY, -INFINITY, NAN, 8388608.5f, -2e9f,
    3e9f };

static void check(int holds) {
    if (!holds) abort();
}

static void check_error(udump_status status, const udump_error *error, size_t length) {
    check(status == UDUMP_ERROR_SYNTAX || status == UDUMP_ERROR_ARGUMENT);
    check(error->status == status && error->what[0]);
    check(error->offset <= (int64_t)length && error->column <= (int64_t)length + 1);
}

static void run_expression(const char *text, size_t length) {
    udump_expression expression;
    udump_registers registers;
    udump_error error;
    udump_status status = udump_expression_compile("color", text, 0, length, &expression, &error);
    if (status) {
        check_error(status, &error, length);
        return;
    }
    uint32_t written = 1;
    for (int32_t i = 0; i < expression.count; i++) {
        const udump_instruction *at = &expression.code[i];
        check(at->op < UDUMP_OP_COUNT && at->out > 0 && at->out < UDUMP_EXPRESSION_REGISTERS);
        check(at->op == UDUMP_OP_CONSTANT || (written >> at->a & 1));
        check(at->op < UDUMP_OP_ADD || (written >> at->b & 1));
        check(at->op != UDUMP_OP_SELECT || (written >> at->c & 1));
        written |= 1u << at->out;
    }
    check(written >> expression.result & 1);
    for (int i = 0; i < UDUMP_BLOCK_PIXELS; i++) registers.values[0][i] = odd[i % 15];
    const float *values = udump_expression_run(&expression, &registers);
    for (int i = 0; i + 15 < UDUMP_BLOCK_PIXELS; i++)
        check(memcmp(&values[i], &values[i + 15], sizeof *values) == 0 || (isnan(values[i]) && isnan(values[i + 15])));
}

static void render(const char *color, const char *transform, int constant) {
    float values[30];
    udump_style style;
    udump_image canvas, average;
    udump_error error;
    for (int i = 0; i < 30; i++) values[i] = constant ? 0.5f : i < 15 ? odd[i] : (float)i;
    udump_view view = { values, UDUMP_F32, 3, { 2, 3, 5 }, { 15, 5, 1 } };
    udump_style_init(&style);
    style.color = color;
    style.transform = transform;
    style.average = UDUMP_AVERAGE_L2;
    udump_status status = udump_render(&view, &style, &canvas, &average, &error);
    if (status) {
        check_error(status, &error, strlen(color) + (transform ? strlen(transform) : 0));
        return;
    }
    check(canvas.picture.pixels && average.picture.pixels);
    udump_image_free(&canvas);
    udump_image_free(&average);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = 0;
    run_expression(text, strlen(text));
    char *line = strchr(text, '\n');
    if (line) *line = 0;
    render(text, line ? line + 1 : NULL, 0);
    render(text, line ? line + 1 : NULL, 1);
    free(text);
    return 0;
}
