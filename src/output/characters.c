#include "output/characters.h"

#include <stdlib.h>
#include <string.h>

int32_t udump_character_decode(const char *text, size_t *length) {
    static const int32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 }; /* by length: below is an overlong form */
    const unsigned char *bytes = (const unsigned char *)text;
    *length = 1;
    if (bytes[0] < 0x80) return bytes[0];
    size_t count = bytes[0] >= 0xF8 ? 0 : bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : bytes[0] >= 0xC0 ? 2 : 0;
    if (!count) return -1;
    int32_t point = bytes[0] & (0xFF >> (count + 1));
    for (size_t i = 1; i < count; i++) {
        if ((bytes[i] & 0xC0) != 0x80) return -1; /* the terminating zero stops here too */
        point = point << 6 | (bytes[i] & 0x3F);
    }
    if (point < smallest[count] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return -1;
    *length = count;
    return point;
}

char *udump_characters_repair(const char *text) {
    static const char replacement[3] = "\xEF\xBF\xBD";
    if (!text) text = "";
    char *repaired = malloc(strlen(text) * sizeof replacement + 1), *at = repaired;
    if (!repaired) return NULL;
    for (size_t length; *text; text += length) {
        int valid = udump_character_decode(text, &length) >= 0;
        memcpy(at, valid ? text : replacement, valid ? length : sizeof replacement);
        at += valid ? length : sizeof replacement;
    }
    *at = '\0';
    return repaired;
}

int udump_characters_to_latin1(const char *text, char **latin1, size_t *bad_offset) {
    char *converted = malloc(strlen(text) + 1), *at = converted;
    if (!converted) return -2;
    int fits = 1;
    size_t length;
    for (const char *from = text; *from; from += length) {
        int32_t point = udump_character_decode(from, &length);
        if (point < 0) {
            *bad_offset = (size_t)(from - text);
            free(converted);
            return -1;
        }
        if (point > 0xFF) fits = 0;
        else *at++ = (char)point;
    }
    *at = '\0';
    if (fits) *latin1 = converted;
    else free(converted);
    return fits;
}
