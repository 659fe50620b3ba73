/* What `sweep` varies, as its options say it. */
#ifndef UNETDUMP_CLI_SWEEP_LISTS_H
#define UNETDUMP_CLI_SWEEP_LISTS_H

#include "cli.h"

enum { SWEEP_ITEMS_MOST = 10000 };

typedef struct sweep_lists {
    const char *variants[2 * LIST_MOST];
    const char *blocks[SWEEP_ITEMS_MOST];
    uint64_t seeds[SWEEP_ITEMS_MOST];
    double weights[SWEEP_ITEMS_MOST];
    int32_t variant_count, block_count, seed_count, weight_count;
    char *texts[LIST_MOST + 1]; /* what the others point to */
    int text_count;
} sweep_lists;

/* Each returns false after printing what is wrong. */
/* The prompts of --variant, then PROMPT with what --replace OLD=NEW says. */
bool read_variants(const option_list *variants, const option_list *replaced, const char *prompt, sweep_lists *lists);
/* "IN04;OUT03-OUT05": layer specs. */
bool read_blocks(const char *text, sweep_lists *lists);
/* "1,2,10-13". */
bool read_seeds(const char *text, sweep_lists *lists);
/* "0.5,1". */
bool read_weights(const char *text, sweep_lists *lists);
void free_lists(sweep_lists *lists);

#endif
