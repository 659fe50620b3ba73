/* Reading UTF-8, and what kind of character a code point is. */
#ifndef UDUMP_TEXT_UTF8_H
#define UDUMP_TEXT_UTF8_H

#include "unetdump.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the code point at text[*at] (below length) and moves *at behind it; -1, and *at stays, where the bytes are not UTF-8
 * (surrogates, overlong forms and values above U+10FFFF are not). */
int32_t udump_utf8_next(const char *text, size_t length, size_t *at);

/* ARGUMENT with offset (in code points), line, column and the offending byte if text is not UTF-8. where as in udump_fail. */
udump_status udump_utf8_check(const char *text, size_t length, const char *where, udump_error *error);

bool udump_is_letter(int32_t code); /* \p{L} */
bool udump_is_number(int32_t code); /* \p{N} */
bool udump_is_space(int32_t code);  /* White_Space, what \s matches */
bool udump_is_word(int32_t code);   /* a letter, a number or _: what \w matches */

#endif
