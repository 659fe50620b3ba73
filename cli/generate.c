/* unetdump generate -m MODEL -p PROMPT -o DIR ... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "lora.h"
#include "progress.h"
#include "sampling.h"

enum { OPTIONS_MOST = 96, QUERIES_MOST = 64, BLOCKS_MOST = 256 };

/* What the options say, in the command's own types. */
typedef struct arguments {
    sampling_arguments sampling;
    const char *output, *lora_folder, *diff_with, *noise, *side, *average, *dump, *kinds, *queries;
    const char *from, *lora_blocks; /* of its picture; or NULL */
    bool no_canvas, force, resume, report, quiet, help;
    int32_t queries_px[2 * QUERIES_MOST];
} arguments;

static size_t list_options(arguments *a, cli_option *list) {
    udump_generate_options *o = &a->sampling.options;
    const cli_option all[] = {
        { "--output", "-o", OPTION_TEXT, &a->output, "the folder to write to" },
        { "--from", NULL, OPTION_TEXT, &a->from, "a PNG of the webui's or of ours: its own parameters, where no option says otherwise" },
        { "--seed", NULL, OPTION_SEED, &o->seed, "of the first image (0)" },
        { "--batch-size", NULL, OPTION_INTEGER, &o->batch_size, "images; image i has seed + i (1)" },
        { "--batch-count", NULL, OPTION_INTEGER, &o->batch_count, "batches, one after the other; seeds count on (1)" },
        { "--noise", NULL, OPTION_TEXT, &a->noise, "a .npy file, [batch, 4, H/8, W/8] of unit variance, instead" },
        { "--lora-dir", NULL, OPTION_TEXT, &a->lora_folder,
            "where the prompt's <lora:NAME:WEIGHT> are: NAME.safetensors, or what calls itself so, in DIR and below" },
        { "--features", NULL, OPTION_TEXT, &o->features, "blocks to show: IN00,M00,OUT00-OUT11(+2); \"\" is all" },
        { "--feature-steps", NULL, OPTION_TEXT, &o->feature_steps, "steps to show: 1,5,10-20(+5) (all)" },
        { "--attention", NULL, OPTION_TEXT, &o->attention, "blocks whose attention to show" },
        { "--attention-steps", NULL, OPTION_TEXT, &o->attention_steps, "at which steps (all)" },
        { "--attention-kind", NULL, OPTION_TEXT, &a->kinds, "k, qk, vqk, self, self-map (values only), commas between (qk)" },
        { "--attention-words", NULL, OPTION_TEXT, &o->attention_words,
            "words of the prompt: a map for each, and its heat over the picture" },
        { "--self-query", NULL, OPTION_TEXT, &a->queries, "self: where these pixels look: x,y;x,y or grid:4x4" },
        { "--diff", NULL, OPTION_TEXT, &o->diff, "blocks to show with the layer prompts minus without" },
        { "--diff-steps", NULL, OPTION_TEXT, &o->diff_steps, "at which steps (all)" },
        { "--diff-with", NULL, OPTION_TEXT, &a->diff_with,
            "what --diff compares with: prompt (no layer prompts), lora (no LoRAs) or another MODEL (prompt)" },
        { "--side", NULL, OPTION_TEXT, &a->side, "cond, uncond or both: whose maps (cond)" },
        { "--average", NULL, OPTION_TEXT, &a->average, "none, sum, 1-norm or 2-norm: also draw the average (none)" },
        { "--color", NULL, OPTION_TEXT, &a->sampling.style.color, "white-black, red-blue, rgb:R;G;B or hsl:H;S;L (hsl:(2+v)/3;1.0;0.5)" },
        { "--transform", NULL, OPTION_TEXT, &a->sampling.style.transform,
            "auto01, auto11 (with :canvas for all tiles together), linear:MIN,MAX or sigmoid:GAIN,OFFSET (auto01)" },
        { "--dump", NULL, OPTION_TEXT, &a->dump, "npy, bin or safetensors: also write the values" },
        { "--no-canvas", NULL, OPTION_FLAG, &a->no_canvas, "write no pictures of maps" },
        { "--report", NULL, OPTION_FLAG, &a->report, "also write report.html, one page with all of it" },
        { "--force", NULL, OPTION_FLAG, &a->force, "begin even where the disk may be too small" },
        { "--resume", NULL, OPTION_FLAG, &a->resume, "go on where a run of the same options was interrupted: what is whole stays" },
        { "--quiet", "-q", OPTION_FLAG, &a->quiet, "no progress" },
        { "--help", "-h", OPTION_FLAG, &a->help, "this text" },
    };
    size_t shared = sampling_list(&a->sampling, list);
    memcpy(list + shared, all, sizeof all);
    return shared + sizeof all / sizeof *all;
}

