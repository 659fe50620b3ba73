/* --lora FILE[:WEIGHT][:BLOCK WEIGHTS] */
#ifndef UNETDUMP_CLI_LORA_H
#define UNETDUMP_CLI_LORA_H

#include "cli.h"

typedef struct lora_list {
    udump_lora items[LIST_MOST];
    double weights[LIST_MOST];
    char *texts[LIST_MOST]; /* the paths' memory */
    int count;
} lora_list;

/* False after printing what is wrong; free_loras either way. */
bool read_loras(const option_list *given, lora_list *loras);
void free_loras(lora_list *loras);

#endif
