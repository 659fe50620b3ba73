/* The webui's LoRAs in a prompt: what is a tag, what it says, what is left of the prompt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "unetdump.h"

/* expected: of each tag "offset name weight blocks", or "offset name problem". */
static void check(const char *prompt, const char *rest, const char *expected) {
    udump_lora_tags *tags = NULL;
    udump_error error;
    int32_t count;
    char found[1024] = "";
    assert_int_equal(udump_lora_tags_parse(prompt, &tags, &error), UDUMP_OK);
    const udump_lora_tag *list = udump_lora_tags_list(tags, &count);
    for (int32_t i = 0; i < count; i++) {
        const udump_lora_tag *tag = &list[i];
        size_t end = strlen(found), room = sizeof found - end;
        assert_memory_equal(prompt + tag->offset, tag->text, strlen(tag->text));
        int thousandths = (int)(tag->weight * 1000 + (tag->weight < 0 ? -0.5 : 0.5));
        if (tag->problem) snprintf(found + end, room, "%s%d %s %s", i ? "; " : "", (int)tag->offset, tag->name, tag->problem);
        else snprintf(found + end, room, "%s%d %s %d %s", i ? "; " : "", (int)tag->offset, tag->name, thousandths, tag->block_weights ? tag->block_weights : "-");
    }
    assert_string_equal(found, expected);
    assert_string_equal(udump_lora_tags_prompt(tags), rest);
    udump_lora_tags_free(tags);
}

static void what_is_a_tag(void **state) {
    (void)state;
    check("a <lora:b:0.8> c", "a  c", "2 b 800 -");
    check("<lyco:b>a<lora:d e:-2>  ", "a", "0 b 1000 -; 9 d e -2000 -");
    check("<lora:b><lora:b:0>", "", "0 b 1000 -; 8 b 0 -");
    check("a (<lora:b:1>:1.2)  <lora:\xC3\xA9/c>", "a (:1.2)", "3 b 1000 -; 20 \xC3\xA9/c 1000 -");
    check("a <lo<lora:b>ra:c>", "a <lora:c>", "5 b 1000 -"); /* what comes together is none */
    check("a <lora:b\n:1> ", "a", "2 b\n 1000 -");
}

static void what_is_text(void **state) {
    (void)state;
    check("", "", "");
    check("a  ", "a  ", ""); /* without a tag it stays as it is */
    check("a <lora:> <lora <Lora:b> <lora:c", "a <lora:> <lora <Lora:b> <lora:c", "");
    check("<lora:> <lora:b> <x> <lora:c", "<lora:>  <x> <lora:c", "8 b 1000 -");
}

static void two_weights(void **state) {
    (void)state;
    check("<lora:b:0.5:0.8>", "", "0 b 800 TE=0.625");
    check("<lora:b:unet=0.8:te=0.5>", "", "0 b 800 TE=0.625");
    check("<lora:b:te=0.5>", "", "0 b 500 -"); /* as in the webui: without the U-Net's own it is for both */
    check("<lora:b:unet=0.5>", "", "0 b 500 TE=2");
    check("<lora:b:0.5:0>", "", "0 b 500 UNET=0");
    check("<lora:b:0:0.5>", "", "0 b 500 TE=0");
    check("<lora:b:0:0>", "", "0 b 0 -");
    check("<lora:b:1:1>", "", "0 b 1000 -");
    check("<lora:b:1:-3>", "", "0 b -3000 TE=-0.333333333333");
    check("<lora:b:1:0.00000000001>", "", "0 b 0 TE=1000000"); /* more than any LoRA takes: it is refused there */
    check("<lora:b:2.9999999999999:1>", "", "0 b 1000 TE=3");
}

static void what_means_no_lora(void **state) {
    (void)state;
#define BAD "expected one number as its weight, or the text encoders' and the U-Net's"
    check("<hypernet:h:1> a", " a", "0 h hypernetworks are not supported");
    check("<lora:b:x>", "", "0 b " BAD);
    check("<lora:b:>", "", "0 b " BAD);
    check("<lora:b:1:2:3>", "", "0 b " BAD);
    check("<lora:b:1e3>", "", "0 b " BAD);
    check("<lora:b:0,5>", "", "0 b " BAD);
    check("<lora:b:te=>", "", "0 b " BAD);
    check("<lora:b:inf> <lora:c>", "", "0 b " BAD "; 13 c 1000 -");
    check("<lora::1>", "", "0  1000 -"); /* a name that no file has */
}

static void the_same_in_every_locale(void **state) {
    static const char *const with_comma[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR" };
    const char *found = NULL;
    for (size_t i = 0; i < sizeof with_comma / sizeof *with_comma && !found; i++) found = setlocale(LC_NUMERIC, with_comma[i]);
    if (!found) skip();
    two_weights(state);
    what_means_no_lora(state);
    setlocale(LC_NUMERIC, "C");
}

static void null_pointers(void **state) {
    (void)state;
    udump_lora_tags *tags = NULL;
    udump_error error;
    assert_int_equal(udump_lora_tags_parse(NULL, &tags, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_lora_tags_parse("a", NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "a null pointer");
    udump_lora_tags_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_tag),
        cmocka_unit_test(what_is_text),
        cmocka_unit_test(two_weights),
        cmocka_unit_test(what_means_no_lora),
        cmocka_unit_test(the_same_in_every_locale),
        cmocka_unit_test(null_pointers),
    };
    return cmocka_run_group_tests_name("lora tags", tests, NULL, NULL);
}