/* The options that are names. False after printing what is wrong. */
static bool resolve_names(arguments *a, udump_folder_options *folder) {
    static const char *const sides[] = { "cond", "uncond", "both" };
    int side = find_name(a->side, sides, 3);
    if (side < 0) return fail_usage("--side: expected cond, uncond or both, found '%s'", a->side), false;
    static const char *const dumps[] = { "", "npy", "bin", "safetensors" };
    int dump = a->dump ? find_name(a->dump, dumps, 4) : 0;
    if (a->dump && dump < 1) return fail_usage("--dump: expected npy, bin or safetensors, found '%s'", a->dump), false;
    a->sampling.options.side = (udump_side)side;
    a->sampling.options.no_canvas = a->no_canvas;
    a->sampling.options.want_tensors = a->dump != NULL;
    folder->dump = (udump_dump)dump;
    folder->force = a->force;
    folder->resume = a->resume;
    a->sampling.options.self_queries_px = a->queries_px;
    a->sampling.options.self_query_count = parse_queries(a->queries, a->sampling.options.width_px, a->sampling.options.height_px, a->queries_px, QUERIES_MOST);
    if (a->sampling.options.self_query_count < 0) return false;
    return parse_average(a->average, &a->sampling.style.average);
}

/* As sampling_check. */
static bool check_batches(const arguments *a) {
    const udump_generate_options *o = &a->sampling.options;
    if (o->batch_count < 1) return fail_usage("--batch-count: expected a number from 1, found %d", (int)o->batch_count), false;
    if (o->batch_size < 1) return fail_usage("--batch-size: expected a number from 1, found %d", (int)o->batch_size), false;
    return true;
}

static bool compares_models(const arguments *a) { return a->diff_with && strcmp(a->diff_with, "prompt") != 0; }

/* Options that would do nothing are mistakes. */
static bool check_idle(const arguments *a) {
    const udump_generate_options *o = &a->sampling.options;
    if (o->variation_seed && o->variation_strength == 0 && !a->from) return fail_usage("--variation-seed needs --variation-strength"), false;
    if (!isnan(a->sampling.strength) && !a->sampling.init) {
        if (a->from) fail_usage("--from: %s was made from another picture (img2img): give that with --init", a->from);
        else fail_usage("--strength needs --init");
        return false;
    }
    if (o->feature_steps && !o->features) return fail_usage("--feature-steps needs --features (\"\" is all blocks)"), false;
    if (o->diff_steps && !o->diff) return fail_usage("--diff-steps needs --diff (\"\" is all blocks)"), false;
    if (a->diff_with && !o->diff) return fail_usage("--diff-with needs --diff (\"\" is all blocks)"), false;
    if (compares_models(a) && strcmp(a->diff_with, "lora") == 0 && !a->sampling.model.loras.count) return fail_usage("--diff-with lora needs --lora"), false;
    const char *idle = o->attention_steps ? "--attention-steps"
        : a->kinds                        ? "--attention-kind"
        : o->attention_words              ? "--attention-words"
        : a->queries                      ? "--self-query"
                                          : NULL;
    if (idle && !o->attention) return fail_usage("%s needs --attention (\"\" is all blocks)", idle), false;
    if (o->attention_kinds & UDUMP_ATTEND_SELF_MAP && (!a->dump || strcmp(a->dump, "bin") == 0))
        return fail_usage("--attention-kind self-map is only written as values: it needs --dump npy or safetensors"), false;
    /* What of attention the webui extension's files hold: QK alone. */
    uint32_t kinds = o->attention_kinds ? o->attention_kinds : o->attention_words ? 0 : UDUMP_ATTEND_QK;
    bool in_bin = o->features || o->diff || !o->attention || kinds & UDUMP_ATTEND_QK;
    if (a->dump && strcmp(a->dump, "bin") == 0 && !in_bin)
        return fail_usage("--dump bin holds features, differences and the attention's qk, and none of these is asked for"), false;
    if (a->no_canvas && !a->dump && !o->diff && (o->features || o->attention)) return fail_usage("--no-canvas needs --dump: nothing of the maps would be written"), false;
    idle = a->dump ? "--dump" : a->no_canvas ? "--no-canvas" : NULL;
    if (idle && !o->features && !o->attention && !o->diff)
        return fail_usage("%s needs --features, --attention or --diff (\"\" is all blocks)", idle), false;
    return true;
}

