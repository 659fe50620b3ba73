/* Expressions of v: what they compute, and where they fail. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "backend/reference/tiles_expression.h"
#include "render/expression.h"
#include "render/render.h"
#include "unit/render_tiles.h"

static udump_expression compiled;
static udump_registers registers;

static udump_status compile(const char *text, udump_error *error) {
    return udump_expression_compile("color", text, 0, strlen(text), &compiled, error);
}

static float value_of(const char *text, float v) {
    udump_error error = { .what = "" };
    if (compile(text, &error)) {
        print_message("%s: %s at %d\n", text, error.what, (int)error.column);
        fail();
    }
    for (int i = 0; i < UDUMP_BLOCK_PIXELS; i++) registers.values[0][i] = v;
    const float *values = udump_expression_run(&compiled, &registers);
    for (int i = 1; i < UDUMP_BLOCK_PIXELS; i++) assert_memory_equal(&values[i], &values[0], sizeof *values);
    return values[0];
}

static void expect(const char *text, float v, float expected) {
    float got = value_of(text, v);
    bool same = got == expected || (isnan(got) && isnan(expected));
    if (!same) print_message("%s of %.9g: %.9g, not %.9g\n", text, (double)v, (double)got, (double)expected);
    assert_true(same);
}

/* Within an fp32 rounding or two. */
static void expect_near(const char *text, float v, double expected) {
    float got = value_of(text, v);
    bool near = fabs((double)got - expected) <= 3e-7 * fabs(expected) + 1e-12;
    if (!near) print_message("%s of %.9g: %.9g, not %.9g\n", text, (double)v, (double)got, expected);
    assert_true(near);
}

static void constants(void **state) {
    (void)state;
    expect("1", 0, 1);
    expect(" 1.5e-1 ", 0, 0.15f);
    expect(".5", 0, 0.5f);
    expect("5.", 0, 5);
    expect("1E+2", 0, 100);
    expect("pi", 0, (float)M_PI);
    expect("e", 0, (float)M_E);
    expect("2**-1", 0, 0.5f);
    expect("2**3**2", 0, 512);
    expect("-2**2", 0, -4);
    expect("(-2)**2", 0, 4);
    expect("7//2/10", 0, 0.3f);
    expect("-7//2", 0, -4);
    expect("-7%3/8", 0, 0.25f);
    expect("7%-3", 0, -2);
    expect("5.5%2", 0, 1.5f);
    expect("1/3*3", 0, 1);
    expect("0.1+0.2-0.3", 0, (float)(0.1 + 0.2 - 0.3)); /* in double */
    expect("1<2<3", 0, 1);
    expect("3>2>2", 0, 0);
    expect("1==1.0", 0, 1);
    expect("1!=1", 0, 0);
    expect("2 and 3", 0, 3);
    expect("0 and 3", 0, 0);
    expect("2 or 3", 0, 2);
    expect("0 or 3", 0, 3);
    expect("not 0", 0, 1);
    expect("not not 5", 0, 1);
    expect("4 if 1>2 else 5 if 0 else 6", 0, 6);
    expect("round(2.5)+round(3.5)", 0, 6);
    expect("sign(-3)", 0, -1);
    expect("clip(5,0,2)", 0, 2);
    expect("where(1,2,3)", 0, 2);
    expect("min(3,1,2)", 0, 1);
    expect("max(3,1,2,)", 0, 3);
    expect("log(0)", 0, -INFINITY);
    expect("sqrt(-1)", 0, NAN);
    expect("1e400", 0, INFINITY);
    expect("minimum(1,sqrt(-1))", 0, NAN);
    expect_near("hypot(3,4)+arctan2(1,1)+power(2,0.5)+square(3)", 0, 5 + M_PI / 4 + M_SQRT2 + 9);
}

