/* The first half of udump_sampling_init: which levels a run walks through, and every evaluation of the model. */
#ifndef UDUMP_SAMPLE_PLAN_H
#define UDUMP_SAMPLE_PLAN_H

#include "sample/sampler.h"

/* Sets s->steps, sigmas, evaluations, evaluation_count and firsts; s->sampler, levels and eta are set. options have been checked.
 * Errors: MEMORY; udump_sampling_free then frees what there is. */
udump_status udump_sampling_plan(udump_sampling *s, const udump_sampling_options *options, udump_error *error);

#endif