static int run(udump_session *session, const arguments *a, const udump_folder_options *folder_options) {
    udump_error error;
    udump_folder *folder = NULL;
    sampling_watch();
    if (udump_folder_open(a->output, folder_options, &folder, &error)) return fail_error(&error);
    progress_bar bar;
    udump_sink sink = progress_wrap(&bar, folder, &a->sampling.options, folder_options->dump, a->quiet);
    udump_status status = udump_generate(session, &a->sampling.options, &sink, &error);
    progress_end(&bar);
    if (udump_session_bad_values(session) > 0)
        warn("%lld values of the decoded pictures are no numbers (NaN or infinite), and drawn black or white",
            (long long)udump_session_bad_values(session));
    udump_error close_error;
    udump_status close_status = udump_folder_close(folder, status == UDUMP_OK, &close_error);
    /* A writer that failed stopped the run: its error is the cause, the run's only says that it was stopped. */
    if (close_status && (!status || status == UDUMP_ERROR_CANCELLED)) return fail_error(&close_error);
    if (!status && a->report) status = udump_report_write(a->output, &error);
    return status ? sampling_fail(&a->sampling, &error) : EXIT_DONE;
}

/* The same model without LoRAs, or another one with them. */
static udump_model *load_other(const arguments *a, int *status) {
    model_arguments other = a->sampling.model;
    if (strcmp(a->diff_with, "lora") == 0) other.loras.count = 0;
    else other.path = a->diff_with;
    return load_model(&other, status);
}

/* Whether any of the blocks that --attention names has some. Specs that do not parse are the run's to refuse. */
static bool check_attention(const arguments *a, const udump_model *model) {
    const char *spec = a->sampling.options.attention;
    uint8_t selected[BLOCKS_MOST];
    udump_block_info block;
    if (!spec || udump_layers_parse(model, spec, selected, BLOCKS_MOST, NULL)) return true;
    for (int32_t i = 0; !udump_model_get_block(model, i, &block, NULL); i++)
        if (selected[i] && block.attention_depth) return true;
    return fail_usage("--attention: none of these blocks has any: %s", spec), false;
}

static int generate(arguments *a, const udump_folder_options *folder_options) {
    udump_array noise = { 0 };
    udump_error error;
    if (a->noise && udump_npy_read(a->noise, &noise, &error)) return fail_input(&error);
    if (a->noise) a->sampling.options.noise = &noise.view;
    int status;
    udump_session *session = NULL;
    udump_model *model = load_model(&a->sampling.model, &status), *other = model && compares_models(a) ? load_other(a, &status) : NULL;
    if (model && (other || !compares_models(a))) {
        status = EXIT_BAD_INPUT;
        if (check_attention(a, model)) {
            bool failed = udump_session_create(model, &session, &error) || (other && udump_session_set_other(session, other, &error));
            status = failed ? fail_error(&error) : run(session, a, folder_options);
        }
    }
    udump_session_destroy(session);
    udump_model_release(other);
    udump_model_release(model);
    udump_array_free(&noise);
    return status;
}