static void arithmetic_of_v(void **state) {
    (void)state;
    expect("v", 0.25f, 0.25f);
    expect("+v", -3, -3);
    expect("--v", -3, -3);
    expect("-v**2", 0.5f, -0.25f);
    expect("v**2", -3, 9);
    expect("v**0.5", 2, sqrtf(2));
    expect("v**-1", 3, 1.0f / 3.0f);
    expect("v**1", 3, 3);
    expect("v**0", NAN, 1);
    expect("2**v", 3, 8);
    expect("2**-v", 1, 0.5f);
    expect("v**-2", 2, 0.25f);
    expect("v**v**v", 2, 16);
    expect("1-v-2", 3, -4);
    expect("1-(v-2)", 3, 0);
    expect("12/v/2", 3, 2);
    expect("12/(v/2)", 3, 8);
    expect("v//2", -7, -4);
    expect("7//v", -2, -4);
    expect("v%3", -7, 2);
    expect("7%v", -3, -2);
    expect("v%1", -0.25f, 0.75f);
    expect("v%0", 1, NAN);
    expect("v//0", 1, INFINITY);
    expect("v//0.1", 1, 9); /* numpy, in fp32 */
    expect("v%v", INFINITY, NAN);
    expect("(2+v)/3", 0.7f, (2.0f + 0.7f) / 3.0f);
    expect("(v+(v*(v+(v*(v+1)))))", 2, 18);
    expect("v*2*pi", 0.3f, 0.3f * 2 * (float)M_PI);
    expect("v*(2*pi)", 0.3f, 0.3f * (float)(2 * M_PI));
    expect("1e-50*v", 1, 0);
    expect("(1 - v) * (v - (3 - v)) / (2 - v * (4 - v))", 5, (1.0f - 5) * (5 - (3.0f - 5)) / (2 - 5 * (4.0f - 5)));
}

static void conditions_of_v(void **state) {
    (void)state;
    expect("v>0", 1, 1);
    expect("v>0", NAN, 0);
    expect("v!=v", NAN, 1);
    expect("0<v<1", 0.5f, 1);
    expect("0<v<1", 1.5f, 0);
    expect("0<v<1", -1, 0);
    expect("1>v>=0", 0, 1);
    expect("v<v+1<3<4", 1, 1);
    expect("v<v+1<3<4", 2, 0);
    expect("(v+1)*(v-1)<v*v<=v+v>v/2!=3", 1.5f, 1);
    expect("1+(0<v*2<1)*2", 0.25f, 3);
    expect("1+(0<v*2<1<v*8)*2", 0.25f, 3);
    expect("2<1<v", 5, 0);
    expect("1<2<v<6", 5, 1);
    expect("1<2<v<6", 2, 0);
    expect("v and 3", 0, 0);
    expect("v and 3", NAN, 3);
    expect("v or 3", 0, 3);
    expect("v or 3", 2, 2);
    expect("not v>0", -1, 1);
    expect("not v", 0, 1);
    expect("(v>0)+(v>0.5)", 0.75f, 2);
    expect("v>0 and v<1 or v==5", 5, 1);
    expect("v if v>0 else -v", -3, 3);
    expect("1 if v>0.5 else 0.25", 0.5f, 0.25f);
    expect("1 if v<0 else 2 if v<1 else 3", 0.5f, 2);
    expect("(1 if v<0 else 2) if v<1 else 3", 7, 3);
    expect("2-(v+1 if v-1 else v*3)", 1, -1);
    expect("where(v>0,v+1,v-1)", -1, -2);
    expect("where(v,1,0)", NAN, 1);
}

static void functions_of_v(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double (*f)(double);
    } unary[] = { { "abs(v)", fabs }, { "sqrt(v)", sqrt }, { "exp(v)", exp }, { "log(v)", log }, { "log2(v)", log2 }, { "log10(v)", log10 },
        { "log1p(v)", log1p }, { "expm1(v)", expm1 }, { "sin(v)", sin }, { "cos(v)", cos }, { "tan(v)", tan }, { "tanh(v)", tanh },
        { "arcsin(v)", asin }, { "arccos(v)", acos }, { "arctan(v)", atan }, { "sinh(v)", sinh }, { "cosh(v)", cosh },
        { "floor(v)", floor }, { "ceil(v)", ceil }, { "round(v)", rint } };
    for (size_t i = 0; i < sizeof unary / sizeof *unary; i++) expect_near(unary[i].text, 0.7f, unary[i].f(0.7f));
    expect("sign(v)", -2, -1);
    expect("sign(v)", 0, 0);
    expect("sign(v)", NAN, NAN);
    expect("round(v)", 2.5f, 2);
    expect("round(v)", -1.5f, -2);
    expect("square(v)", -3, 9);
    expect("clip(v,0,1)", 3, 1);
    expect("clip(v,0,1)", -3, 0);
    expect("clip(v,0,1)", NAN, NAN);
    expect("clip(v*2,v-1,v+1)", 4, 5);
    expect("clip(0,v,v+2)", 1, 1);
    expect("clip(0,1,v-2)", 2.5f, 0.5f);
    expect("clip(0.5,0,v-2)", 2.25f, 0.25f);
    expect("minimum(v,0.5)", 2, 0.5f);
    expect("minimum(v,0.5)", NAN, NAN);
    expect("maximum(0.5,v)", NAN, NAN);
    expect("min(v+2,v*2,v,9)", 3, 3);
    expect("max(1,2,v-1,v*v,3)", 3, 9);
    expect("power(v,2)", 3, 9);
    expect("power(2,v)", 3, 8);
    expect_near("arctan2(v,1)", 0.5f, atan2(0.5, 1));
    expect_near("hypot(v,4)", 3, 5);
}

