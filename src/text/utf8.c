#include "text/utf8.h"

#include "base/status.h"

#include <stdio.h>
#include <utf8proc.h>

int32_t udump_utf8_next(const char *text, size_t length, size_t *at) {
    size_t left = length - *at;
    utf8proc_int32_t code = -1;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + *at, left < 4 ? (utf8proc_ssize_t)left : 4, &code);
    if (used <= 0) return -1;
    *at += (size_t)used;
    return code;
}

udump_status udump_utf8_check(const char *text, size_t length, const char *where, udump_error *error) {
    for (size_t at = 0; at < length;) {
        if (udump_utf8_next(text, length, &at) >= 0) continue;
        udump_fail_syntax(error, where, text, at, "not UTF-8", "UTF-8");
        if (error) {
            error->status = UDUMP_ERROR_ARGUMENT;
            snprintf(error->found, sizeof error->found, "the byte 0x%02X", (unsigned char)text[at]);
        }
        return UDUMP_ERROR_ARGUMENT;
    }
    return UDUMP_OK;
}

bool udump_is_letter(int32_t code) {
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool udump_is_number(int32_t code) {
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool udump_is_space(int32_t code) {
    if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
    utf8proc_category_t category = utf8proc_category(code);
    return code == 0x85 || (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

bool udump_is_word(int32_t code) { return code == '_' || udump_is_letter(code) || udump_is_number(code); }
