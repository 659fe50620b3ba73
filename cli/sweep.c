/* unetdump sweep -m MODEL -p PROMPT --replace OLD=NEW -o DIR ... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "lora.h"
#include "sampling.h"
#include "sweep_lists.h"

enum { OPTIONS_MOST = 64 };

typedef struct arguments {
    sampling_arguments sampling;
    option_list variants, replaced;
    const char *output, *blocks, *seeds, *weights, *shard, *engine, *ray_address;
    int32_t batch_size, workers;
    bool collect, json, force, quiet, help;
    int32_t part, parts; /* of --shard, from 1 */
} arguments;

static size_t list_options(arguments *a, cli_option *list) {
    udump_generate_options *o = &a->sampling.options;
    const cli_option all[] = {
        { "--variant", NULL, OPTION_LIST, &a->variants, "another prompt, for one block at a time; may be given several times" },
        { "--replace", NULL, OPTION_LIST, &a->replaced, "OLD=NEW: a variant, the prompt with that text replaced; may be given several times" },
        { "--blocks", NULL, OPTION_TEXT, &a->blocks, "what is changed together: IN04;OUT03-OUT05;M00 (each block by itself)" },
        { "--seed", NULL, OPTION_SEED, &o->seed, "of all pictures (0)" },
        { "--seeds", NULL, OPTION_TEXT, &a->seeds, "several: 1,2,10-13" },
        { "--lora-weights", NULL, OPTION_TEXT, &a->weights, "what --lora's weights are multiplied by, one after the other: 0.5,1 (1)" },
        { "--diff", NULL, OPTION_TEXT, &o->diff, "blocks whose outputs are compared too; \"\" is all" },
        { "--diff-steps", NULL, OPTION_TEXT, &o->diff_steps, "at which steps (all)" },
        { "--output", "-o", OPTION_TEXT, &a->output, "the folder to write to; what is there already is not made again" },
        { "--batch-size", NULL, OPTION_INTEGER, &a->batch_size, "pictures at once, 1 to 256, with --diff from 2 on: memory grows with them (8)" },
        { "--shard", NULL, OPTION_TEXT, &a->shard, "I/N: only the I-th of N parts, which may run at the same time; afterwards --collect" },
        { "--collect", NULL, OPTION_FLAG, &a->collect, "only measure and rank what is in the folder: needs -o alone" },
        { "--engine", NULL, OPTION_TEXT, &a->engine, "local, or ray: on all machines of a Ray cluster, by the Python package (local)" },
        { "--workers", NULL, OPTION_INTEGER, &a->workers, "of ray: how many processes, each with a model and --threads CPUs, or a GPU (as many as fit)" },
        { "--ray-address", NULL, OPTION_TEXT, &a->ray_address, "of ray: the cluster (RAY_ADDRESS, or the one that runs here, or one of this machine)" },
        { "--json", NULL, OPTION_FLAG, &a->json, "print all results as JSON" },
        { "--force", NULL, OPTION_FLAG, &a->force, "begin even where the disk may be too small" },
        { "--quiet", "-q", OPTION_FLAG, &a->quiet, "no progress" },
        { "--help", "-h", OPTION_FLAG, &a->help, "this text" },
    };
    size_t shared = sampling_list(&a->sampling, list);
    memcpy(list + shared, all, sizeof all);
    return shared + sizeof all / sizeof *all;
}

static void print_help(const cli_option *options, size_t count) {
    puts("usage: unetdump sweep -m MODEL -p PROMPT --replace OLD=NEW -o DIR [options]\n"
         "       unetdump sweep -m MODEL -p PROMPT --variant PROMPT -o DIR [options]\n"
         "       unetdump sweep -m MODEL -p PROMPT --lora FILE -o DIR [options]\n"
         "       unetdump sweep --collect -o DIR\n\n"
         "Makes PROMPT's picture, and for every block one in which that block alone sees another prompt, or in which the LoRAs work in\n"
         "that block alone; all from the same noise. Ranks the blocks by how far they moved the picture. DIR then holds index.html,\n"
         "sheet.png, sweep.csv, results.json, and every picture in cells/.\n");
    print_options(options, count);
}

/* ---- what is there, on standard output */

static void print_ranking(const udump_sweep_result *result) {
    int32_t count;
    const udump_sweep_rank *all = udump_sweep_result_ranking(result, -1, &count);
    int width = 6;
    for (int32_t i = 0; i < count; i++)
        if ((int)strlen(all[i].blocks) > width) width = (int)strlen(all[i].blocks);
    printf("rank  %-*s  picture  cosine    most   latent  cells\n", width, "blocks");
    for (int32_t i = 0; i < count; i++) {
        const udump_sweep_measure *m = &all[i].mean;
        if (!all[i].cells) continue;
        printf("%4d  %-*s  %7.4f  %6.4f  %6.4f  %7.4f  %5d\n", (int)i + 1, width, all[i].blocks, m->picture.relative_l2, m->picture.cosine, m->picture.max,
            m->latent.relative_l2, (int)all[i].cells);
    }
}

