#include "render/style.h"

#include <math.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"
#include "render/expression.h"
#include "render/lexer.h"

static const char DEFAULT_COLOR[] = UDUMP_STYLE_COLOR;

/* What stands behind `name` and a colon, or NULL if text is something else. */
static const char *after_name(const char *text, const char *name) {
    size_t length = strlen(name);
    return strncmp(text, name, length) == 0 && text[length] == ':' ? text + length + 1 : NULL;
}

/* ---- colours */

static udump_status compile_channels(
    const char *text, size_t begin, const char *const names[3], udump_style_program *program, udump_error *error) {
    for (int i = 0; i < 3; i++) {
        size_t end = begin + strcspn(text + begin, ";");
        if (i < 2 && !text[end]) return udump_fail_syntax(error, "color", text, end, "three expressions belong here", names[i + 1]);
        if (i == 2 && text[end]) return udump_fail_syntax(error, "color", text, end, "more than three expressions", "the end");
        udump_status status = udump_expression_compile("color", text, begin, end, &program->expression[i], error);
        if (status) return status;
        begin = end + 1;
    }
    return UDUMP_OK;
}

static bool same_expression(const udump_expression *a, const udump_expression *b) {
    if (a->count != b->count || a->result != b->result) return false;
    for (int32_t i = 0; i < a->count; i++) {
        const udump_instruction *p = &a->code[i], *q = &b->code[i];
        if (p->op != q->op || p->out != q->out || p->a != q->a || p->b != q->b || p->c != q->c || p->constant != q->constant) return false;
    }
    return true;
}

static udump_status compile_color(const char *text, udump_style_program *program, udump_error *error) {
    static const char *const rgb[3] = { "; and the expression of red", "; and the expression of green", "; and the expression of blue" };
    static const char *const hsl[3] = { "; and the expression of hue", "; and the expression of saturation",
        "; and the expression of lightness" };
    program->colour = UDUMP_COLOUR_WHITE_BLACK;
    if (strcmp(text, "white-black") == 0) return UDUMP_OK;
    program->colour = UDUMP_COLOUR_RED_BLUE;
    if (strcmp(text, "red-blue") == 0) return UDUMP_OK;
    bool is_rgb = after_name(text, "rgb");
    if (!is_rgb && !after_name(text, "hsl"))
        return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "color", "unknown color",
            "white-black, red-blue, rgb:R;G;B or hsl:H;S;L with expressions of v", text);
    program->colour = is_rgb ? UDUMP_COLOUR_RGB : UDUMP_COLOUR_HSL;
    return compile_channels(text, strlen("rgb:"), is_rgb ? rgb : hsl, program, error);
}

/* The default colours have a path of their own; whoever writes them out gets it too. */
static udump_status recognise_default(udump_style_program *program, udump_error *error) {
    udump_expression hue;
    size_t begin = strlen("hsl:"), end = strcspn(DEFAULT_COLOR, ";");
    if (program->colour != UDUMP_COLOUR_HSL) return UDUMP_OK;
    udump_status status = udump_expression_compile("color", DEFAULT_COLOR, begin, end, &hue, error);
    const udump_expression *saturation = &program->expression[1], *lightness = &program->expression[2];
    if (status || !same_expression(&hue, &program->expression[0])) return status;
    bool plain = saturation->count == 1 && saturation->code[0].op == UDUMP_OP_CONSTANT && saturation->code[0].constant == 1.0f
        && lightness->count == 1 && lightness->code[0].op == UDUMP_OP_CONSTANT && lightness->code[0].constant == 0.5f;
    if (plain) program->colour = UDUMP_COLOUR_DEFAULT;
    return UDUMP_OK;
}

/* ---- transforms */

static size_t skip_spaces(const char *text, size_t at) { return at + strspn(text + at, " \t"); }

/* [+-] digits, point, exponent, with spaces around. */
static bool read_signed(const char *text, size_t *at, double *number) {
    *at = skip_spaces(text, *at);
    bool minus = text[*at] == '-';
    if (minus || text[*at] == '+') ++*at;
    if (!udump_number_read(text, at, strlen(text), number)) return false;
    if (minus) *number = -*number;
    *at = skip_spaces(text, *at);
    return true;
}

