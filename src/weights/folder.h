/* The diffusers layout: a folder with unet/, vae/ and text_encoder/, each with config.json and its tensors, in one safetensors file or
 * in several that an index names; scheduler/scheduler_config.json and model_index.json where they are. */
#ifndef UDUMP_WEIGHTS_FOLDER_H
#define UDUMP_WEIGHTS_FOLDER_H

#include "weights/json.h"

/* Bounds of one config or index: what reading it may cost is at most 1 MB of text and 30 MB of values. */
enum { UDUMP_CONFIG_LIMIT_BYTES = 1 << 20, UDUMP_CONFIG_DEPTH_LIMIT = 32, UDUMP_CONFIG_VALUE_LIMIT = 1 << 16, UDUMP_SHARD_LIMIT = 1024 };

/* A config's text as a JSON object; *config is yours (json_decref). Errors: FORMAT (with line and column), MEMORY. */
udump_status udump_config_parse(const char *text, size_t text_bytes, const char *path, json_t **config, udump_error *error);
/* The same from folder/name. Errors: as above, FILE. *config is NULL, without an error, where optional and there is no such file. */
udump_status udump_config_read(const char *folder, const char *name, bool optional, json_t **config, udump_error *error);

/* The files of one part, and, where it is sharded, which tensor lies in which. */
typedef struct udump_part_files {
    char **names;       /* plain file names, in the part's folder */
    int count;
    json_t *weight_map; /* tensor -> file name; NULL if not sharded */
} udump_part_files;

/* An index's text. Every file that it names must be a plain name ending in .safetensors: nothing outside of the folder is opened.
 * *files needs no free after a failure. Errors: FORMAT, UNSUPPORTED (pickle shards), MEMORY. */
udump_status udump_shard_index_parse(const char *text, size_t text_bytes, const char *path, udump_part_files *files, udump_error *error);

/* Finds the files in a part's folder: diffusion_pytorch_model or model, .safetensors, sharded, else the fp16 variants.
 * Errors: FILE, FORMAT (names the folder), UNSUPPORTED (only pickles there), MEMORY. */
udump_status udump_part_find(const char *folder, udump_part_files *files, udump_error *error);
void udump_part_files_free(udump_part_files *files);

/* UDUMP_OK if path is a folder in this layout. Errors: UNSUPPORTED (a folder of pickles), FORMAT. */
udump_status udump_diffusers_check(const char *path, udump_error *error);

#endif