static void exp_is_close_everywhere(void **state) {
    (void)state;
    double worst = 0;
    for (float v = -110; v < 95; v += 0.00137f) {
        float got = udump_vector_exp(v);
        double truth = exp((double)v);
        if (truth > 3.402823e38) assert_true(isinf(got));
        else if (truth < 1.2e-38) assert_true(fabs((double)got - truth) <= 1e-45);
        else worst = fmax(worst, fabs((double)got - truth) / truth);
    }
    assert_true(worst < 0x1.001p-24); /* half a unit in the last place */
    expect("exp(v)", INFINITY, INFINITY);
    expect("exp(v)", -INFINITY, 0);
    expect("exp(v)", NAN, NAN);
    expect("exp(v)", 0, 1);
    expect("exp(v)", -3e38f, 0);
    expect("exp(v)", 3e38f, INFINITY);
}

static void white_space_is_free(void **state) {
    (void)state;
    expect("\t( v\n+ 1 ) \r\n* 2 ", 1, 4);
    expect("clip ( v , 0 , 1 )", 3, 1);
    expect("2*(v)if(v)else(3)", 0, 3);
    expect("not(v)", 0, 1);
}

/* Position from 1, and a word of what is wrong or expected. */
static void expect_failure(const char *text, int64_t column, const char *word) {
    udump_error error = { .status = UDUMP_OK };
    assert_int_equal(compile(text, &error), UDUMP_ERROR_SYNTAX);
    bool right = error.column == column && (strstr(error.what, word) || strstr(error.expected, word));
    if (!right) print_message("%s: %s: expected %s, column %d\n", text, error.what, error.expected, (int)error.column);
    assert_true(right);
    assert_int_equal(error.status, UDUMP_ERROR_SYNTAX);
    assert_string_equal(error.where, "color");
    assert_int_equal(compile(text, NULL), UDUMP_ERROR_SYNTAX);
}

