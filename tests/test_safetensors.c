/* safetensors files: every type read back exactly, hostile headers refused by the tensor's name,
 * and the tensors of a file matched with those of a net. The files are put together here byte by
 * byte, not by the writer under test. */
#include "support.h"

#include <math.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/natural.h"
#include "data/safetensors.h"
#include "folder.h"
#include "net/net.h"
#include "problems.h"

/* FOLDER/name: the header's length, the header, the numbers. */
static const char *make_file(const char *name, const char *header, const void *numbers,
                             size_t bytes)
{
    static unsigned char file[1 << 18];
    uint64_t length = strlen(header);
    assert_true(8 + length + bytes <= sizeof file);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    if (bytes) memcpy(file + 8 + length, numbers, bytes);
    folder_write(name, file, 8 + length + bytes);
    return folder_path(name);
}

/* The numbers of tensor "x" [count] of this dtype. */
static void read_x(const char *dtype, size_t count, const void *numbers, size_t bytes, double *out)
{
    char header[128];
    gm_safetensors *file;
    gm_error err = {0};
    snprintf(header, sizeof header,
             "{\"x\":{\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}  ", dtype, count,
             bytes);
    const char *path = make_file("x.safetensors", header, numbers, bytes);
    expect_ok(gm_safetensors_open(path, &file, &err), &err);
    assert_int_equal(file->tensors, 1);
    assert_true(file->tensor->count == count && file->tensor->reads);
    assert_string_equal(gm_safetensor_type(file->tensor), dtype);
    expect_ok(gm_safetensors_read(file, 0, out, &err), &err);
    gm_safetensors_close(file);
}

static void test_types(void **state)
{
    (void)state;
    static const double f64[] = {-1.5, 0x1p-1074, 0x1.fffffffffffffp1023};
    static const float f32[] = {-1.5f, 0x1p-149f, 0x1.fffffep127f};
    double out[3];
    read_x("F64", 3, f64, sizeof f64, out);
    assert_memory_equal(out, f64, sizeof f64);
    read_x("F32", 3, f32, sizeof f32, out);
    for (int i = 0; i < 3; i++) {
        assert_true(out[i] == (double)f32[i]);
    }
}

/* Every finite number of both 16-bit types, the bits of the float put together another way. */
static void test_every_short_number(void **state)
{
    (void)state;
    static uint16_t half[65536], brain[65536];
    static double out[65536];
    size_t halves = 0, brains = 0;
    for (unsigned bits = 0; bits < 65536; bits++) {
        if ((bits & 0x7c00) != 0x7c00) half[halves++] = (uint16_t)bits;
        if ((bits & 0x7f80) != 0x7f80) brain[brains++] = (uint16_t)bits;
    }
    read_x("F16", halves, half, 2 * halves, out);
    for (size_t i = 0; i < halves; i++) {
        double fraction = (half[i] & 1023) / 1024.0, sign = half[i] & 0x8000 ? -1 : 1;
        int exponent = half[i] >> 10 & 31;
        double wanted = exponent ? (1 + fraction) * pow(2, exponent - 15) : fraction * pow(2, -14);
        assert_true(out[i] == sign * wanted && !signbit(out[i]) == (sign > 0));
    }
    read_x("BF16", brains, brain, 2 * brains, out);
    for (size_t i = 0; i < brains; i++) {
        double fraction = (brain[i] & 127) / 128.0, sign = brain[i] & 0x8000 ? -1 : 1;
        int exponent = brain[i] >> 7 & 255;
        double wanted =
            exponent ? (1 + fraction) * pow(2, exponent - 127) : fraction * pow(2, -126);
        assert_true(out[i] == sign * wanted && !signbit(out[i]) == (sign > 0));
    }
}

static void assert_refused(const char *path, const char *part)
{
    gm_safetensors *file = (gm_safetensors *)1;
    gm_error err = {0};
    gm_status status = gm_safetensors_open(path, &file, &err);
    if (status != GM_ERR_INPUT || !strstr(err.message, part) || !strstr(err.message, path))
        fail_msg("%s: status %d, message \"%s\" (expected \"%s\")", path, (int)status, err.message,
                 part);
    assert_null(file);
}

