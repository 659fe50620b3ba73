/* What a run is, as JSON: the manifest's "run" and "contexts", and tokens.json. */
#ifndef UDUMP_OUTPUT_RUN_JSON_H
#define UDUMP_OUTPUT_RUN_JSON_H

#include "output/text.h"
#include "unetdump.h"

/* Each appends; false without memory. The manifest's formats are in manifest.h. */
bool udump_run_json_write(const udump_run_info *run, udump_text *text);
bool udump_run_json_write_contexts(const udump_run_info *run, udump_text *text);

/* tokens.json: [{"text": ..., "columns": [{"column": 0, "id": 49406, "text": "<start>", "word": -1, "weight": 1.0}, ...]}, ...], an entry
 * for each context in the manifest's order; text and columns are null for a context made from a tensor. */
bool udump_run_json_write_tokens(const udump_run_info *run, udump_text *text);

#endif
