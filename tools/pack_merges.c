/* pack_merges IN.txt OUT.c: CLIP's merges, one "left right" a line, as the constant tables that src/text/merges.h declares.
 * A build tool: it runs once, says what is wrong with its input on stderr and exits. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MERGES = 48894,
    BYTE_TOKENS = 256,
    FIRST_MERGE = 2 * BYTE_TOKENS, /* bytes, then bytes at a word's end */
    TOKENS = FIRST_MERGE + MERGES,
    NAME_BYTES = 160,  /* a token as the file spells it, two bytes for most bytes */
    TOKEN_BYTES = 63,  /* the bytes a token may stand for: UDUMP_CLIP_TOKEN_BYTES */
    SLOTS = 1 << 17    /* of the hash table: a power of two above twice TOKENS */
};

static const char WORD_END[] = "</w>";

static char *names[TOKENS];      /* [id]: its spelling */
static uint8_t lengths[TOKENS];  /* [id]: the bytes it stands for */
static int32_t slots[SLOTS];     /* id + 1, or 0 for a free slot */
static uint16_t merges[MERGES][2];
static uint16_t order[MERGES];
static const char *output_path;

/* A half-written table must not pass for a built one; what is not a plain file (a device) is not ours to remove. */
static void remove_output(void) {
    struct stat info;
    if (output_path && stat(output_path, &info) == 0 && S_ISREG(info.st_mode)) remove(output_path);
}

static _Noreturn void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("pack_merges: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    remove_output();
    exit(1);
}

/* FNV-1a */
static int32_t *find_slot(const char *name) {
    uint32_t hash = 2166136261u;
    for (const char *c = name; *c; c++) hash = (hash ^ (uint8_t)*c) * 16777619u;
    uint32_t slot = hash & (SLOTS - 1);
    while (slots[slot] && strcmp(names[slots[slot] - 1], name) != 0) slot = (slot + 1) & (SLOTS - 1);
    return &slots[slot];
}

static void add_token(int32_t id, const char *name, int length, int line) {
    int32_t *slot = find_slot(name);
    if (*slot) die("line %d: the token '%s' was made before", line, name);
    if (length > TOKEN_BYTES) die("line %d: the token '%s' stands for %d bytes, more than %d", line, name, length, TOKEN_BYTES);
    names[id] = strdup(name);
    if (!names[id]) die("out of memory");
    lengths[id] = (uint8_t)length;
    *slot = id + 1;
}

/* The file spells every byte as one printable character: the printable ones of Latin-1 as themselves, the others as U+0100
 * onwards. That is also the order of their ids. */
static int is_spelled_as_itself(int byte) { return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 255 && byte != 173); }

static void add_bytes(uint8_t bytes[BYTE_TOKENS]) {
    int count = 0;
    for (int byte = 0; byte < 256; byte++)
        if (is_spelled_as_itself(byte)) bytes[count++] = (uint8_t)byte;
    int plain = count;
    for (int byte = 0; byte < 256; byte++)
        if (!is_spelled_as_itself(byte)) bytes[count++] = (uint8_t)byte;
    for (int id = 0; id < BYTE_TOKENS; id++) {
        int code = id < plain ? bytes[id] : 256 + id - plain; /* below U+0800: one or two bytes of UTF-8 */
        char name[8] = { (char)code };
        if (code >= 0x80) {
            name[0] = (char)(0xC0 | code >> 6);
            name[1] = (char)(0x80 | (code & 0x3F));
        }
        add_token(id, name, 1, 0);
        strcat(name, WORD_END);
        add_token(BYTE_TOKENS + id, name, 1, 0);
    }
}

static int known_half(const char *name, int line) {
    int32_t id = *find_slot(name) - 1;
    if (id < 0) die("line %d: '%s' is neither a byte nor made by an earlier line", line, name);
    return id;
}

static void read_merges(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die("%s cannot be read", path);
    char text[2 * NAME_BYTES + 3];
    int rank = 0;
    for (; fgets(text, sizeof text, file); rank++) {
        int line = rank + 1;
        if (rank == MERGES) die("%s has more than %d lines", path, MERGES);
        char *end = strchr(text, '\n'), *space = strchr(text, ' ');
        if (!end) die("line %d: too long, or no line break at its end", line);
        *end = 0;
        if (!space || space == text || !space[1] || strchr(space + 1, ' '))
            die("line %d: not two halves with one space between them", line);
        *space = 0;
        int left = known_half(text, line), right = known_half(space + 1, line);
        if (strstr(names[left], WORD_END)) die("line %d: the left half '%s' ends a word", line, names[left]);
        merges[rank][0] = (uint16_t)left;
        merges[rank][1] = (uint16_t)right;
        memmove(space, space + 1, strlen(space + 1) + 1);
        add_token(FIRST_MERGE + rank, text, lengths[left] + lengths[right], line);
    }
    if (ferror(file)) die("%s cannot be read to its end", path);
    fclose(file);
    if (rank != MERGES) die("%s has %d lines, not %d", path, rank, MERGES);
}

static int compare_pairs(const void *a, const void *b) {
    const uint16_t *x = merges[*(const uint16_t *)a], *y = merges[*(const uint16_t *)b];
    return x[0] != y[0] ? x[0] - y[0] : x[1] - y[1];
}

static void write_numbers(FILE *file, const char *declaration, const void *values, int bytes_each, int count, int group) {
    fprintf(file, "\nconst %s = {", declaration);
    for (int i = 0; i < count; i++) {
        unsigned value = bytes_each == 1 ? ((const uint8_t *)values)[i] : ((const uint16_t *)values)[i];
        const char *open = group == 2 && i % 2 == 0 ? "{" : "", *close = group == 2 && i % 2 == 1 ? "}" : "";
        fprintf(file, "%s%s%u%s,", i % 16 == 0 ? "\n" : "", open, value, close);
    }
    fputs("\n};\n", file);
}

int main(int argc, char **argv) {
    if (argc != 3) die("usage: pack_merges IN.txt OUT.c");
    uint8_t bytes[BYTE_TOKENS], byte_ids[BYTE_TOKENS];
    add_bytes(bytes);
    for (int id = 0; id < BYTE_TOKENS; id++) byte_ids[bytes[id]] = (uint8_t)id;
    read_merges(argv[1]);
    for (int rank = 0; rank < MERGES; rank++) order[rank] = (uint16_t)rank;
    qsort(order, MERGES, sizeof *order, compare_pairs);

    FILE *file = fopen(argv[2], "wb");
    if (!file) die("%s cannot be written", argv[2]);
    output_path = argv[2];
    fputs("/* Written by tools/pack_merges.c from src/text/data/clip_merges.txt (see LICENSE-CLIP beside it). */\n", file);
    fputs("#include \"text/merges.h\"\n", file);
    write_numbers(file, "uint16_t udump_clip_merges[UDUMP_CLIP_MERGES][2]", merges, 2, 2 * MERGES, 2);
    write_numbers(file, "uint16_t udump_clip_merge_order[UDUMP_CLIP_MERGES]", order, 2, MERGES, 1);
    write_numbers(file, "uint8_t udump_clip_bytes[256]", bytes, 1, BYTE_TOKENS, 1);
    write_numbers(file, "uint8_t udump_clip_byte_ids[256]", byte_ids, 1, BYTE_TOKENS, 1);
    int bad = ferror(file);
    if (fclose(file) != 0 || bad) die("%s cannot be written to its end", argv[2]);
    for (int id = 0; id < TOKENS; id++) free(names[id]);
    return 0;
}