static void errors_have_their_place(void **state) {
    (void)state;
    expect_failure("", 1, "empty");
    expect_failure("   ", 4, "empty");
    expect_failure("foo(v)", 1, "\"foo\"");
    expect_failure("1+vv", 3, "\"vv\"");
    expect_failure("V", 1, "arcsin");
    expect_failure("v.real", 2, "attributes");
    expect_failure("v.5", 2, "does not end");
    expect_failure("v..5", 2, "attributes");
    expect_failure("__import__('os')", 1, "__import__");
    expect_failure("'a'", 1, "unexpected character");
    expect_failure("lambda: 1", 1, "lambda");
    expect_failure("v+", 3, "a value is missing");
    expect_failure("*v", 1, "a value is missing");
    expect_failure("v v", 3, "does not end");
    expect_failure("2v", 2, "a letter");
    expect_failure("1e", 2, "a letter");
    expect_failure("0x10", 2, "a letter");
    expect_failure("1_000", 2, "a letter");
    expect_failure("(v", 3, "not closed");
    expect_failure("v)", 2, "does not end");
    expect_failure("()", 2, "a value is missing");
    expect_failure("(v,1)", 3, "not closed");
    expect_failure("v,1", 2, "does not end");
    expect_failure("clip(v)", 7, "clip takes 3 arguments");
    expect_failure("clip(v,0,1,2)", 12, "clip takes 3 arguments");
    expect_failure("sin()", 5, "sin takes 1 argument");
    expect_failure("sin(v,v)", 7, "sin takes 1 argument");
    expect_failure("where(v>0)", 10, "where takes 3 arguments");
    expect_failure("min(v)", 6, "two or more");
    expect_failure("sin(,)", 5, "a value is missing");
    expect_failure("sin(v", 6, ",");
    expect_failure("sin v", 5, "(");
    expect_failure("sin", 4, "(");
    expect_failure("v(1)", 2, "does not end");
    expect_failure("clip(v,a_min=0,a_max=1)", 8, "a_min");
    expect_failure("clip(v,min=0)", 11, "keywords");
    expect_failure("v=1", 2, "keywords");
    expect_failure("v & 1", 3, "and, or, not");
    expect_failure("~v", 1, "and, or, not");
    expect_failure("!v", 1, "and, or, not");
    expect_failure("v<<1", 3, "a value is missing");
    expect_failure("v is 1", 3, "does not end");
    expect_failure("v not in 1", 3, "does not end");
    expect_failure("1 == not v", 6, "a value is missing");
    expect_failure("2**not v", 4, "a value is missing");
    expect_failure("v if v", 7, "else");
    expect_failure("v if else v", 6, "a value is missing");
    expect_failure("v else 1", 3, "does not end");
    expect_failure("if v else 1", 1, "a value is missing");
    expect_failure("1/0", 2, "division by zero");
    expect_failure("v+1//0.0", 4, "division by zero");
    expect_failure("1%0", 2, "division by zero");
    expect_failure("0**-1", 2, "division by zero");
    expect_failure("(-8)**(1/3)", 5, "negative");
    expect_failure("v[0]", 2, "unexpected character");
    expect_failure("v;1", 2, "unexpected character");
    expect_failure("v + \xC3\xA9t\xC3\xA9 ", 5, "\xC3\xA9t\xC3\xA9");
    expect_failure("\xC3\xA9 + 1", 1, "\xC3\xA9");
    expect_failure("v\n + $", 4, "unexpected character"); /* of line 2 */
}

static void length_and_depth_are_bounded(void **state) {
    (void)state;
    char text[2 * UDUMP_EXPRESSION_TEXT_BYTES + 64];
    udump_error error;

    memset(text, '(', UDUMP_EXPRESSION_NESTING - 1); /* and the expression itself */
    strcpy(text + UDUMP_EXPRESSION_NESTING - 1, "v");
    memset(text + UDUMP_EXPRESSION_NESTING, ')', UDUMP_EXPRESSION_NESTING - 1);
    text[2 * UDUMP_EXPRESSION_NESTING - 1] = 0;
    expect(text, 2, 2);
    for (const char *open = "(-"; *open; open++) {
        memset(text, *open, UDUMP_EXPRESSION_TEXT_BYTES);
        text[UDUMP_EXPRESSION_TEXT_BYTES] = 0;
        assert_int_equal(compile(text, &error), UDUMP_ERROR_SYNTAX);
        assert_non_null(strstr(error.what, "nested too deeply"));
        assert_int_equal(error.column, UDUMP_EXPRESSION_NESTING + (*open == '('));
    }

    text[0] = 0;
    for (int i = 0; i < 40; i++) strcat(text, "v+(");
    assert_int_equal(compile(text, &error), UDUMP_ERROR_SYNTAX);
    text[0] = 0; /* more intermediate results than registers */
    for (int i = 0; i < 30; i++) strcat(text, "-v+(");
    strcat(text, "v");
    for (int i = 0; i < 30; i++) strcat(text, ")");
    assert_int_equal(compile(text, &error), UDUMP_ERROR_SYNTAX);
    assert_non_null(strstr(error.expected, "23 intermediate results"));

    strcpy(text, "v"); /* 256 additions fit, one more does not */
    for (int i = 0; i < UDUMP_EXPRESSION_INSTRUCTIONS; i++) strcat(text, "+v");
    expect(text, 1, UDUMP_EXPRESSION_INSTRUCTIONS + 1);
    strcat(text, "+v");
    assert_int_equal(compile(text, &error), UDUMP_ERROR_SYNTAX);
    assert_non_null(strstr(error.expected, "256 operations"));

    strcpy(text, "1"); /* constants cost nothing but text */
    while (strlen(text) + 2 <= UDUMP_EXPRESSION_TEXT_BYTES) strcat(text, "<1");
    expect(text, 0, 0);
    strcat(text, "<1");
    assert_int_equal(compile(text, &error), UDUMP_ERROR_SYNTAX);
    assert_non_null(strstr(error.expected, "4096 bytes"));
    assert_int_equal(error.column, UDUMP_EXPRESSION_TEXT_BYTES + 1);

    text[0] = 0; /* a number has at most 127 characters */
    for (int i = 0; i < 127; i++) strcat(text, "0");
    expect(text, 0, 0);
    strcat(text, "0");
    assert_int_equal(compile(text, &error), UDUMP_ERROR_SYNTAX);
    assert_non_null(strstr(error.expected, "127 characters"));
}

