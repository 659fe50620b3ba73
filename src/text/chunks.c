#include "text/chunks.h"

#include "base/status.h"
#include "text/merges.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMA = 267 /* "," at a word's end */, COMMA_REACH = 20 };

struct builder {
    udump_chunks *chunks;
    const udump_chunk_embeddings *embeddings; /* or NULL */
    int32_t used;  /* places of the last chunk */
    int32_t comma; /* the place of its last comma; -1: none */
    int32_t word;
    udump_error *error;
};

static udump_column *column_at(const struct builder *b, int32_t place) {
    return &b->chunks->columns[(b->chunks->count - 1) * UDUMP_CHUNK_TOKENS + 1 + place];
}

static void label(udump_column *column, int32_t id, int32_t word, double weight) {
    *column = (udump_column){ .id = id, .word = word, .weight = (float)weight };
    if (word >= 0) udump_token_text(id, column->text);
    else snprintf(column->text, sizeof column->text, "%s", id == UDUMP_CLIP_START ? "<start>" : "<end>");
}

/* A new chunk, all padding. */
static udump_status add_chunk(struct builder *b) {
    udump_chunks *c = b->chunks;
    if (c->count == UDUMP_CHUNKS_MOST)
        return udump_fail(b->error, UDUMP_ERROR_UNSUPPORTED, "prompt", "it has more than %d chunks of %d tokens", UDUMP_CHUNKS_MOST, UDUMP_CHUNK_PLACES);
    size_t bytes = (size_t)(c->count + 1) * UDUMP_CHUNK_TOKENS * sizeof *c->columns;
    udump_column *grown = realloc(c->columns, bytes);
    if (!grown) return udump_fail_memory(b->error, "prompt", bytes);
    c->columns = grown;
    c->count++;
    for (int32_t place = -1; place <= UDUMP_CHUNK_PLACES; place++)
        label(column_at(b, place), place < 0 ? UDUMP_CLIP_START : UDUMP_CLIP_END, -1, 1);
    b->used = 0;
    b->comma = -1;
    return UDUMP_OK;
}

/* The chunk is full: what follows a comma near its end moves on. */
static udump_status turn(struct builder *b) {
    udump_column moved[COMMA_REACH];
    int32_t count = b->comma >= 0 && b->used - b->comma <= COMMA_REACH ? b->used - b->comma - 1 : 0;
    for (int32_t i = 0; i < count; i++) {
        udump_column *from = column_at(b, b->used - count + i);
        moved[i] = *from;
        label(from, UDUMP_CLIP_END, -1, 1);
    }
    udump_status status = add_chunk(b);
    for (int32_t i = 0; !status && i < count; i++) *column_at(b, b->used++) = moved[i];
    return status;
}

/* Room for what begins with the token id, and takes `places`. */
static udump_status make_room(struct builder *b, int32_t id, int32_t places) {
    udump_status status = UDUMP_OK;
    if (id == COMMA) b->comma = b->used;
    else if (b->used == UDUMP_CHUNK_PLACES) status = turn(b);
    if (!status && b->used + places > UDUMP_CHUNK_PLACES) status = add_chunk(b); /* a comma on a full chunk, or an embedding that does not fit */
    return status;
}

static udump_status add_token(struct builder *b, int32_t id, double weight) {
    udump_status status = make_room(b, id, 1);
    if (status) return status;
    label(column_at(b, b->used++), id, b->word, weight);
    b->word += udump_token_ends_word(id);
    return UDUMP_OK;
}

/* The embedding whose tokens begin at ids; NULL if none does. */
static const udump_chunk_embedding *find_embedding(const struct builder *b, const int32_t *ids, int32_t count) {
    for (int32_t i = 0; b->embeddings && i < b->embeddings->count; i++) {
        const udump_chunk_embedding *embedding = &b->embeddings->items[i];
        if (embedding->id_count <= count && memcmp(embedding->ids, ids, (size_t)embedding->id_count * sizeof *ids) == 0) return embedding;
    }
    return NULL;
}

/* text as far as it fits, cut on a character's border. */
static void copy_name(char out[64], const char *name) {
    size_t length = strnlen(name, 63);
    while (name[length] && length && ((unsigned char)name[length] & 0xC0) == 0x80) length--;
    memcpy(out, name, length);
    out[length] = '\0';
}

static udump_status add_embedding(struct builder *b, const udump_chunk_embedding *embedding, double weight) {
    udump_status status = make_room(b, embedding->ids[0], embedding->vectors);
    for (int32_t i = 0; !status && i < embedding->vectors; i++) {
        udump_column *column = column_at(b, b->used++);
        *column = (udump_column){ .id = embedding->first_id + i, .word = b->word, .weight = (float)weight };
        copy_name(column->text, embedding->name);
    }
    b->word++;
    return status;
}

static udump_status add_piece(struct builder *b, const udump_prompt_piece *piece) {
    if (piece->weight == -1 && strcmp(piece->text, "BREAK") == 0) return add_chunk(b);
    int32_t *ids, count;
    udump_status status = udump_tokenize(piece->text, &ids, &count, b->error);
    if (status) return status;
    for (int32_t i = 0; !status && i < count;) {
        const udump_chunk_embedding *embedding = find_embedding(b, ids + i, count - i);
        status = embedding ? add_embedding(b, embedding, piece->weight) : add_token(b, ids[i], piece->weight);
        i += embedding ? embedding->id_count : 1;
    }
    free(ids);
    return status;
}

static udump_status split(udump_chunks *c, udump_error *error) {
    size_t tokens = (size_t)c->count * UDUMP_CHUNK_TOKENS;
    c->ids = malloc(tokens * sizeof *c->ids);
    c->weights = malloc(tokens * sizeof *c->weights);
    if (!c->ids || !c->weights) return udump_fail_memory(error, "prompt", tokens * sizeof *c->ids);
    for (size_t i = 0; i < tokens; i++) {
        c->ids[i] = c->columns[i].id;
        c->weights[i] = c->columns[i].weight;
    }
    return UDUMP_OK;
}

udump_status udump_chunks_make(const udump_prompt_piece *pieces, int32_t count, const udump_chunk_embeddings *embeddings, udump_chunks *chunks,
    udump_error *error) {
    *chunks = (udump_chunks){ 0 };
    struct builder b = { .chunks = chunks, .embeddings = embeddings, .error = error };
    udump_status status = add_chunk(&b);
    for (int32_t i = 0; !status && i < count; i++) status = add_piece(&b, &pieces[i]);
    if (!status && !b.used && chunks->count > 1) chunks->count--; /* a BREAK at the end */
    if (!status) status = split(chunks, error);
    if (status) udump_chunks_free(chunks);
    return status;
}

void udump_chunks_free(udump_chunks *chunks) {
    free(chunks->ids);
    free(chunks->weights);
    free(chunks->columns);
    *chunks = (udump_chunks){ 0 };
}