/* Which blocks each of several variants acts on most. */
static void print_variants(const udump_sweep_result *result) {
    if (!udump_sweep_result_variant(result, 1)) return;
    puts("\nmost moved by each variant:");
    for (int32_t v = 0; udump_sweep_result_variant(result, v); v++) {
        int32_t count;
        const udump_sweep_rank *ranks = udump_sweep_result_ranking(result, v, &count);
        const char *variant = udump_sweep_result_variant(result, v);
        fputs("  ", stdout);
        print_plain(stdout, variant, strlen(variant), true);
        putchar(':');
        for (int32_t i = 0; i < count && i < 5 && ranks[i].cells; i++) printf("%s %s %.4f", i ? "," : "", ranks[i].blocks, ranks[i].mean.picture.relative_l2);
        putchar('\n');
    }
    putchar('\n');
}

static int print_file(const char *folder, const char *name) {
    char *path = NULL;
    json_t *value = asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : json_load_file(path, 0, NULL);
    free(path);
    return print_json(value);
}

static int collect(const arguments *a) {
    udump_sweep_result *result = NULL;
    udump_error error;
    if (udump_sweep_collect(a->output, &result, &error)) return a->collect ? fail_input(&error) : fail_error(&error);
    int32_t cells, missing;
    udump_sweep_result_count(result, &cells, &missing);
    if (a->json) print_file(a->output, "results.json");
    else print_ranking(result), print_variants(result);
    if (missing) warn("%d of %d pictures are not there", (int)missing, (int)cells);
    if (!a->json) printf("%d pictures: %s/index.html, sheet.png, sweep.csv, results.json\n", (int)(cells - missing), a->output);
    udump_sweep_result_free(result);
    return finish_output(EXIT_DONE);
}

/* ---- running */

static udump_flow on_progress(void *user, const udump_sweep_progress *p) {
    (void)user;
    fprintf(stderr, "\r\033[K%d of %d pictures", (int)p->cells_done, (int)p->cells);
    if (p->run.steps) fprintf(stderr, ", step %d/%d, %.2f s a step", (int)p->run.step, (int)p->run.steps, p->run.seconds_per_step);
    fflush(stderr);
    return UDUMP_CONTINUE;
}

static int run(const arguments *a, udump_sweep *sweep, const lora_list *loras) {
    const udump_sweep_observer observer = { .struct_bytes = sizeof observer, .progress = on_progress };
    bool shown = !a->quiet && isatty(STDERR_FILENO);
    int64_t batches = udump_sweep_batch_count(sweep);
    int32_t first = (int32_t)(batches * (a->part - 1) / a->parts), end = (int32_t)(batches * a->part / a->parts);
    udump_error error;
    sampling_watch();
    udump_status status = udump_sweep_run(sweep, a->output, first, end - first, shown ? &observer : NULL, &error);
    if (shown) fputs("\r\033[K", stderr);
    if (status) return error.column > 0 ? fail_loras(&error, loras) : fail_error(&error);
    if (!a->shard) return collect(a);
    if (!a->quiet) printf("part %d of %d is there; when all are: unetdump sweep --collect -o %s\n", (int)a->part, (int)a->parts, a->output);
    return finish_output(EXIT_DONE);
}

/* With the text that it is in, where it has a place in one. */
static int fail_create(const arguments *a, const sweep_lists *lists, const lora_list *loras, const udump_error *error) {
    int variant = 0, blocks = 0;
    if (error->column <= 0) return fail_input(error);
    if (sscanf(error->where, "variant %d", &variant) == 1 && variant > 0 && variant <= lists->variant_count)
        return fail_text(error, lists->variants[variant - 1]);
    if (sscanf(error->where, "blocks %d", &blocks) == 1 && blocks > 0 && blocks <= lists->block_count) {
        udump_error own = *error;
        own.where[0] = '\0';
        return fail_option("--blocks", &own, lists->blocks[blocks - 1]);
    }
    return strstr(error->where, ": block weights") ? fail_loras(error, loras) : sampling_fail(&a->sampling, error);
}

