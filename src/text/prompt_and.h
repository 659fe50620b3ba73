/* AND, which joins prompts: not supported yet, and refused rather than taken as text. */
#ifndef UDUMP_TEXT_PROMPT_AND_H
#define UDUMP_TEXT_PROMPT_AND_H

#include "unetdump.h"

/* UNSUPPORTED, with offset, line and column, at the first whole word AND. text is UTF-8. */
udump_status udump_prompt_refuse_and(const char *text, udump_error *error);

#endif
