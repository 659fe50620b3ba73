/* The header of one .safetensors file: which tensors it holds, and where.
 * Format: https://github.com/huggingface/safetensors (8 bytes of little-endian header length, a JSON object, the data).
 *
 * What is demanded, as the reference implementation does: a header of at most 100 MB that begins with '{'; no key twice; sizes that are
 * integers, not negative; every tensor inside the data area, of exactly the bytes that its shape and type need; tensors one after the
 * other with neither gaps nor overlaps nor anything behind them. Beyond that: F32, F16 and BF16 tensors begin at a multiple of
 * their element's size.
 *
 * What a hostile file can cost: nothing larger than the header is allocated before the header is validated, and that only if the file
 * really is that long. Parsing then takes at most 4 bytes for each of the header's and 256 MB for at most 2^19 JSON values, nested at
 * most 4 deep (published checkpoints have up to about 2^15 values). Data are never allocated here. */
#ifndef UDUMP_WEIGHTS_SAFETENSORS_H
#define UDUMP_WEIGHTS_SAFETENSORS_H

#include <stdbool.h>

#include "tensor/view.h"
#include "weights/file.h"
#include "weights/json.h"

enum { UDUMP_SAFETENSORS_HEADER_LIMIT = 100000000, UDUMP_SAFETENSORS_VALUE_LIMIT = 1 << 19 };

typedef struct udump_safetensors_entry {
    char *name;             /* owned */
    const char *dtype_name; /* "F32", "I64"; static */
    bool loadable;          /* F32, F16 or BF16, of rank 0 to 6; of others dtype, rank and shape are not set */
    udump_dtype dtype;
    int32_t rank;
    int64_t shape[6];
    uint64_t offset_bytes, size_bytes; /* in the data area after udump_safetensors_parse, in the file after udump_safetensors_read */
} udump_safetensors_entry;

typedef struct udump_safetensors {
    udump_safetensors_entry *entries; /* in the order of their offsets */
    int64_t count;
    json_t *metadata; /* "__metadata__": of any kind; NULL if there is none */
} udump_safetensors;

/* A header's text, for data_bytes bytes of data. path is for messages. *header needs no free after a failure.
 * Errors: FORMAT (names file and tensor; JSON that does not parse: the byte's offset in the file), MEMORY. */
udump_status udump_safetensors_parse(const char *text, size_t text_bytes, uint64_t data_bytes, const char *path,
    udump_safetensors *header, udump_error *error);

/* The header of an open file. Errors: as udump_safetensors_parse, FILE, UNSUPPORTED (a pickle under this name). */
udump_status udump_safetensors_read(const udump_weight_file *file, udump_safetensors *header, udump_error *error);

void udump_safetensors_free(udump_safetensors *header);

#endif
