/* The command: reads arguments, calls the library through its public header, writes what it says. One file a subcommand. */
#ifndef UNETDUMP_CLI_H
#define UNETDUMP_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "unetdump.h"

/* Exit statuses. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_BAD_INPUT = 2 };

/* What an option that may be given several times was given. */
enum { LIST_MOST = 64 };
typedef struct option_list {
    const char *items[LIST_MOST];
    int count;
} option_list;

typedef struct cli_option {
    const char *name;     /* "--steps" */
    const char *shorthand; /* "-s", or NULL */
    enum { OPTION_TEXT, OPTION_INTEGER, OPTION_LONG, OPTION_NUMBER, OPTION_SEED, OPTION_FLAG, OPTION_LIST } kind;
    void *value;          /* const char **, int32_t *, int64_t *, double *, uint64_t *, bool *, option_list * */
    const char *help;
} cli_option;

/* Parses argv: options may come anywhere, "--name=value" and "--name value" alike; "--" ends them. Up to `most` other arguments go to
 * rest. Returns their number, or -1 after printing what is wrong. */
int parse_options(int argc, char **argv, const cli_option *options, size_t option_count, const char **rest, int most);
void print_options(const cli_option *options, size_t option_count);

/* Prints "unetdump: ..." and returns the exit status: one line without control characters, whatever the texts hold. */
int fail_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same of "unetdump: warning: ...". */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fail_error(const udump_error *error);
/* The same for what was to be read: a file that cannot be opened is bad input there. */
int fail_input(const udump_error *error);

/* The same with the text that it is in (NULL: none), where it has a place there: the line, and a caret under the column. */
int fail_text(const udump_error *error, const char *text);

/* The same of what an option was given, which the message names. */
int fail_option(const char *option, const udump_error *error, const char *text);

/* A misspelling: *nearest becomes name if that is nearer to what was given than *least, and near enough to be meant. Begin with NULL and SIZE_MAX. */
void choose_nearest(const char *given, const char *name, const char **nearest, size_t *least);

/* The index of text in names; -1 if it is not there. */
int find_name(const char *text, const char *const *names, size_t count);

/* "none", "sum", "1-norm", "2-norm". False after printing what is wrong. */
bool parse_average(const char *text, udump_average *average);

/* "k,qk,vqk,self,self-map"; NULL: none. False after printing what is wrong. */
bool parse_kinds(const char *text, uint32_t *kinds);
/* "x,y;x,y" or "grid:4x4" into queries_px, [most, 2]; NULL: none. Returns their number, -1 after printing what is wrong. */
int32_t parse_queries(const char *text, int32_t width_px, int32_t height_px, int32_t *queries_px, int32_t most);

/* parse prompt: prints every block's prompt, or the error with its line and a caret. Returns the exit status. */
int parse_prompt(const char *text, const udump_model *model, int32_t steps, bool negative, bool json);

/* inspect --map. The list is the caller's. */
json_t *map_json(const udump_model *model);
int print_map(const udump_model *model);

/* Prints value as JSON on standard output and lets go of it. Returns the exit status (standard output may be a full disk). */
int print_json(json_t *value);
/* A text of somebody else's: control characters but line ends and tabs as "?"; on one line what ends lines as blanks. */
void print_plain(FILE *to, const char *text, size_t bytes, bool one_line);
/* Flushes standard output; a failure to write becomes the exit status. */
int finish_output(int status);

/* -m, --vae, --device, --precision, --prediction, --threads and where CUDA is, as the commands that load a model have them. */
typedef struct model_arguments {
    const char *path, *vae, *device, *precision, *prediction, *cuda_module, *cuda_libraries, *plan_cache;
    int32_t threads;
    bool cuda_eager, hash_files;
    const char *embeddings;
    option_list loras; /* "FILE:0.8:IN04=0.5,OUT00-OUT08=0" */
} model_arguments;
/* What they mean to the library; loras is what the options point to: free_loras either way. False after printing what is wrong. */
struct lora_list;
bool resolve_model(const model_arguments *arguments, udump_model_options *options, struct lora_list *loras);
/* Loads, and prints the warnings that loading gave. On failure prints, and returns an exit status in *status. */
udump_model *load_model(const model_arguments *arguments, int *status);

/* A picture's own parameters; prints, in a line each, what of them cannot be had or is not known. NULL after printing what is wrong; then
 * an exit status in *status. */
udump_parameters *load_parameters(const char *path, int *status);
/* Prints, in a line each, which of the files that the picture names are not, or may not be, those that are given. */
void check_picture_files(const char *path, const udump_parameters *parameters, const model_arguments *given);
/* inspect PICTURE.png: prints them. Returns the exit status. */
int inspect_picture(const char *path, bool json);
bool is_picture(const char *path);

/* A picture to begin from: its size becomes the run's where none was asked for (*width_px, *height_px 0), else it is resized. False after
 * printing what is wrong; then an exit status in *status. */
bool load_init(const char *path, int32_t *width_px, int32_t *height_px, udump_image *image, int *status);

int command_generate(int argc, char **argv);
int command_render(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_parse(int argc, char **argv);
int command_tokens(int argc, char **argv);
int command_report(int argc, char **argv);
int command_sweep(int argc, char **argv);

#endif
