/* The grid of tiles: the vectors, and sizes at the limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "render/grid.h"

static int64_t number_at(const json_t *array, size_t i) { return json_integer_value(json_array_get(array, i)); }

static void vectors_agree(void **state) {
    (void)state;
    json_t *cases = json_load_file(TEST_DATA "/vectors/grid.json", 0, NULL), *entry;
    size_t i, count = json_array_size(cases);
    assert_true(count > 100);
    json_array_foreach(cases, i, entry) {
        json_t *tile = json_object_get(entry, "tile"), *expected = json_object_get(entry, "grid");
        int64_t channels = json_integer_value(json_object_get(entry, "channels"));
        udump_grid grid;
        assert_int_equal(udump_grid_make(number_at(tile, 0), number_at(tile, 1), channels, 3, &grid, NULL), UDUMP_OK);
        assert_int_equal(grid.columns, number_at(expected, 0));
        assert_int_equal(grid.rows, number_at(expected, 1));
        assert_int_equal((int64_t)grid.columns * grid.rows, channels);
        assert_int_equal(grid.channels, 3);
    }
    json_decref(cases);
}

static void sides_count_the_lines_between_tiles(void **state) {
    (void)state;
    udump_grid grid;
    assert_int_equal(udump_grid_make(6, 4, 12, 1, &grid, NULL), UDUMP_OK);
    assert_int_equal(udump_grid_width_px(&grid), 13);
    assert_int_equal(udump_grid_height_px(&grid), 29);
    assert_int_equal(udump_grid_make(7, 5, 1, 1, &grid, NULL), UDUMP_OK);
    assert_int_equal(udump_grid_width_px(&grid), 7);
    assert_int_equal(udump_grid_height_px(&grid), 5);
}

static void every_tile_has_a_cell(void **state) {
    (void)state;
    for (int64_t tiles = 1; tiles < 700; tiles++)
        for (int64_t w = 1; w <= 64; w += 9)
            for (int64_t h = 1; h <= 64; h += 7) {
                udump_grid grid;
                assert_int_equal(udump_grid_make(w, h, tiles, 3, &grid, NULL), UDUMP_OK);
                assert_int_equal((int64_t)grid.columns * grid.rows, tiles);
            }
}

static void limits_hold(void **state) {
    (void)state;
    udump_grid grid;
    udump_error error;
    assert_int_equal(udump_grid_make(UDUMP_PICTURE_SIDE_PX, UDUMP_PICTURE_SIDE_PX, 1, 3, &grid, NULL), UDUMP_OK);
    assert_int_equal(udump_grid_width_px(&grid), UDUMP_PICTURE_SIDE_PX);
    assert_int_equal(udump_grid_make(UDUMP_PICTURE_SIDE_PX, UDUMP_PICTURE_SIDE_PX, 2, 3, &grid, &error), UDUMP_ERROR_ARGUMENT);
    assert_non_null(strstr(error.what, "1000000 pixels"));
    assert_string_equal(error.where, "canvas");
    const int64_t bad[][3] = { { 0, 4, 4 }, { 4, 0, 4 }, { 4, 4, 0 }, { -1, 4, 4 }, { 4, 4, -8 }, { INT64_MAX, 1, 1 }, { 1, INT64_MAX, 1 },
        { 1, 1, INT64_MAX }, { UDUMP_PICTURE_SIDE_PX, 1, INT64_MAX }, { UDUMP_PICTURE_SIDE_PX + 1, 1, 1 }, { 1, 1, 1000003 /* prime */ },
        { 1, 1, INT64_MIN }, { 1000000, 1000000, 1000000000000 } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(udump_grid_make(bad[i][0], bad[i][1], bad[i][2], 3, &grid, &error), UDUMP_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_agree),
        cmocka_unit_test(sides_count_the_lines_between_tiles),
        cmocka_unit_test(every_tile_has_a_cell),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
