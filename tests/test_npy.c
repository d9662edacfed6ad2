/* NPY files: every type and version read back, hostile headers refused by name, files written whole
 * or not at all. The files are put together here byte by byte, not by the writer under test. */
#include "data/npy.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "folder.h"

/* Writes an NPY file: magic, version, header text, elements. */
static const char *make_npy(const char *name, int major, const char *header, const void *elements,
                            size_t bytes)
{
    unsigned char file[4096] = "\x93NUMPY";
    size_t length = strlen(header), at = 8;
    file[6] = (unsigned char)major;
    for (int b = 0; b < (major == 1 ? 2 : 4); b++) {
        file[at++] = (unsigned char)(length >> 8 * b & 255);
    }
    memcpy(file + at, header, length);
    if (bytes) memcpy(file + at + length, elements, bytes);
    folder_write(name, file, at + length + bytes);
    return folder_path(name);
}

static void assert_refused(const char *path, gm_status expected, const char *part)
{
    gm_npy *npy = (gm_npy *)1;
    gm_error err = {0};
    gm_status status = gm_npy_open(path, &npy, &err);
    if (status != expected || !strstr(err.message, part) || !strstr(err.message, path))
        fail_msg("%s: status %d (expected %d), message \"%s\" (expected \"%s\")", path, (int)status,
                 (int)expected, err.message, part);
    assert_null(npy);
}

