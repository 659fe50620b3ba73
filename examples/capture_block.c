/* Samples one image and watches one block: capture_block MODEL OUT.png */
#include <stdio.h>

#include "unetdump.h"

static udump_flow on_canvas(void *user, const udump_canvas *canvas) {
    printf("%s, step %d: %d x %d tiles of %d x %d pixels\n", canvas->place.block, (int)canvas->place.step, (int)canvas->columns,
        (int)canvas->rows, (int)canvas->tile_width_px, (int)canvas->tile_height_px);
    return udump_png_write(user, &canvas->picture, canvas->infotext, NULL) ? UDUMP_STOP : UDUMP_CONTINUE;
}

int main(int argc, char **argv) {
    udump_model *model = NULL;
    udump_session *session = NULL;
    udump_error error;
    if (argc != 3) return fputs("usage: capture_block MODEL OUT.png\n", stderr), 2;

    udump_generate_options options;
    udump_generate_options_init(&options);
    options.prompt = "a red circle on a blue background";
    options.width_px = options.height_px = 128;
    options.steps = 5;
    options.features = "OUT05"; /* one block... */
    options.feature_steps = "5"; /* ...at the last step */

    const udump_sink sink = { .struct_bytes = sizeof sink, .user = argv[2], .canvas = on_canvas };
    udump_status status = udump_model_load(argv[1], NULL, &model, &error);
    if (!status) status = udump_session_create(model, &session, &error);
    if (!status) status = udump_generate(session, &options, &sink, &error);
    if (status) {
        char line[1024];
        udump_error_format(&error, line, sizeof line);
        fprintf(stderr, "capture_block: %s\n", line);
    }
    udump_session_destroy(session);
    udump_model_release(model);
    return status != UDUMP_OK;
}