#define TENSOR(dtype, shape, begin, end)                                                           \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void test_hostile_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t bytes;
        const char *part;
    } cases[] = {
        {"", 0, "expected a JSON object"},
        {"[]", 0, "expected a JSON object"},
        {"{\"a\":1,", 0, "expected a JSON object, found"},
        {"{\"a\":" TENSOR("F32", "[1]", 0, 4) ",\"a\":" TENSOR("F32", "[1]", 4, 8) "}", 8,
         "duplicate object key"},
        {"{\"a\":7}", 0, "tensor 'a': expected an object"},
        {"{\"a\":" TENSOR("C64", "[1]", 0, 8) "}", 8, "dtype 'C64', expected F64"},
        {"{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype as a string"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape as a list"},
        {"{\"a\":" TENSOR("F32", "[-1]", 0, 4) "}", 4, "shape as a list of whole"},
        {"{\"a\":" TENSOR("F32", "[1.0]", 0, 4) "}", 4, "shape as a list of whole"},
        {"{\"a\":" TENSOR("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "9 dimensions"},
        {"{\"a\":" TENSOR("F32", "[4294967296,4294967296,4]", 0, 0) "}", 0, "does not overflow"},
        {"{\"a\":" TENSOR("F32", "[0,9223372036854775807,4]", 0, 0) "}", 0, "does not overflow"},
        {"{\"a\":" TENSOR("F64", "[4611686018427387904]", 0, 0) "}", 0, "data_offsets hold 0"},
        {"{\"a\":" TENSOR("F32", "[99999999999999999999]", 0, 4) "}", 4, "too big integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "[begin, end]"},
        {"{\"a\":" TENSOR("F32", "[1]", 4, 0) "}", 4, "[begin, end]"},
        {"{\"a\":" TENSOR("F32", "[1]", -4, 0) "}", 4, "[begin, end]"},
        {"{\"a\":" TENSOR("F32", "[2]", 0, 4) "}", 4, "data_offsets hold 4 bytes, expected"},
        {"{\"a\":" TENSOR("F32", "[2]", 0, 8) "}", 4,
         "tensor 'a' ends at byte 8, the file after 4"},
        {"{\"a\":" TENSOR("F32", "[1]", 0, 4) ",\"b\":" TENSOR("F32", "[1]", 0, 4) "}", 8,
         "tensor 'b' begins at byte 0, expected 4: tensors overlap"},
        {"{\"a\":" TENSOR("F32", "[1]", 0, 4) ",\"b\":" TENSOR("F32", "[1]", 8, 12) "}", 12,
         "expected 4: tensors leave a gap"},
        {"{\"a\":" TENSOR("F32", "[1]", 0, 4) "}", 7, "3 bytes follow the last of its 1 tensors"},
        {"{\"a\":" TENSOR("F32", "[1]", 9223372036854775803, 9223372036854775807) "}", 4,
         "the file after 4"},
    };
    static const unsigned char zeros[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_refused(make_file("h.safetensors", cases[i].header, zeros, cases[i].bytes),
                       cases[i].part);
    }
    static const unsigned char longer[16] = {200}, huge[16] = {1, 225, 245, 5},
                               endless[16] = {255, 255, 255, 255, 255, 255, 255, 255};
    folder_write("h.safetensors", longer, 16);
    assert_refused(folder_path("h.safetensors"), "a header of 200 bytes, expected at most 8");
    folder_write("h.safetensors", endless, 16);
    assert_refused(folder_path("h.safetensors"), "a header of 18446744073709551615 bytes");
    folder_write("h.safetensors", longer, 5);
    assert_refused(folder_path("h.safetensors"), "5 bytes, expected at least 8");
    /* 100,000,001 bytes of header, in a file that long but sparse. */
    folder_write("h.safetensors", huge, 16);
    assert_int_equal(truncate(folder_path("h.safetensors"), 200000000), 0);
    assert_refused(folder_path("h.safetensors"), "bytes, expected at most 100000000");
}

static void test_numbers_refused(void **state)
{
    (void)state;
    static const float bad[] = {1, INFINITY, NAN};
    static const char header[] = "{\"good\":" TENSOR("F32", "[]", 0, 4) ",\"inf\":" TENSOR(
        "F32", "[1]", 4, 8) ",\"nan\":" TENSOR("BF16", "[2]", 8,
                                               12) ",\"whole\":" TENSOR("I64", "[0]", 12, 12) "}";
    double out[2];
    gm_error err = {0};
    gm_safetensors *file;
    const char *path = make_file("n.safetensors", header, bad, sizeof bad);
    expect_ok(gm_safetensors_open(path, &file, &err), &err);
    assert_int_equal(file->tensors, 4);
    assert_true(gm_safetensors_find(file, "nan") == 2 && gm_safetensors_find(file, "x") == 4);
    expect_ok(gm_safetensors_read(file, 0, out, &err), &err);
    assert_true(out[0] == 1 && file->tensor[0].rank == 0);
    assert_int_equal(gm_safetensors_read(file, 1, out, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "tensor 'inf': element 0 (counted from 0) is infinite"));
    assert_int_equal(gm_safetensors_read(file, 2, out, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "tensor 'nan': element 1 (counted from 0) is NaN"));
    assert_int_equal(gm_safetensors_read(file, 3, out, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "is of dtype I64, expected F64, F32, F16 or BF16"));
    gm_safetensors_close(file);
    assert_int_equal(gm_safetensors_open(folder_path("none"), &file, &err), GM_ERR_IO);
    assert_int_equal(gm_safetensors_open(folder, &file, &err), GM_ERR_IO);
}

/* ---- nets ---- */

static gm_net *make_net(const char *spec)
{
    gm_net *net;
    gm_error err = {0};
    expect_ok(gm_net_from_spec(spec, NULL, 0, &net, &err), &err);
    return net;
}

/* What is written is read back to the bit, in F32 where that suffices; cut short anywhere, or with
 * any bit of its header turned, it is refused or still whole. */
static void test_written_file(void **state)
{
    (void)state;
    gm_net *net = make_net("mlp:3-2-2");
    enum { P = 14 };
    double theta[P], back[P];
    gm_error err = {0}, note;
    const char *path = folder_path("w.safetensors");
    for (int wide = 0; wide <= 1; wide++) {
        for (int i = 0; i < P; i++) {
            theta[i] = i - 5.5;
        }
        if (wide) theta[3] = 0.1;
        expect_ok(gm_net_write_parameters(net, path, theta, &err), &err);
        expect_ok(gm_net_read_parameters(net, path, back, &note, &err), &err);
        assert_memory_equal(back, theta, sizeof theta);
        assert_string_equal(note.message, "");
    }
    static unsigned char bytes[4096];
    FILE *stream = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, stream), start = size - P * sizeof *theta;
    fclose(stream);
    assert_true(start % 8 == 0);
    assert_memory_equal(bytes + start, theta, sizeof theta);
    for (size_t cut = 0; cut < size; cut++) {
        folder_write("cut.safetensors", bytes, cut);
        assert_int_equal(
            gm_net_read_parameters(net, folder_path("cut.safetensors"), back, NULL, &err),
            GM_ERR_INPUT);
    }
    for (size_t bit = 0; bit < 8 * start; bit += 3) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        folder_write("cut.safetensors", bytes, size);
        gm_net_read_parameters(net, folder_path("cut.safetensors"), back, NULL, &err);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    gm_net_free(net);
}

/* A tensor in a file of floats: name, shape as JSON, how many numbers, the first of them. */
typedef struct piece {
    const char *name, *shape;
    int count, first;
} piece;

static const char *make_pieces(const char *name, const piece *list)
{
    char header[2048] = "{";
    float numbers[256];
    int count = 0;
    for (const piece *p = list; p->name; p++) {
        size_t used = strlen(header);
        snprintf(header + used, sizeof header - used,
                 "%s\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%d,%d]}",
                 p == list ? "" : ",", p->name, p->shape, 4 * count, 4 * (count + p->count));
        for (int i = 0; i < p->count; i++) {
            numbers[count++] = (float)(p->first + i);
        }
    }
    strcat(header, "}");
    return make_file(name, header, numbers, (size_t)count * sizeof *numbers);
}

/* Whatever their order and names, theta must count from 0. */
static void assert_counts(const gm_net *net, const piece *list)
{
    double theta[64];
    gm_error err = {0}, note;
    const char *path = make_pieces("p.safetensors", list);
    expect_ok(gm_net_read_parameters(net, path, theta, &note, &err), &err);
    assert_string_equal(note.message, "");
    for (size_t i = 0; i < gm_net_parameters(net); i++) {
        if (theta[i] != (double)i) fail_msg("number %zu is %g", i, theta[i]);
    }
}

static void assert_unfit(const gm_net *net, const piece *list, const char *part)
{
    double theta[64];
    gm_error err = {0};
    const char *path = make_pieces("p.safetensors", list);
    assert_int_equal(gm_net_read_parameters(net, path, theta, NULL, &err), GM_ERR_INPUT);
    if (!strstr(err.message, part)) fail_msg("\"%s\", expected \"%s\"", err.message, part);
}

static void test_order_and_shape(void **state)
{
    (void)state;
    gm_net *net = make_net("mlp:3-2-2");
    /* Our names in any order; others as they stand; and alphabetical, by safetensors' library. */
    assert_counts(net, (piece[]){{"dense2.bias", "[2]", 2, 12},
                                 {"dense1.bias", "[2]", 2, 6},
                                 {"dense2.weight", "[2,2]", 4, 8},
                                 {"dense1.weight", "[2,3]", 6, 0},
                                 {0}});
    assert_counts(net, (piece[]){{"z.weight", "[2,3]", 6, 0},
                                 {"z.bias", "[2]", 2, 6},
                                 {"a.weight", "[2,2]", 4, 8},
                                 {"a.bias", "[2]", 2, 12},
                                 {0}});
    assert_counts(net, (piece[]){{"10.bias", "[2]", 2, 12},
                                 {"10.weight", "[2,2]", 4, 8},
                                 {"9.bias", "[2]", 2, 6},
                                 {"9.weight", "[2,3]", 6, 0},
                                 {0}});
    assert_unfit(net, (piece[]){{"0.weight", "[3,2]", 6, 0}, {"0.bias", "[2]", 2, 6}, {0}},
                 "tensor '0.weight' has the shape [3, 2], expected [2, 3], that of dense1.weight");
    assert_unfit(net, (piece[]){{"0.weight", "[2,3]", 6, 0}, {"0.bias", "[2]", 2, 6}, {0}},
                 "2 floating tensors, expected 4, those of mlp:3-2-2; the first missing one is "
                 "'dense2.weight'");
    gm_net_free(net);
    net = make_net("mlp:3-2");
    assert_unfit(
        net,
        (piece[]){{"0.weight", "[2,3]", 6, 0}, {"0.bias", "[2]", 2, 6}, {"ema", "[1]", 1, 0}, {0}},
        "the first beyond them is 'ema'");
    gm_net_free(net);
    /* Equal shapes everywhere: only the order of the names tells. */
    net = make_net("mlp:2-2-2-2,bias=no");
    assert_counts(net, (piece[]){{"0.weight", "[2,2]", 4, 0},
                                 {"10.weight", "[2,2]", 4, 8},
                                 {"2.weight", "[2,2]", 4, 4},
                                 {0}});
    assert_counts(net, (piece[]){{"stem.weight", "[2,2]", 4, 0},
                                 {"head10.weight", "[2,2]", 4, 4},
                                 {"head9.weight", "[2,2]", 4, 8},
                                 {0}});
    gm_net_free(net);
}

/* A net whose tensors have names of their own takes these and nothing else. */
static void test_names_of_its_own(void **state)
{
    (void)state;
    gm_net *net = make_net("mlp:3-2");
    gm_error err = {0}, note;
    double theta[8];
    expect_ok(gm_net_name_tensor(net, 1, 0, "blocks.0.attn.qkv.weight", &err), &err);
    expect_ok(gm_net_name_tensor(net, 1, 1, "blocks.0.attn.qkv.bias", &err), &err);
    assert_string_equal(gm_net_tensor_at(net, 0).name, "blocks.0.attn.qkv.weight");
    assert_counts(net, (piece[]){{"blocks.0.attn.qkv.bias", "[2]", 2, 6},
                                 {"blocks.0.attn.qkv.weight", "[2,3]", 6, 0},
                                 {0}});
    assert_unfit(net,
                 (piece[]){{"dense1.weight", "[2,3]", 6, 0}, {"dense1.bias", "[2]", 2, 6}, {0}},
                 "no tensor 'blocks.0.attn.qkv.weight', expected one of shape [2, 3]; found 2, "
                 "from 'dense1.weight' to 'dense1.bias'");
    assert_unfit(net,
                 (piece[]){{"blocks.0.attn.qkv.bias", "[2]", 2, 6},
                           {"blocks.0.attn.qkv.weight", "[6]", 6, 0},
                           {0}},
                 "tensor 'blocks.0.attn.qkv.weight' has the shape [6], expected [2, 3]");
    const char *path =
        make_pieces("p.safetensors", (piece[]){{"blocks.0.attn.qkv.bias", "[2]", 2, 6},
                                               {"blocks.0.attn.qkv.weight", "[2,3]", 6, 0},
                                               {"norm.running_mean", "[2]", 2, 0},
                                               {0}});
    expect_ok(gm_net_read_parameters(net, path, theta, &note, &err), &err);
    assert_non_null(strstr(note.message, "1 tensor is no parameter of the net and left aside: "
                                         "'norm.running_mean'"));
    gm_net_free(net);
}

/* What two layers share is there once. */
static void test_tied_layers(void **state)
{
    (void)state;
    gm_net *net;
    gm_error err = {0};
    int body = 0, head, in = 0;
    gm_dense_config dense = {.units = 2};
    gm_shape shape = {.rank = 1, .dim = {2}};
    expect_ok(gm_net_create("tied", &shape, &net, &err), &err);
    expect_ok(gm_net_add(net, &gm_layer_dense, &dense, 1, &in, "body", &body, &err), &err);
    expect_ok(gm_net_add_tied(net, &gm_layer_dense, &dense, 1, &body, body, &head, &err), &err);
    assert_int_equal(gm_net_tensors(net), 1);
    assert_counts(net, (piece[]){{"body.weight", "[2,2]", 4, 0}, {0}});
    assert_counts(net, (piece[]){{"0.weight", "[2,2]", 4, 0}, {0}});
    gm_net_free(net);
}

static void test_natural_order(void **state)
{
    (void)state;
    static const char *const ascending[] = {
        "",         "ckpt",    "ckpt-01",   "ckpt-1",   "ckpt-2",
        "ckpt-02b", "ckpt-10", "ckpt-10.1", "ckpt-100", "ckpt-99999999999999999999",
        "ckpt.1",   "ckpu"};
    int count = sizeof ascending / sizeof *ascending;
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < count; j++) {
            int order = gm_natural_compare(ascending[i], ascending[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_every_short_number),
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_numbers_refused),
        cmocka_unit_test(test_written_file),
        cmocka_unit_test(test_order_and_shape),
        cmocka_unit_test(test_names_of_its_own),
        cmocka_unit_test(test_natural_order),
        cmocka_unit_test(test_tied_layers),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