static void long_chains_compare_every_neighbour(void **state) {
    (void)state;
    expect("v<=v<=v<=v<=v<=v<=v<=v<=v<=v", 1, 1);
    expect("v<=v+1<=v+2<=v+3<=v+4<=v+5", 1, 1);
    expect("v<=v+1<=v+2<=v+3<=v+2<=v+5", 1, 0);
    expect("v+9<=v+1<=v+2<=v+3<=v+4<=v+5", 1, 0);
    expect("v<=v+1<=v+2<=v+3<=v+4<=v-5", 1, 0);
}

/* What the project settles: tests/data/vectors/decisions.json, with no transform. */
static void decisions_agree(void **state) {
    (void)state;
    json_t *decisions = json_load_file(TEST_DATA "/vectors/decisions.json", 0, NULL), *entry;
    json_t *cases = json_object_get(decisions, "expressions_identity_transform");
    size_t i;
    assert_true(json_array_size(cases) >= 13);
    udump_style_program *program = malloc(sizeof *program);
    udump_average average;
    json_array_foreach(cases, i, entry) {
        char color[512];
        const json_t *expressions = json_object_get(entry, "expr"), *values = json_object_get(entry, "v"),
                     *rgb = json_object_get(entry, "rgb");
        udump_style style;
        udump_style_init(&style);
        snprintf(color, sizeof color, "%s:%s;%s;%s", strcmp(json_string_value(json_object_get(entry, "space")), "RGB") == 0 ? "rgb" : "hsl",
            json_string_value(json_array_get(expressions, 0)), json_string_value(json_array_get(expressions, 1)),
            json_string_value(json_array_get(expressions, 2)));
        style.color = color;
        udump_status status = udump_style_compile(&style, program, &average, NULL);
        if (json_is_true(json_object_get(entry, "error"))) {
            assert_int_equal(status, UDUMP_ERROR_SYNTAX);
            continue;
        }
        assert_int_equal(status, UDUMP_OK);
        program->transform.kind = UDUMP_TRANSFORM_NONE;
        for (size_t k = 0; k < json_array_size(values); k++) {
            float v = (float)json_number_value(json_array_get(values, k));
            udump_tiles tiles = { &v, UDUMP_F32, 1, 1, 1, 1, 1, 1 };
            udump_exec x = { .backend = udump_backend_reference(), .threads = 1 };
            render_buffer buffer = { .pixels = NULL };
            udump_image image;
            assert_int_equal(render_tiles(&x, &tiles, program, &buffer, &image), UDUMP_OK);
            for (size_t c = 0; c < 3; c++)
                assert_int_equal(image.picture.pixels[c], json_integer_value(json_array_get(json_array_get(rgb, k), c)));
            render_buffer_free(&buffer);
        }
    }
    free(program);
    json_decref(decisions);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants),
        cmocka_unit_test(arithmetic_of_v),
        cmocka_unit_test(conditions_of_v),
        cmocka_unit_test(functions_of_v),
        cmocka_unit_test(exp_is_close_everywhere),
        cmocka_unit_test(white_space_is_free),
        cmocka_unit_test(errors_have_their_place),
        cmocka_unit_test(length_and_depth_are_bounded),
        cmocka_unit_test(long_chains_compare_every_neighbour),
        cmocka_unit_test(decisions_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
