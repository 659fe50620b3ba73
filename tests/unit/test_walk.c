/* The files of folders within folders: their order, how deep, links, and what cannot be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/walk.h"
#include "folders.h"

static char seen[1024];

static udump_status note(void *user, const char *path, const char *name) {
    (void)user;
    assert_string_equal(strrchr(path, '/') + 1, name);
    strcat(strcat(seen, path + strlen(base) + 1), " ");
    return strcmp(name, "stop") == 0 ? UDUMP_ERROR_CANCELLED : UDUMP_OK;
}

static const char *walked(const char *folder, int depth, bool follow, udump_status expected) {
    udump_error error = { 0 };
    seen[0] = 0;
    assert_int_equal(udump_walk(below(folder), depth, follow, note, NULL, &error), expected);
    return seen;
}

static void make_tree(void) {
    const char *folders[] = { "tree", "tree/b", "tree/b/deep", "away" }, *files[] = { "tree/a", "tree/c", "tree/.hidden", "tree/b/x", "tree/b/deep/y", "away/z" };
    char target[512];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) assert_int_equal(mkdir(below(folders[i]), 0777), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) write_text(below(files[i]), "");
    snprintf(target, sizeof target, "%s/away", base);
    assert_int_equal(symlink(target, below("tree/link")), 0);
    assert_int_equal(symlink("..", below("tree/b/loop")), 0);
    assert_int_equal(symlink("nowhere", below("tree/b/lost")), 0);
}

static void test_order(void **state) {
    (void)state;
    make_tree();
    assert_string_equal(walked("tree", 9, false, UDUMP_OK), "tree/.hidden tree/a tree/b/deep/y tree/b/x tree/c ");
    assert_string_equal(walked("tree", 9, true, UDUMP_OK), "tree/.hidden tree/a tree/b/deep/y tree/b/x tree/c tree/link/z ");
    assert_string_equal(walked("tree", 1, false, UDUMP_OK), "tree/.hidden tree/a tree/b/x tree/c ");
    assert_string_equal(walked("tree", 0, true, UDUMP_OK), "tree/.hidden tree/a tree/c ");
}

static void test_stop(void **state) {
    (void)state;
    write_text(below("tree/b/stop"), "");
    assert_string_equal(walked("tree", 9, false, UDUMP_ERROR_CANCELLED), "tree/.hidden tree/a tree/b/deep/y tree/b/stop ");
}

static void test_no_folder(void **state) {
    (void)state;
    udump_error error;
    assert_string_equal(walked("nowhere", 9, false, UDUMP_ERROR_FILE), "");
    assert_string_equal(walked("tree/a", 9, false, UDUMP_ERROR_FILE), "");
    udump_walk(below("tree/a"), 9, false, note, NULL, &error);
    assert_string_equal(error.what, "cannot be read: Not a directory");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_stop), cmocka_unit_test(test_no_folder) };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
