/* Any bytes as a folder's manifest.json, tokens.json and diff.csv, read back for the report: refused with a reason, or a page, which holds none of
 * what lies outside of the folder. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unetdump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "what lies outside of the folder";
static const char *const names[] = { "manifest.json", "tokens.json", "diff.csv", "report.html", "../outside.png" };
static char folder[64], paths[sizeof names / sizeof *names][96];

static void save(const char *path, const void *data, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd)) abort();
}

static void clean_up(void) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(paths[i]);
    rmdir(folder);
    folder[strlen(folder) - 2] = '\0';
    rmdir(folder);
}

static void set_up(void) {
    char outer[] = "/dev/shm/udump-fuzz-XXXXXX";
    if (!mkdtemp(outer)) abort();
    snprintf(folder, sizeof folder, "%s/in", outer);
    if (mkdir(folder, 0700)) abort();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
    save(paths[4], secret, sizeof secret - 1);
    atexit(clean_up);
}

/* The secret's first bytes as a page has pictures. */
static const char encoded[] = "d2hhdCBsaWVz";

static void check_page(void) {
    static char page[1 << 20];
    int fd = open(paths[3], O_RDONLY | O_CLOEXEC);
    if (fd < 0) abort();
    ssize_t size = read(fd, page, sizeof page - 1);
    close(fd);
    if (size <= 0) abort();
    page[size] = '\0';
    if (strstr(page, encoded)) abort();
    unlink(paths[3]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    udump_error error = { 0 };
    if (!*folder) set_up();
    if (memmem(data, size, encoded, strlen(encoded))) return 0; /* a page may well have what the manifest itself says */
    const uint8_t *second = memchr(data, '\n', size); /* the first line; what follows is what lies beside it */
    size_t first = second ? (size_t)(second - data) : size;
    save(paths[0], data, first);
    save(paths[1], data + first, size - first);
    save(paths[2], data + first, size - first);
    if (!udump_report_write(folder, &error)) check_page();
    else if (error.status != UDUMP_ERROR_FORMAT || !error.what[0]) abort();
    return 0;
}
