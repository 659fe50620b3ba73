/* --lora FILE[:WEIGHT][:BLOCK WEIGHTS], and the webui's <lora:NAME:WEIGHT> in a prompt. */
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
/* As fail_input; of an error in block weights with the option and the text. */
int fail_loras(const udump_error *error, const lora_list *loras);

/* A prompt's <lora:NAME:WEIGHT>, and these as --lora has them. */
typedef struct prompt_loras {
    udump_lora_tags *tags; /* and the prompt without them */
    char *picture_blocks; /* what is left of a picture's block weights; NULL if there were none */
    char *texts[LIST_MOST];
    int count;
} prompt_loras;

/* Adds the file that udump_lora_find finds and its weights to loras for each; without a folder (NULL) a LoRA of that name in loras stands for the tag, which then has its place and, if the
 * option says none, its weight. picture_blocks (may be NULL): a picture's "Lora block weights", which those without any get. False after printing what is wrong;
 * free_prompt_loras either way, when loras is no longer needed. */
bool take_prompt_loras(const char *prompt, const char *folder, const char *picture_blocks, prompt_loras *taken, option_list *loras);
void free_prompt_loras(prompt_loras *taken);
/* Where a prompt's <lora:...> mean nothing. False after printing so, if there is one. */
bool refuse_prompt_loras(const char *prompt);

#endif