static udump_status read_pair(const char *text, size_t at, double *first, double *second, udump_error *error) {
    if (!read_signed(text, &at, first)) return udump_fail_syntax(error, "transform", text, at, "a number is missing", "a decimal number");
    if (text[at] != ',') return udump_fail_syntax(error, "transform", text, at, "two numbers belong here", ", and the second number");
    at++;
    if (!read_signed(text, &at, second)) return udump_fail_syntax(error, "transform", text, at, "a number is missing", "a decimal number");
    return text[at] ? udump_fail_syntax(error, "transform", text, at, "two numbers belong here", "the end") : UDUMP_OK;
}

static udump_status compile_linear(const char *text, double min, double max, bool grey, udump_transform *out, udump_error *error) {
    out->min = (float)min;
    out->max = (float)max;
    if (!(out->min < out->max) || !isfinite((float)(max - min)))
        return udump_fail_values(
            error, UDUMP_ERROR_ARGUMENT, "transform", "bad range", "a minimum below the maximum, in the range of fp32", text);
    double smallest = fmin(fabs(min), fabs(max)), largest = fmax(fabs(min), fabs(max));
    if (min < 0 && max > 0) smallest = 0;
    out->base = (float)(grey ? smallest : min);
    out->span = (float)(grey ? largest - smallest : max - min);
    return UDUMP_OK;
}

static udump_status compile_sigmoid(const char *text, double gain, double offset, udump_transform *out, udump_error *error) {
    out->gain = (float)gain;
    out->offset = (float)offset;
    if (isfinite(out->gain) && isfinite(out->offset)) return UDUMP_OK;
    return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "transform", "bad gain or offset", "numbers in the range of fp32", text);
}

static udump_status compile_transform(const char *text, bool grey, udump_transform *out, udump_error *error) {
    const char *linear = after_name(text, "linear"), *sigmoid = after_name(text, "sigmoid");
    double min = -1, max = 1, gain = 1, offset = 0;
    udump_status status = UDUMP_OK;
    out->whole = strcmp(text, "auto01:canvas") == 0 || strcmp(text, "auto11:canvas") == 0;
    if (strcmp(text, "auto01") == 0 || strcmp(text, "auto01:canvas") == 0) out->kind = UDUMP_TRANSFORM_AUTO01;
    else if (strcmp(text, "auto11") == 0 || strcmp(text, "auto11:canvas") == 0) out->kind = UDUMP_TRANSFORM_AUTO11;
    else if (linear || strcmp(text, "linear") == 0) {
        out->kind = UDUMP_TRANSFORM_LINEAR;
        if (linear) status = read_pair(text, (size_t)(linear - text), &min, &max, error);
        if (!status) status = compile_linear(text, min, max, grey, out, error);
    } else if (sigmoid || strcmp(text, "sigmoid") == 0) {
        out->kind = UDUMP_TRANSFORM_SIGMOID;
        if (sigmoid) status = read_pair(text, (size_t)(sigmoid - text), &gain, &offset, error);
        if (!status) status = compile_sigmoid(text, gain, offset, out, error);
    } else
        status = udump_fail_values(
            error, UDUMP_ERROR_ARGUMENT, "transform", "unknown transform", "auto01, auto11 (with :canvas for all tiles together), linear:MIN,MAX or sigmoid:GAIN,OFFSET", text);
    return status;
}

udump_status udump_style_compile(const udump_style *given, udump_style_program *program, udump_average *average, udump_error *error) {
    udump_style style;
    *average = UDUMP_AVERAGE_NONE;
    memset(program, 0, sizeof *program);
    udump_status status = udump_options_take(&style, sizeof style, given, "style", error);
    if (status) return status;
    if ((unsigned)style.average > UDUMP_AVERAGE_L2)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "style", "unknown average %d", (int)style.average);
    *average = style.average;
    status = compile_color(style.color ? style.color : DEFAULT_COLOR, program, error);
    if (!status) status = recognise_default(program, error);
    if (!status)
        status =
            compile_transform(style.transform ? style.transform : UDUMP_STYLE_TRANSFORM, program->colour == UDUMP_COLOUR_WHITE_BLACK, &program->transform, error);
    return status;
}