static void test_types_and_versions(void **state)
{
    (void)state;
    static const unsigned char u1[] = {0, 7, 255};
    static const int32_t i4[] = {INT32_MIN, 7, INT32_MAX};
    static const int64_t i8[] = {-(INT64_C(1) << 53), 7, INT64_C(1) << 53};
    static const uint64_t u8[] = {0, 7, UINT64_C(1) << 63};
    static const float f4[] = {-1.5f, 7.0f, 0x1p-149f};
    static const double f8[] = {-1.5, 7, 0x1p-1074};
    static const struct {
        const char *code;
        const void *elements;
        size_t size;
        double expected[3];
    } cases[] = {
        {"|u1", u1, 1, {0, 7, 255}},          {"<i4", i4, 4, {-0x1p31, 7, 0x1p31 - 1}},
        {"<i8", i8, 8, {-0x1p53, 7, 0x1p53}}, {"<u8", u8, 8, {0, 7, 0x1p63}},
        {"<f4", f4, 4, {-1.5, 7, 0x1p-149}},  {"<f8", f8, 8, {-1.5, 7, 0x1p-1074}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (int major = 1; major <= 3; major++) {
            for (int big = 0; big <= 1; big++) {
                char header[128], code[8];
                unsigned char bytes[24];
                size_t size = cases[c].size;
                snprintf(code, sizeof code, "%s", cases[c].code);
                memcpy(bytes, cases[c].elements, 3 * size);
                for (size_t b = 0; big && b < 3 * size; b++) {
                    bytes[b] = ((const unsigned char *)cases[c]
                                    .elements)[b / size * size + size - 1 - b % size];
                }
                if (big && size > 1) code[0] = '>';
                snprintf(header, sizeof header,
                         "{'shape': (3,), \"descr\":'%s' , 'fortran_order': False}  \n", code);
                const char *path = make_npy("type.npy", major, header, bytes, 3 * size);
                gm_npy *npy;
                gm_error err;
                assert_int_equal(gm_npy_open(path, &npy, &err), GM_OK);
                assert_int_equal(npy->rank, 1);
                assert_int_equal(npy->count, 3);
                assert_string_equal(gm_npy_type_name(npy->type), cases[c].code + 1);
                double values[3];
                /* In two pieces: reading goes on where it stopped. */
                assert_int_equal(gm_npy_read(npy, 1, values, &err), GM_OK);
                assert_int_equal(gm_npy_read(npy, 2, values + 1, &err), GM_OK);
                assert_memory_equal(values, cases[c].expected, sizeof values);
                gm_npy_close(npy);
                if (cases[c].code[1] == 'f') continue;
                int64_t whole[3];
                assert_int_equal(gm_npy_open(path, &npy, &err), GM_OK);
                assert_true(gm_npy_is_integer(npy));
                assert_int_equal(gm_npy_read_integers(npy, 3, whole, &err), GM_OK);
                for (int i = 0; i < 3; i++) {
                    int64_t exact =
                        cases[c].expected[i] == 0x1p63 ? INT64_MAX : (int64_t)cases[c].expected[i];
                    assert_true(whole[i] == exact);
                }
                gm_npy_close(npy);
            }
        }
    }
}

#define HEADER(descr, order, shape)                                                                \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }\n"

static void test_hostile_headers(void **state)
{
    (void)state;
    static const double numbers[4] = {1, 2, 3, 4};
    static const struct {
        const char *header, *part;
    } cases[] = {
        {HEADER("'<f2'", "False", "(4,)"), "'<f2'"},
        {HEADER("'|f8'", "False", "(4,)"), "'|f8'"},
        {HEADER("'<c16'", "False", "(4,)"), "'<c16'"},
        {HEADER("'O'", "False", "(4,)"), "'O'"},
        {HEADER("''", "False", "(4,)"), "''"},
        {HEADER("[('a', '<f8')]", "False", "(4,)"), "records"},
        {HEADER("'<f8", "False", "(4,)"), "descr"},
        {HEADER("'<f8'", "True", "(2, 2)"), "fortran_order"},
        {HEADER("'<f8'", "1", "(4,)"), "fortran_order"},
        {HEADER("'<f8'", "False", "4"), "shape"},
        {HEADER("'<f8'", "False", "(4)"), "(n,)"},
        {HEADER("'<f8'", "False", "(-4,)"), "shape"},
        {HEADER("'<f8'", "False", "(4.0,)"), "shape"},
        {HEADER("'<f8'", "False", "(2 2)"), "shape"},
        {HEADER("'<f8'", "False", "(,)"), "shape"},
        {HEADER("'<f8'", "False", "(4,,)"), "shape"},
        {HEADER("'<f8'", "False", "(4,"), "shape"},
        {HEADER("'<f8'", "False", "(99999999999999999999999,)"), "overflows"},
        {HEADER("'<f8'", "False", "(4294967296, 4294967296, 4)"), "overflows"},
        {HEADER("'<f8'", "False", "(0, 4294967296, 4294967296)"), "overflows"},
        {HEADER("'<f8'", "False", "(4611686018427387904,)"), "file ends"},
        {HEADER("'<f8'", "False", "(5,)"), "the file ends after 4"},
        {HEADER("'<f8'", "False", "(3,)"), "8 bytes follow"},
        {HEADER("'<f8'", "False", "(0,)"), "32 bytes follow"},
        {HEADER("'<f8'", "False", "(1,1,1,1,1,1,1,1,4)"), "more than 8"},
        {"{'descr': '<f8', 'shape': (4,)}\n", "lacks the key fortran_order"},
        {"{'descr': '<f8', 'fortran_order': False}\n", "lacks the key shape"},
        {"{}\n", "lacks the key descr"},
        {"{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (4,)}\n", "once"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (4,), 'x': 1}\n", "once"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (4,)} x\n", "nothing after"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (4,)", "a comma or the end"},
        {"{'descr': '<f8' 'fortran_order': False, 'shape': (4,)}\n", "a comma or the end"},
        {"{'descr' '<f8', 'fortran_order': False, 'shape': (4,)}\n", "a colon"},
        {"{descr: '<f8'}\n", "a key in quotes"},
        {"", "a dictionary"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const char *path = make_npy("bad.npy", 1, cases[c].header, numbers, sizeof numbers);
        assert_refused(path, GM_ERR_INPUT, cases[c].part);
    }
}

static void test_damaged_files(void **state)
{
    (void)state;
    static const double numbers[4] = {1, 2, 3, 4};
    const char *header = HEADER("'<f8'", "False", "(4,)");
    static unsigned char bytes[1024];
    const char *path = make_npy("good.npy", 1, header, numbers, sizeof numbers);
    FILE *file = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);

    /* Cut anywhere, the file is refused: no length but the full one reads. */
    for (size_t length = 0; length < size; length++) {
        folder_write("cut.npy", bytes, length);
        assert_refused(folder_path("cut.npy"), GM_ERR_INPUT, "");
    }
    static const struct {
        size_t at;
        unsigned char byte;
        const char *part;
    } changes[] = {{0, 0x92, "magic"},    {5, 'y', "magic"},     {6, 0, "version 0.0"},
                   {6, 4, "version 4.0"}, {7, 1, "version 1.1"}, {9, 0xff, "ends within"},
                   {12, 0, "zero byte"}};
    for (size_t c = 0; c < sizeof changes / sizeof *changes; c++) {
        unsigned char kept = bytes[changes[c].at];
        bytes[changes[c].at] = changes[c].byte;
        folder_write("changed.npy", bytes, size);
        bytes[changes[c].at] = kept;
        assert_refused(folder_path("changed.npy"), GM_ERR_INPUT, changes[c].part);
    }
    /* Version 2.0 with a header of 4 GB. */
    folder_write("long.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff{", 13);
    assert_refused(folder_path("long.npy"), GM_ERR_INPUT, "header of 4294967295 bytes");
    assert_refused(folder_path("absent.npy"), GM_ERR_IO, "No such file");
    assert_refused(folder, GM_ERR_IO, "not a regular file");
}

static void test_vectors(void **state)
{
    (void)state;
    double numbers[4] = {1, -2, 3, 4}, *values;
    size_t n;
    gm_error err;
    const char *path = make_npy("v.npy", 1, HEADER("'<f8'", "False", "(4,)"), numbers, 32);
    assert_int_equal(gm_npy_read_vector(path, &values, &n, &err), GM_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(values, numbers, sizeof numbers);
    gm_free(values);

    numbers[2] = NAN;
    numbers[3] = INFINITY;
    path = make_npy("v.npy", 1, HEADER("'<f8'", "False", "(4,)"), numbers, 32);
    assert_int_equal(gm_npy_read_vector(path, &values, &n, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "element 2 (counted from 0) is NaN"));
    assert_null(values);
    numbers[2] = -INFINITY;
    path = make_npy("v.npy", 1, HEADER("'<f8'", "False", "(4,)"), numbers, 32);
    assert_int_equal(gm_npy_read_vector(path, &values, &n, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "element 2 (counted from 0) is infinite"));

    static const struct {
        const char *header, *part;
        size_t bytes;
    } shapes[] = {{HEADER("'<f8'", "False", "(2, 2)"), "2 dimensions", 32},
                  {HEADER("'<f8'", "False", "(1, 4)"), "2 dimensions", 32},
                  {HEADER("'<f8'", "False", "()"), "0 dimensions", 8},
                  {HEADER("'<f8'", "False", "(0,)"), "no numbers", 0}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        path = make_npy("v.npy", 1, shapes[s].header, numbers, shapes[s].bytes);
        assert_int_equal(gm_npy_read_vector(path, &values, &n, &err), GM_ERR_INPUT);
        assert_non_null(strstr(err.message, shapes[s].part));
        assert_null(values);
    }
}

/* What is written is, byte for byte, what numpy.save of NumPy 1.24 writes. */
static void test_written_bytes(void **state)
{
    (void)state;
    static const float numbers[6] = {0, 1, 2, 3, 4, 5};
    static const int32_t labels[1] = {-1};
    unsigned char bytes[256];
    gm_error err;
    const char *path = folder_path("w.npy");
    assert_int_equal(gm_npy_write(path, GM_NPY_F4, 2, (const size_t[]){2, 3}, numbers, &err),
                     GM_OK);
    FILE *file = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    char expected[129];
    snprintf(expected, sizeof expected, "\x93NUMPY%c%c%c%c%-117s\n", 1, 1, 118, 1,
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    expected[7] = expected[9] = 0;
    assert_int_equal(size, 128 + sizeof numbers);
    assert_memory_equal(bytes, expected, 128);
    assert_memory_equal(bytes + 128, numbers, sizeof numbers);

    assert_int_equal(gm_npy_write(path, GM_NPY_I4, 1, (const size_t[]){1}, labels, &err), GM_OK);
    gm_npy *npy;
    assert_int_equal(gm_npy_open(path, &npy, &err), GM_OK);
    int64_t label;
    assert_int_equal(npy->rank, 1);
    assert_int_equal(gm_npy_read_integers(npy, 1, &label, &err), GM_OK);
    assert_int_equal(label, -1);
    gm_npy_close(npy);

    /* The largest header still fits and reads back. */
    static const size_t dims[GM_NPY_MAX_RANK] = {1, 1, 1, 1, 1, 1, 2, 3};
    assert_int_equal(gm_npy_write(path, GM_NPY_F4, GM_NPY_MAX_RANK, dims, numbers, &err), GM_OK);
    assert_int_equal(gm_npy_open(path, &npy, &err), GM_OK);
    assert_memory_equal(npy->dim, dims, sizeof dims);
    gm_npy_close(npy);
}

/* A write that fails leaves the old file, no temporary one, and one line with the cause. The limit
 * on the size of a file stands in for a full disk. */
static void test_failed_write_leaves_the_old_file(void **state)
{
    (void)state;
    folder_empty();
    static double many[100000];
    static const double old[1] = {42};
    gm_error err;
    const char *path = folder_path("kept.npy");
    assert_int_equal(gm_npy_write(path, GM_NPY_F8, 1, (const size_t[]){1}, old, &err), GM_OK);
    assert_int_equal(chmod(path, 0640), 0);

    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 300000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    gm_status status = gm_npy_write(path, GM_NPY_F8, 1, (const size_t[]){100000}, many, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(status, GM_ERR_IO);
    assert_non_null(strstr(err.message, "kept.npy: cannot be written: File too large"));
    assert_int_equal(folder_entries(), 1);

    double *values;
    size_t n;
    assert_int_equal(gm_npy_read_vector(path, &values, &n, &err), GM_OK);
    assert_true(n == 1 && values[0] == 42);
    gm_free(values);

    /* Success replaces it and keeps its permissions. */
    assert_int_equal(gm_npy_write(path, GM_NPY_F8, 1, (const size_t[]){100000}, many, &err), GM_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(folder_entries(), 1);
}

static void test_paths_that_cannot_be_written(void **state)
{
    (void)state;
    folder_empty();
    static const double one[1] = {1};
    static const size_t dim[1] = {1};
    gm_error err;
    assert_int_equal(gm_npy_write("/dev/full", GM_NPY_F8, 1, dim, one, &err), GM_ERR_IO);
    assert_non_null(strstr(err.message, "/dev/full: cannot be written: No space left on device"));
    assert_int_equal(gm_npy_write(folder, GM_NPY_F8, 1, dim, one, &err), GM_ERR_IO);
    assert_non_null(strstr(err.message, "Is a directory"));
    assert_int_equal(gm_npy_write(folder_path("no/where.npy"), GM_NPY_F8, 1, dim, one, &err),
                     GM_ERR_IO);
    assert_non_null(strstr(err.message, "No such file"));
    assert_int_equal(gm_npy_write("", GM_NPY_F8, 1, dim, one, &err), GM_ERR_USAGE);
    assert_int_equal(folder_entries(), 0);

    /* A device stays a device, a link stays a link. */
    assert_int_equal(gm_npy_write("/dev/null", GM_NPY_F8, 1, dim, one, &err), GM_OK);
    struct stat info;
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    folder_write("target.npy", "", 0);
    assert_int_equal(symlink("target.npy", folder_path("link.npy")), 0);
    assert_int_equal(gm_npy_write(folder_path("link.npy"), GM_NPY_F8, 1, dim, one, &err), GM_OK);
    assert_int_equal(lstat(folder_path("link.npy"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(folder_path("target.npy"), &info), 0);
    assert_int_equal(info.st_size, 128 + 8);
}

/* What is discarded was never there. */
static void test_discarded_file(void **state)
{
    (void)state;
    folder_empty();
    gm_file *file;
    gm_error err;
    assert_int_equal(gm_file_create(folder_path("d.txt"), &file, &err), GM_OK);
    fprintf(gm_file_stream(file), "text");
    gm_file_discard(&file);
    assert_null(file);
    gm_file_discard(&file);
    assert_int_equal(folder_entries(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_and_versions),
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_written_bytes),
        cmocka_unit_test(test_failed_write_leaves_the_old_file),
        cmocka_unit_test(test_paths_that_cannot_be_written),
        cmocka_unit_test(test_discarded_file),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