static void set_defaults(arguments *a) {
    *a = (arguments){ .side = "cond", .average = "none" };
    sampling_set_defaults(&a->sampling);
}

static double number_or_none(const double *number) { return number ? *number : NAN; }

/* A picture's own parameters become the defaults. */
static int take_parameters(arguments *a, udump_parameters *parameters) {
    udump_error error;
    set_defaults(a);
    if (udump_parameters_apply(parameters, &a->sampling.options, &error)) return fail_option("--from", &error, NULL);
    a->lora_blocks = udump_parameters_get(parameters, "Lora block weights");
    if (a->sampling.options.cfg != 0) a->sampling.cfg = (double)a->sampling.options.cfg;
    a->sampling.eta = number_or_none(a->sampling.options.eta);
    a->sampling.s_noise = number_or_none(a->sampling.options.s_noise);
    a->sampling.strength = number_or_none(a->sampling.options.strength);
    if (a->sampling.options.rng == UDUMP_RNG_CPU) a->sampling.rng = "cpu";
    return EXIT_DONE;
}

static int check_and_generate(arguments *a) {
    udump_folder_options folder_options;
    udump_image init = { 0 };
    int status = EXIT_BAD_INPUT;
    udump_folder_options_init(&folder_options);
    const char *model = a->sampling.model.path;
    if (!model || !*model || !a->sampling.options.prompt || !a->output)
        return fail_usage("generate needs %s", !model || !*model ? "-m MODEL" : !a->sampling.options.prompt ? "-p PROMPT" : "-o DIR");
    prompt_loras taken;
    if (!take_prompt_loras(a->sampling.options.prompt, a->lora_folder, a->lora_blocks, &taken, &a->sampling.model.loras)
        || !sampling_check(&a->sampling) || !check_batches(a))
        return free_prompt_loras(&taken), EXIT_BAD_INPUT;
    a->sampling.options.prompt = udump_lora_tags_prompt(taken.tags);
    if (parse_kinds(a->kinds, &a->sampling.options.attention_kinds) && check_idle(a) && sampling_resolve(&a->sampling, &init, &status) && resolve_names(a, &folder_options)) {
        status = generate(a, &folder_options);
    }
    udump_image_free(&init);
    free_prompt_loras(&taken);
    return status;
}

static bool lacks_noise(const arguments *a, const udump_parameters *parameters) {
    const char *rng = udump_parameters_get(parameters, "RNG");
    bool lacks = rng && strcmp(rng, "given") == 0 && !a->noise;
    if (lacks) fail_usage("--from: %s was made from noise that was given: give that with --noise", a->from);
    return lacks;
}

int command_generate(int argc, char **argv) {
    arguments a;
    int status;
    set_defaults(&a);
    cli_option options[OPTIONS_MOST];
    size_t count = list_options(&a, options);
    if (parse_options(argc, argv, options, count, NULL, 0) < 0) return EXIT_BAD_INPUT;
    if (a.help) {
        puts("usage: unetdump generate -m MODEL -p PROMPT -o DIR [options]\n"
             "       unetdump generate -m MODEL --from PICTURE.png -o DIR [options]\n");
        print_options(options, count);
        return finish_output(EXIT_DONE);
    }
    if (!a.from) return check_and_generate(&a);
    udump_parameters *parameters = load_parameters(a.from, &status);
    if (!parameters) return status;
    status = take_parameters(&a, parameters);
    if (status == EXIT_DONE && (parse_options(argc, argv, options, count, NULL, 0) < 0 || lacks_noise(&a, parameters))) status = EXIT_BAD_INPUT;
    if (status == EXIT_DONE) {
        check_picture_files(a.from, parameters, &a.sampling.model);
        status = check_and_generate(&a);
    }
    udump_parameters_free(parameters);
    return status;
}
