/* What an open LoRA file is made of: for lora.c, which opens it, lora_matrix.c and lora_merge.c. */
#ifndef UDUMP_WEIGHTS_LORA_FILE_H
#define UDUMP_WEIGHTS_LORA_FILE_H

#include "weights/json.h"
#include "weights/lora.h"
#include "weights/lora_names.h"

enum {
    UDUMP_LORA_RANK_MOST = 1 << 14,
    UDUMP_LORA_SIZE_MOST = 1 << 20
};

typedef struct udump_lora_layer {
    char *name; /* canonical */
    const char *tensor; /* the file's name of one of its tensors, for messages */
    udump_lora_kind kind;
    const udump_weight *tensors[UDUMP_LORA_SLOTS];
    const udump_skipped *whole_alpha; /* an alpha of another type: trainers write whole numbers, too */
    bool used, bias_used;
} udump_lora_layer;

struct udump_lora_file {
    char *path;
    udump_weights *weights;
    json_t *metadata; /* diffusers' or PEFT's; or NULL */
    udump_lora_layer *layers; /* in the order of their names */
    int64_t count;
};

/* An error at one of the file's tensors; at the file where tensor is NULL. */
udump_status udump_lora_fail(const udump_lora_file *file, const char *tensor, udump_status status, const char *what, const char *expected,
    const char *found, udump_error *error);
udump_status udump_lora_fail_shape(
    const udump_lora_file *file, const udump_weight *weight, const char *what, const char *expected, udump_error *error);

/* A tensor's values; to be freed. Errors: FORMAT (NaN or infinity, or the file was cut since), FILE, MEMORY. */
udump_status udump_lora_read(const udump_lora_file *file, const udump_weight *weight, float **values, udump_error *error);

/* A matrix of the layer's difference: itself, or a product up [rows, rank] . down [rank, columns], where a mid [rank, rank, k, k] (Tucker's) may
 * stand between them. A convolution's columns are in * k * k. */
typedef struct udump_lora_matrix {
    const udump_lora_file *file;
    const udump_weight *whole, *up, *down, *mid;
    bool turned; /* up is [rank, rows], as LyCORIS has it where there is a mid */
} udump_lora_matrix;

/* index: 0 or 1. */
udump_lora_matrix udump_lora_matrix_of(const udump_lora_file *file, const udump_lora_layer *layer, int index);
/* What its tensors must be to each other; the functions that follow rely on it. Errors: FORMAT. */
udump_status udump_lora_matrix_check(const udump_lora_matrix *matrix, const udump_lora_layer *layer, udump_error *error);
int64_t udump_lora_matrix_rows(const udump_lora_matrix *matrix);
int64_t udump_lora_matrix_columns(const udump_lora_matrix *matrix);
int64_t udump_lora_matrix_rank(const udump_lora_matrix *matrix); /* 0: it is whole */
/* values [rows, columns] += scale * the matrix; sums are fp32. */
udump_status udump_lora_matrix_add(const udump_lora_matrix *matrix, float scale, int threads, float *values, udump_error *error);
/* The matrix; to be freed. */
udump_status udump_lora_matrix_make(const udump_lora_matrix *matrix, int threads, float **values, udump_error *error);

#endif