static int create_and_run(arguments *a, const sweep_lists *lists) {
    udump_model_options model_options;
    lora_list loras;
    udump_sweep_options options;
    udump_sweep_options_init(&options);
    options.base = &a->sampling.options;
    options.variants = lists->variants;
    options.variant_count = lists->variant_count;
    options.blocks = lists->blocks;
    options.block_count = lists->block_count;
    options.seeds = lists->seeds;
    options.seed_count = lists->seed_count;
    options.lora_weights = lists->weights;
    options.lora_weight_count = lists->weight_count;
    options.batch_size = a->batch_size;
    options.force = a->force;
    int status = EXIT_BAD_INPUT;
    if (resolve_model(&a->sampling.model, &model_options, &loras)) {
        udump_sweep *sweep = NULL;
        udump_error error;
        status = udump_sweep_create(a->sampling.model.path, &model_options, &options, &sweep, &error)
            ? fail_create(a, lists, &loras, &error)
            : run(a, sweep, &loras);
        udump_sweep_free(sweep);
    }
    free_loras(&loras);
    return status;
}

/* ---- options */

static bool read_shard(arguments *a) {
    char end;
    a->part = a->parts = 1;
    if (!a->shard) return true;
    int part, parts;
    bool fits = sscanf(a->shard, "%d/%d%c", &part, &parts, &end) == 2 && part >= 1 && parts >= part;
    if (!fits) return fail_usage("--shard: expected I/N with I from 1 to N, found '%s'", a->shard), false;
    a->part = part;
    a->parts = parts;
    return true;
}

/* What another engine needs is not here: the Python package's command goes before this one. */
static bool check_engine(const arguments *a) {
    static const char *const engines[] = { "local", "ray" };
    int engine = a->engine ? find_name(a->engine, engines, 2) : 0;
    if (engine < 0) return fail_usage("--engine: expected local or ray, found '%s'", a->engine), false;
    if (engine) return fail_usage("--engine ray needs the Python package's unetdump: pip install 'unetdump[ray]'"), false;
    if (a->workers || a->ray_address) return fail_usage("--workers and --ray-address need --engine ray"), false;
    return true;
}

static bool check(const arguments *a) {
    if (a->seeds && a->sampling.options.seed) return fail_usage("--seed and --seeds: one of the two"), false;
    if (a->weights && !a->sampling.model.loras.count) return fail_usage("--lora-weights needs --lora"), false;
    if (!isnan(a->sampling.strength) && !a->sampling.init) return fail_usage("--strength needs --init"), false;
    if (a->sampling.options.diff_steps && !a->sampling.options.diff) return fail_usage("--diff-steps needs --diff (\"\" is all blocks)"), false;
    if (a->batch_size < 1) return fail_usage("--batch-size: expected a number from 1, found %d", (int)a->batch_size), false;
    if (!a->variants.count && !a->replaced.count && !a->sampling.model.loras.count)
        return fail_usage("sweep needs something that varies: --replace OLD=NEW, --variant PROMPT or --lora FILE"), false;
    return sampling_check(&a->sampling);
}

static bool check_prompts(const char *prompt, const sweep_lists *lists) {
    bool good = refuse_prompt_loras(prompt);
    for (int32_t i = 0; good && i < lists->variant_count; i++) good = refuse_prompt_loras(lists->variants[i]);
    return good;
}

static int check_and_sweep(arguments *a, sweep_lists *lists) {
    const udump_generate_options *o = &a->sampling.options;
    udump_image init = { 0 };
    int status = EXIT_BAD_INPUT;
    const char *model = a->sampling.model.path;
    if (!model || !*model || !o->prompt || !a->output)
        return fail_usage("sweep needs %s", !model || !*model ? "-m MODEL" : !o->prompt ? "-p PROMPT" : "-o DIR");
    bool good = check(a) && read_shard(a) && read_variants(&a->variants, &a->replaced, o->prompt, lists) && read_blocks(a->blocks, lists)
        && read_seeds(a->seeds, lists) && read_weights(a->weights, lists) && check_prompts(o->prompt, lists);
    if (good && sampling_resolve(&a->sampling, &init, &status)) status = create_and_run(a, lists);
    udump_image_free(&init);
    return status;
}

int command_sweep(int argc, char **argv) {
    arguments a = { .batch_size = 8 };
    cli_option options[OPTIONS_MOST];
    sampling_set_defaults(&a.sampling);
    size_t count = list_options(&a, options);
    if (parse_options(argc, argv, options, count, NULL, 0) < 0) return EXIT_BAD_INPUT;
    if (a.help) return print_help(options, count), finish_output(EXIT_DONE);
    if (!check_engine(&a)) return EXIT_BAD_INPUT;
    bool alone = !a.sampling.model.path && !a.sampling.options.prompt && !a.shard;
    if (a.collect) return a.output && alone ? collect(&a) : fail_usage("sweep --collect needs -o DIR, and no model, prompt or shard");
    sweep_lists *lists = calloc(1, sizeof *lists); /* too large for a stack */
    if (!lists) return fail_usage("out of memory");
    int status = check_and_sweep(&a, lists);
    free_lists(lists);
    free(lists);
    return status;
}
