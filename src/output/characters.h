/* UTF-8 on its way out: into Latin-1 where that suffices, and made valid where a system's path was not. */
#ifndef UDUMP_OUTPUT_CHARACTERS_H
#define UDUMP_OUTPUT_CHARACTERS_H

#include <stddef.h>
#include <stdint.h>

/* The code point at text[0], and its length in bytes in *length; -1 and length 1 where the bytes are not UTF-8 (overlong forms and
 * surrogates are not). text must not be at its end. */
int32_t udump_character_decode(const char *text, size_t *length);

/* A copy on the heap in which every byte that is not UTF-8 is U+FFFD; NULL without memory. text NULL means "". */
char *udump_characters_repair(const char *text);

/* UTF-8 to Latin-1, on the heap. Returns 1; 0 if a character has no place in Latin-1, -1 if text is not UTF-8 (*bad_offset: the byte);
 * -2 without memory. *latin1 is set only with 1. */
int udump_characters_to_latin1(const char *text, char **latin1, size_t *bad_offset);

#endif
