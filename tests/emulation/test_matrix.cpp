/* The matrix units' layouts, against the PTX ISA's own formulas ("Matrix Fragments for mma.m16n8k16 with floating point type", and those of ldmatrix): which element is
 * in which lane's which register. On the device that is the hardware's business; the emulated units must agree with it, or what is tested on them proves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include "copies.cuh"
#include "matrix.cuh"

enum { M = 16, N = 8, K = 16 };

/* Element i of a lane's fragment: "groupID = %laneid >> 2, threadID_in_group = %laneid % 4". */
struct at {
    int row, column;
};
static at element_a(int lane, int i) { return { lane / 4 + ((i >= 2 && i < 4) || i >= 6 ? 8 : 0), lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0) }; }
static at element_b(int lane, int i) { return { lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0), lane / 4 }; }
static at element_c(int lane, int i) { return { lane / 4 + (i >= 2 ? 8 : 0), lane % 4 * 2 + i % 2 }; }

static float a[M][K], b[K][N], c[M][N], result[M][N];

template <typename T> static uint32_t pair(float low, float high) {
    T values[2] = { udump_from<T>(low), udump_from<T>(high) };
    uint32_t bits;
    memcpy(&bits, values, sizeof bits);
    return bits;
}

template <typename T> static void multiply(void) {
    int lane = (int)threadIdx.x;
    uint32_t left[4], right[2];
    float sums[4];
    for (int i = 0; i < 8; i += 2) left[i / 2] = pair<T>(a[element_a(lane, i).row][element_a(lane, i).column], a[element_a(lane, i + 1).row][element_a(lane, i + 1).column]);
    for (int i = 0; i < 4; i += 2) right[i / 2] = pair<T>(b[element_b(lane, i).row][element_b(lane, i).column], b[element_b(lane, i + 1).row][element_b(lane, i + 1).column]);
    for (int i = 0; i < 4; i++) sums[i] = c[element_c(lane, i).row][element_c(lane, i).column];
    udump_mma<T>(sums, left, right);
    for (int i = 0; i < 4; i++) result[element_c(lane, i).row][element_c(lane, i).column] = sums[i];
}

static cudaStream_t stream;

/* Small whole numbers: sums are exact in any order. */
template <typename T> static void check_product(void) {
    for (int i = 0; i < M; i++)
        for (int j = 0; j < K; j++) a[i][j] = (float)((i * 7 + j * 3) % 11 - 5);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < N; j++) b[i][j] = (float)((i * 5 + j * 13) % 9 - 4);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) c[i][j] = (float)(i * N + j);
    udump_emulation_launch(1, UDUMP_WARP, 0, stream, multiply<T>);
    cudaStreamSynchronize(stream);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            float expected = c[i][j];
            for (int k = 0; k < K; k++) expected += a[i][k] * b[k][j];
            assert_true(result[i][j] == expected);
        }
}

static void products(void **state) {
    (void)state;
    check_product<udump_f16>();
    check_product<udump_bf16>();
}

/* Four matrices of 8 x 8 in rows that lie 9 pieces of 16 bytes apart, in no order that a mistake would keep. */
enum { ROW = 72 };
alignas(16) static uint16_t matrices[32 * ROW];
static uint32_t loaded[2][UDUMP_WARP][4];
static int row_of(int matrix, int row) { return (matrix * 8 + row) * 5 % 32; }

static void load(void) {
    int lane = (int)threadIdx.x;
    const uint16_t *row = matrices + row_of(lane / 8, lane % 8) * ROW; /* "threads 0-7: the first matrix's rows, 8-15: the second's ..." */
    udump_load_matrices(loaded[0][lane], row);
    udump_load_matrices_transposed(loaded[1][lane], row);
}

static void loads(void **state) {
    (void)state;
    for (int i = 0; i < 32 * ROW; i++) matrices[i] = (uint16_t)i;
    udump_emulation_launch(1, UDUMP_WARP, 0, stream, load);
    cudaStreamSynchronize(stream);
    for (int lane = 0; lane < UDUMP_WARP; lane++)
        for (int i = 0; i < 8; i++) { /* matrix i / 2: a lane has two neighbours of row lane / 4; transposed, of the column */
            int matrix = i / 2, line = lane / 4, place = lane % 4 * 2 + i % 2, shift = 16 * (i % 2);
            assert_int_equal(loaded[0][lane][matrix] >> shift & 0xFFFF, matrices[row_of(matrix, line) * ROW + place]);
            assert_int_equal(loaded[1][lane][matrix] >> shift & 0xFFFF, matrices[row_of(matrix, place) * ROW + line]);
        }
}

/* Copies in two groups: nothing is there before it was waited for; zeros where nothing was to be copied. */
alignas(16) static unsigned char source[UDUMP_WARP][16], copied[2][UDUMP_WARP][16];
static int seen[3][UDUMP_WARP][2];

static void look(int when) {
    for (int i = 0; i < 2; i++) seen[when][threadIdx.x][i] = copied[i][threadIdx.x][15];
}
static void copy(void) {
    int lane = (int)threadIdx.x;
    for (int i = 0; i < 2; i++) {
        udump_copy(copied[i][lane], source[lane], i == 0 || lane % 2);
        udump_copy_commit();
    }
    look(0);
    udump_copy_wait<1>();
    look(1);
    udump_copy_wait<0>();
    look(2);
}

static void copies(void **state) {
    (void)state;
    for (int i = 0; i < UDUMP_WARP; i++) memset(source[i], i + 1, 16);
    memset(copied, 0xFF, sizeof copied);
    udump_emulation_launch(1, UDUMP_WARP, 0, stream, copy);
    cudaStreamSynchronize(stream);
    for (int lane = 0; lane < UDUMP_WARP; lane++)
        for (int when = 0; when < 3; when++) {
            assert_int_equal(seen[when][lane][0], when < 1 ? 0xFF : lane + 1);
            assert_int_equal(seen[when][lane][1], when < 2 ? 0xFF : lane % 2 ? lane + 1 : 0);
        }
}

int main(void) {
    const CMUnitTest tests[] = { cmocka_unit_test(products), cmocka_unit_test(loads), cmocka_unit_test(copies) };
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cudaStreamDestroy(stream);
    return failed;
}
