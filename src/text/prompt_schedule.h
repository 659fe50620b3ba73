/* The webui's prompt editing and alternation: [from:to:when], [to:when], [from::when], [a|b|...]. Equal to its parser.
 *     when: a number with a point is a fraction of the steps, another one a step; cut at the last step; `from` holds while step <= when
 *     alternation takes turns, a step each; options may be empty
 * Brackets that are none of these stay as they are, for the emphasis. */
#ifndef UDUMP_TEXT_PROMPT_SCHEDULE_H
#define UDUMP_TEXT_PROMPT_SCHEDULE_H

#include "unetdump.h"

enum {
    UDUMP_PROMPT_STEPS_MOST = 2000
}; /* evaluations: of second order, twice the most steps */

typedef struct udump_scheduled_text {
    int32_t until; /* the last step for which it holds */
    char *text;
} udump_scheduled_text;

/* An entry for each `when` from 1 on, for every step if there is an alternation, and for the last step; equal neighbours stay. *entries is
 * freed with udump_prompt_schedule_free. steps: 1..UDUMP_PROMPT_STEPS_MOST. Errors: MEMORY. */
udump_status udump_prompt_schedule_parse(
    const char *text, int32_t steps, udump_scheduled_text **entries, int32_t *count, udump_error *error);
void udump_prompt_schedule_free(udump_scheduled_text *entries, int32_t count);

#endif
