/* unetdump report DIR */
#include <stdio.h>

#include "cli.h"

int command_report(int argc, char **argv) {
    bool help = false;
    const cli_option options[] = { { "--help", "-h", OPTION_FLAG, &help, "this text" } };
    const char *folder;
    int given = parse_options(argc, argv, options, 1, &folder, 1);
    if (given < 0) return EXIT_BAD_INPUT;
    if (help) {
        puts("usage: unetdump report DIR\n\nWrites DIR/report.html, one page with everything that a run wrote there; it opens without a server.");
        print_options(options, 1);
        return finish_output(EXIT_DONE);
    }
    if (given < 1) return fail_usage("report needs the folder of a run");
    udump_error error;
    if (udump_report_write(folder, &error)) return error.status == UDUMP_ERROR_FORMAT ? fail_input(&error) : fail_error(&error);
    printf("%s/report.html\n", folder);
    return finish_output(EXIT_DONE);
}
