/* Samplers and schedules by name. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "sample/sampler.h"

/* In the webui's order; the first is the default. */
static const udump_sampler *const SAMPLERS[] = { &udump_sampler_euler_a, &udump_sampler_euler, &udump_sampler_lms, &udump_sampler_heun,
    &udump_sampler_dpm2, &udump_sampler_dpm2_a, &udump_sampler_dpmpp_2s_a, &udump_sampler_dpmpp_2m, &udump_sampler_dpmpp_sde,
    &udump_sampler_dpmpp_2m_sde, &udump_sampler_dpmpp_2m_sde_heun, &udump_sampler_dpmpp_3m_sde, &udump_sampler_ddim, &udump_sampler_plms,
    &udump_sampler_unipc, &udump_sampler_lcm, &udump_sampler_restart, &udump_sampler_dpm_fast };
enum { SAMPLER_COUNT = sizeof SAMPLERS / sizeof *SAMPLERS };

static char lower(char letter) { return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter; }

/* What follows name in text, or NULL if text does not begin with it; ASCII, whatever the locale. */
static const char *after(const char *text, const char *name) {
    for (; *name; text++, name++)
        if (lower(*text) != lower(*name)) return NULL;
    return text;
}

static bool equal(const char *text, const char *name) {
    const char *rest = after(text, name);
    return rest && !*rest;
}

/* The webui calls the schedules "SGM Uniform", "sgm_uniform" and "SGMUniform". */
static bool is_schedule(const char *text, const char *name) {
    for (; *name; name++) {
        if (*name == ' ' && (*text == ' ' || *text == '_')) text++;
        else if (*name != ' ' && lower(*text++) != lower(*name)) return false;
    }
    return !*text;
}

static bool find_schedule(const char *text, udump_schedule_kind *kind) {
    for (int i = 0; i < UDUMP_SCHEDULE_COUNT; i++)
        if (is_schedule(text, udump_schedule_name((udump_schedule_kind)i))) {
            *kind = (udump_schedule_kind)i;
            return true;
        }
    return false;
}

/* The end of a joined name: "" (kind stays), " Karras", "_karras", or the webui's old aliases' "_ka" and "_exp". */
static bool match_end(const char *end, udump_schedule_kind *kind) {
    if (!*end) return true;
    if (*end != ' ' && *end != '_') return false;
    if (find_schedule(end + 1, kind)) return true;
    if (!equal(end, "_ka") && !equal(end, "_exp")) return false;
    *kind = equal(end, "_ka") ? UDUMP_SCHEDULE_KARRAS : UDUMP_SCHEDULE_EXPONENTIAL;
    return true;
}

static bool matches(const udump_sampler *sampler, const char *text, udump_schedule_kind *kind) {
    const char *end = after(text, sampler->name);
    if (end && match_end(end, kind)) return true;
    for (int i = 0; i < UDUMP_SAMPLER_ALIASES && sampler->aliases[i]; i++) {
        end = after(text, sampler->aliases[i]);
        if (end && match_end(end, kind)) return true;
    }
    return false;
}

/* "A, B, C or D" */
static void append_name(char *list, size_t size_bytes, const char *name, int index, int count) {
    size_t length = strlen(list);
    snprintf(list + length, size_bytes - length, "%s%s", index == 0 ? "" : index == count - 1 ? " or " : ", ", name);
}

static udump_status fail_sampler(const char *found, udump_error *error) {
    char list[256] = "";
    for (int i = 0; i < SAMPLER_COUNT; i++) append_name(list, sizeof list, SAMPLERS[i]->name, i, SAMPLER_COUNT);
    return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "sampler", "unknown sampler", list, found);
}

static udump_status fail_schedule(const char *found, udump_error *error) {
    char list[256] = "";
    for (int i = 0; i < UDUMP_SCHEDULE_COUNT; i++)
        append_name(list, sizeof list, udump_schedule_name((udump_schedule_kind)i), i, UDUMP_SCHEDULE_COUNT);
    return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "schedule", "unknown schedule", list, found);
}

/* How many evaluations it takes shows while it runs: nothing could be planned, counted or budgeted. */
static bool is_adaptive(const char *name) {
    static const char *const names[] = { "DPM adaptive", "k_dpm_ad", "dpm_adaptive", "k_dpm_adaptive" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (equal(name, names[i])) return true;
    return false;
}

udump_status udump_sampler_find(const char *sampler, const char *schedule, udump_sampler_choice *choice, udump_error *error) {
    const udump_sampler *found = NULL;
    udump_schedule_kind joined = UDUMP_SCHEDULE_AUTOMATIC, named = UDUMP_SCHEDULE_AUTOMATIC;
    if (!sampler) found = SAMPLERS[0];
    for (int i = 0; !found && i < SAMPLER_COUNT; i++)
        if (matches(SAMPLERS[i], sampler, &joined)) found = SAMPLERS[i];
    if (!found && is_adaptive(sampler))
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "sampler", "DPM adaptive: how many evaluations it takes shows only while it runs");
    if (!found) return fail_sampler(sampler, error);
    if (schedule && !find_schedule(schedule, &named)) return fail_schedule(schedule, error);
    if (joined && named && joined != named)
        return udump_fail_values(
            error, UDUMP_ERROR_ARGUMENT, "schedule", "the sampler's name says another schedule", udump_schedule_name(joined), schedule);

    choice->sampler = found;
    choice->chosen = joined ? joined : named;
    choice->schedule = choice->chosen ? choice->chosen : found->automatic;
    return UDUMP_OK;
}
