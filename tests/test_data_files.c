/* Data sets from files: what each format means, and every kind of bad file refused with one line
 * that names the file and the field. The files are made here byte by byte. */
#include "gradiometer/data.h"

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "data/npy.h"
#include "folder.h"

static gm_dataset *load(const char *spec, const gm_data_options *options)
{
    gm_data_options plain;
    gm_data_options_default(&plain);
    gm_dataset *data;
    gm_error err = {0};
    if (gm_data_load(spec, options ? options : &plain, &data, &err) != GM_OK)
        fail_msg("%s: %s", spec, err.message);
    return data;
}

static void assert_refused(const char *spec, gm_status expected, const char *part)
{
    gm_data_options options;
    gm_data_options_default(&options);
    gm_dataset *data = (gm_dataset *)1;
    gm_error err = {0};
    gm_status status = gm_data_load(spec, &options, &data, &err);
    if (status != expected || !strstr(err.message, part) || strchr(err.message, '\n'))
        fail_msg("%s: status %d (expected %d), message \"%s\" (expected \"%s\")", spec, (int)status,
                 (int)expected, err.message, part);
    assert_null(data);
}

/* "scheme:FOLDER/a" or "scheme:FOLDER/a,FOLDER/b" */
static const char *spec_of(const char *scheme, const char *a, const char *b)
{
    static char spec[1200];
    snprintf(spec, sizeof spec, "%s:%s%s%s", scheme, folder_path(a), b ? "," : "",
             b ? folder_path(b) : "");
    return spec;
}

/* --- IDX --- */

enum { IMAGES = 3, HEIGHT = 2, WIDTH = 2 };
static const unsigned char images[16 + IMAGES * HEIGHT * WIDTH] = {
    0, 0,     8, 3, 0, 0, 0, IMAGES, 0, 0,   0, HEIGHT, 0,  0,
    0, WIDTH, 0, 1, 2, 3, 4, 5,      6, 255, 8, 9,      10, 11};
static const unsigned char labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, 0, IMAGES, 2, 0, 1};

static void write_gz(const char *name, const void *bytes, size_t count)
{
    gzFile gz = gzopen(folder_path(name), "wb");
    gzwrite(gz, bytes, (unsigned)count);
    gzclose(gz);
}

/* Writes bytes with the one at `at` replaced, cut or extended to `count`. */
static void write_changed(const char *name, const unsigned char *bytes, size_t size, size_t at,
                          unsigned char byte, size_t count)
{
    unsigned char copy[64] = {0};
    memcpy(copy, bytes, size);
    copy[at] = byte;
    folder_write(name, copy, count);
}

static void test_idx(void **state)
{
    (void)state;
    folder_write("i", images, sizeof images);
    folder_write("l", labels, sizeof labels);
    write_gz("i.gz", images, sizeof images);
    write_gz("l.gz", labels, sizeof labels);
    for (int form = 0; form < 3; form++) {
        gm_data_options options;
        gm_data_options_default(&options);
        if (form == 2) options.dtype = GM_F32;
        gm_dataset *data = load(spec_of("idx", form ? "i.gz" : "i", form ? "l.gz" : "l"), &options);
        assert_int_equal(data->n, IMAGES);
        assert_int_equal(data->shape.rank, 3);
        assert_int_equal(data->shape.dim[0], 1);
        assert_int_equal(data->shape.dim[1], HEIGHT);
        assert_int_equal(data->features, HEIGHT * WIDTH);
        assert_int_equal(data->classes, 3);
        for (int i = 0; i < IMAGES; i++) {
            assert_int_equal(data->label[i], labels[8 + i]);
        }
        for (int j = 0; j < IMAGES * HEIGHT * WIDTH; j++) {
            double pixel = images[16 + j] / 255.0;
            if (form == 2)
                assert_true(((float *)data->x)[j] == (float)pixel);
            else
                assert_true(((double *)data->x)[j] == pixel);
        }
        gm_dataset_free(data);
    }
}

static void test_mnist_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"};
    char spec[600];
    snprintf(spec, sizeof spec, "mnist:%s", folder);
    folder_empty();
    assert_refused(spec, GM_ERR_IO, "train-images-idx3-ubyte: not found");
    folder_write(names[0], images, sizeof images);
    assert_refused(spec, GM_ERR_IO, "train-labels-idx1-ubyte: not found");
    folder_write(names[1], labels, sizeof labels);
    unsigned char test[sizeof images];
    memcpy(test, images, sizeof images);
    test[16] = 51; /* 0.2 */
    write_gz(names[2], test, sizeof test);
    folder_write(names[3], labels, sizeof labels);

    gm_data_options options;
    gm_data_options_default(&options);
    gm_dataset *data = load(spec, &options);
    assert_true(*(double *)data->x == 0);
    gm_dataset_free(data);
    options.test = true;
    data = load(spec, &options);
    assert_true(*(double *)data->x == 0.2);
    gm_dataset_free(data);
    /* Two classes: labels below 2 and the others. */
    snprintf(spec, sizeof spec, "mnist:%s,split=2", folder);
    data = load(spec, &options);
    assert_int_equal(data->classes, 2);
    for (int i = 0; i < IMAGES; i++) {
        assert_int_equal(data->label[i], labels[8 + i] >= 2);
    }
    assert_string_equal(data->name, spec);
    gm_dataset_free(data);
    assert_refused("mnist:", GM_ERR_USAGE, "mnist:DIR");
    assert_refused("mnist:/nowhere", GM_ERR_IO, "not found");
    assert_refused("mnist:,split=2", GM_ERR_USAGE, "mnist:DIR");
    assert_refused("mnist:/nowhere,split=10", GM_ERR_USAGE,
                   "split: found \"10\", expected 1 ... 9");
}

static void test_bad_idx(void **state)
{
    (void)state;
    folder_write("i", images, sizeof images);
    folder_write("l", labels, sizeof labels);
    assert_refused(spec_of("idx", "l", "i"), GM_ERR_INPUT, "l: magic number 0x00000801");
    assert_refused(spec_of("idx", "i", "i"), GM_ERR_INPUT, "i: magic number 0x00000803");
    assert_refused(spec_of("idx", "none", "l"), GM_ERR_IO, "none: cannot be opened: No such file");
    assert_refused(spec_of("idx", "i", "none"), GM_ERR_IO, "none: cannot be opened: No such file");
    assert_refused(spec_of("idx", "", "l"), GM_ERR_IO, "Is a directory");
    assert_refused(spec_of("idx", "i", NULL), GM_ERR_USAGE, "idx:IMAGES,LABELS");
    assert_refused("idx:,b", GM_ERR_USAGE, "idx:IMAGES,LABELS");
    assert_refused("idx:a,", GM_ERR_USAGE, "idx:IMAGES,LABELS");
    assert_refused("idx:a,b,c", GM_ERR_USAGE, "idx:IMAGES,LABELS");

    static const struct {
        size_t at;
        unsigned char byte;
        long cut; /* bytes more or less */
        const char *part;
    } of_images[] = {
        {3, 4, 0, "bad: magic number 0x00000804, expected 0x00000803"},
        {7, 2, 0, "l: 3 labels, but"},
        {7, 0, 0, "dimension 0 is 0"},
        {11, 0, 0, "dimension 1 is 0"},
        {4, 0xff, 0, "promises more data"},
        {8, 0xff, 0, "promises more data"},
        {11, 1, 0, "bytes follow the last sample"},
        {15, 3, 0, "ends within its images"},
        {0, 0, 1, "bytes follow the last sample"},
        {0, 0, -1, "ends within its images"},
        {0, 0, -13, "ends within its header"},
        {0, 0, -26, "ends within its magic number"},
        {0, 0, -28, "ends within its magic number"},
    };
    for (size_t c = 0; c < sizeof of_images / sizeof *of_images; c++) {
        write_changed("bad", images, sizeof images, of_images[c].at, of_images[c].byte,
                      (size_t)((long)sizeof images + of_images[c].cut));
        assert_refused(spec_of("idx", "bad", "l"), GM_ERR_INPUT, of_images[c].part);
    }
    write_changed("bad", labels, sizeof labels, 0, 0, sizeof labels + 1);
    assert_refused(spec_of("idx", "i", "bad"), GM_ERR_INPUT, "bad: bytes follow");
    write_changed("bad", labels, sizeof labels, 0, 0, sizeof labels - 1);
    assert_refused(spec_of("idx", "i", "bad"), GM_ERR_INPUT, "bad: ends within its labels");
}

/* A gzip file cut anywhere, or with a byte changed in its data or checksum, is refused. */
static void test_damaged_gzip(void **state)
{
    (void)state;
    unsigned char bytes[256];
    folder_write("l", labels, sizeof labels);
    write_gz("i.gz", images, sizeof images);
    FILE *file = fopen(folder_path("i.gz"), "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t length = 0; length < size; length++) {
        folder_write("cut.gz", bytes, length);
        assert_refused(spec_of("idx", "cut.gz", "l"), GM_ERR_INPUT, "cut.gz: ");
    }
    folder_write("cut.gz", bytes, size - 9);
    assert_refused(spec_of("idx", "cut.gz", "l"), GM_ERR_INPUT, "gzip data are truncated");
    bytes[size - 8] ^= 1; /* the checksum */
    folder_write("sum.gz", bytes, size);
    assert_refused(spec_of("idx", "sum.gz", "l"), GM_ERR_INPUT, "sum.gz: gzip data are damaged");
}

/* --- CIFAR-10 --- */

enum { RECORD = 3073 };

static void write_cifar(const char *name, int records, int first, size_t size)
{
    static unsigned char bytes[4 * RECORD];
    for (int r = 0; r < records; r++) {
        bytes[r * RECORD] = (unsigned char)(first + r);
        for (int j = 1; j < RECORD; j++) {
            bytes[r * RECORD + j] = (unsigned char)(first + r + j);
        }
    }
    folder_write(name, bytes, size);
}

static void test_cifar10(void **state)
{
    (void)state;
    folder_empty();
    char spec[600];
    snprintf(spec, sizeof spec, "cifar10:%s", folder);
    assert_refused(spec, GM_ERR_IO, "data_batch_1.bin: not found");
    assert_refused("cifar10:", GM_ERR_USAGE, "cifar10:DIR");
    /* Batches 2 and 4 only: in order, and the classes are ten whatever occurs. */
    write_cifar("data_batch_4.bin", 1, 7, RECORD);
    write_cifar("data_batch_2.bin", 2, 3, 2 * RECORD);
    write_cifar("test_batch.bin", 1, 1, RECORD);
    gm_dataset *data = load(spec, NULL);
    assert_int_equal(data->n, 3);
    assert_int_equal(data->classes, 10);
    assert_int_equal(data->shape.dim[0], 3);
    assert_int_equal(data->shape.dim[1], 32);
    assert_int_equal(data->shape.dim[2], 32);
    static const int expected[] = {3, 4, 7};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(data->label[i], expected[i]);
        const double *x = (const double *)data->x + i * (RECORD - 1);
        for (int j = 1; j < RECORD; j++) {
            assert_true(x[j - 1] == ((expected[i] + j) & 255) / 255.0);
        }
    }
    gm_dataset_free(data);
    gm_data_options options;
    gm_data_options_default(&options);
    options.test = true;
    data = load(spec, &options);
    assert_int_equal(data->n, 1);
    assert_int_equal(data->label[0], 1);
    gm_dataset_free(data);

    write_cifar("data_batch_4.bin", 2, 9, 2 * RECORD);
    assert_refused(spec, GM_ERR_INPUT,
                   "data_batch_4.bin: record 1 (counted from 0): label 10, expected 0 ... 9");
    write_cifar("data_batch_4.bin", 2, 7, 2 * RECORD - 1);
    assert_refused(spec, GM_ERR_INPUT, "data_batch_4.bin: 6145 bytes, expected a multiple of 3073");
    write_cifar("data_batch_4.bin", 0, 7, 0);
    assert_refused(spec, GM_ERR_INPUT, "data_batch_4.bin: 0 bytes");
}

/* --- NPY --- */

static void write_npy(const char *name, gm_npy_type type, int rank, size_t d0, size_t d1, size_t d2,
                      const void *values)
{
    gm_error err;
    size_t dim[] = {d0, d1, d2};
    assert_int_equal(gm_npy_write(folder_path(name), type, rank, dim, values, &err), GM_OK);
}

static void test_npy_pairs(void **state)
{
    (void)state;
    static const unsigned char u1[6] = {0, 1, 2, 3, 4, 255};
    static const int64_t i8[6] = {-1, 1, 2, 3, 4, 5};
    static const double f8[6] = {0.1, 1e300, -3, 4, 5, 6};
    static const int32_t y[3] = {4, 0, 4};
    static const float t[6] = {0.5f, 1, 2, 3, 4, 5};
    write_npy("x1.npy", GM_NPY_U1, 2, 3, 2, 0, u1);
    write_npy("x8.npy", GM_NPY_I8, 3, 3, 1, 2, i8);
    write_npy("xf.npy", GM_NPY_F8, 2, 3, 2, 0, f8);
    write_npy("y.npy", GM_NPY_I4, 1, 3, 0, 0, y);
    write_npy("t.npy", GM_NPY_F4, 2, 3, 2, 0, t);

    gm_dataset *data = load(spec_of("npy", "x1.npy", "y.npy"), NULL);
    assert_int_equal(data->classes, 5);         /* labels 1 ... 3 do not occur */
    assert_true(((double *)data->x)[5] == 255); /* as it is, not divided */
    assert_int_equal(data->label[2], 4);
    assert_null(data->target);
    gm_dataset_free(data);
    data = load(spec_of("npy", "x8.npy", "y.npy"), NULL);
    assert_int_equal(data->shape.rank, 2);
    assert_true(((double *)data->x)[0] == -1);
    gm_dataset_free(data);
    data = load(spec_of("npy", "xf.npy", "t.npy"), NULL);
    assert_null(data->label);
    assert_int_equal(data->outputs, 2);
    assert_int_equal(data->classes, 2);
    assert_true(data->target[0] == 0.5 && data->target[5] == 5);
    assert_memory_equal(data->x, f8, sizeof f8);
    gm_dataset_free(data);
}

static void test_bad_npy_pairs(void **state)
{
    (void)state;
    double x[6] = {0, 1, 2, 3, 4, 5}, t[4] = {0, 1, NAN, 3};
    int64_t y[3] = {0, 1, -1};
    write_npy("x.npy", GM_NPY_F8, 2, 3, 2, 0, x);
    write_npy("y.npy", GM_NPY_I8, 1, 3, 0, 0, y);
    assert_refused(spec_of("npy", "x.npy", "y.npy"), GM_ERR_INPUT,
                   "y.npy: row 2 (counted from 0): label -1");
    y[2] = INT64_C(1) << 40;
    write_npy("y.npy", GM_NPY_I8, 1, 3, 0, 0, y);
    assert_refused(spec_of("npy", "x.npy", "y.npy"), GM_ERR_INPUT, "label 1099511627776");
    write_npy("y.npy", GM_NPY_I8, 1, 2, 0, 0, y);
    assert_refused(spec_of("npy", "x.npy", "y.npy"), GM_ERR_INPUT, "y.npy: Y has 2 rows, but X in");
    assert_refused(spec_of("npy", "y.npy", "y.npy"), GM_ERR_INPUT, "X has 1 dimensions");
    write_npy("y2.npy", GM_NPY_I8, 3, 3, 1, 1, y);
    assert_refused(spec_of("npy", "x.npy", "y2.npy"), GM_ERR_INPUT,
                   "y2.npy: Y has 3 dimensions of i8");
    write_npy("yf.npy", GM_NPY_F8, 1, 3, 0, 0, x);
    assert_refused(spec_of("npy", "x.npy", "yf.npy"), GM_ERR_INPUT,
                   "yf.npy: Y has 1 dimensions of f8");
    write_npy("x0.npy", GM_NPY_F8, 2, 0, 2, 0, x);
    assert_refused(spec_of("npy", "x0.npy", "y.npy"), GM_ERR_INPUT, "x0.npy: X has no samples");
    write_npy("x0.npy", GM_NPY_F8, 2, 3, 0, 0, x);
    assert_refused(spec_of("npy", "x0.npy", "y.npy"), GM_ERR_INPUT, "dimension of size 0");
    write_npy("x1.npy", GM_NPY_F8, 2, 2, 2, 0, x);
    write_npy("t.npy", GM_NPY_F8, 2, 2, 2, 0, t);
    assert_refused(spec_of("npy", "x1.npy", "t.npy"), GM_ERR_INPUT,
                   "t.npy: row 1, column 0 (counted from 0): NaN, expected a finite number");
    x[3] = -INFINITY;
    write_npy("x1.npy", GM_NPY_F8, 2, 2, 2, 0, x);
    assert_refused(spec_of("npy", "x1.npy", "y.npy"), GM_ERR_INPUT,
                   "x1.npy: row 1, column 1 (counted from 0): infinity");
    assert_refused(spec_of("npy", "x1.npy", NULL), GM_ERR_USAGE, "npy:X.npy,Y.npy");

    /* Finite in double, not in float. */
    x[3] = 1e39;
    y[0] = y[1] = 0;
    write_npy("x1.npy", GM_NPY_F8, 2, 2, 2, 0, x);
    write_npy("y.npy", GM_NPY_I8, 1, 2, 0, 0, y);
    gm_data_options options;
    gm_data_options_default(&options);
    gm_dataset_free(load(spec_of("npy", "x1.npy", "y.npy"), &options));
    options.dtype = GM_F32;
    gm_dataset *data;
    gm_error err;
    assert_int_equal(gm_data_load(spec_of("npy", "x1.npy", "y.npy"), &options, &data, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "a number beyond f32"));

    /* A row outside the subset is checked too: whether a file is sound does not hang on a seed. */
    options.dtype = GM_F64;
    options.subset = 1;
    x[0] = x[3] = NAN;
    write_npy("x1.npy", GM_NPY_F8, 2, 2, 2, 0, x);
    assert_int_equal(gm_data_load(spec_of("npy", "x1.npy", "y.npy"), &options, &data, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "row 0, column 0"));
}

/* --- CSV --- */

static void write_text(const char *name, const char *text)
{
    folder_write(name, text, strlen(text));
}

static void test_csv(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "1,2.5e-1,0\n-3, +4 ,2\n",      /* plain */
        "a,b,label\n1,.25,0\n-3,4,2.0", /* header, no newline at the end */
        "\xef\xbb\xbf\"a\",\"b\",\"c\"\r\n1,0.25,0\r\n-3,4,2e0\r\n\r\n", /* mark, Windows lines */
        "\xef\xbb\xbf"
        "1,0.25,0\n\n-3,0x4p0,2\n", /* mark, no header */
    };
    static const double expected[] = {1, 0.25, -3, 4};
    /* In a locale with a decimal comma, where the machine has one. */
    setlocale(LC_ALL, "de_DE.UTF-8");
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        write_text("f.csv", texts[t]);
        gm_dataset *data = load(spec_of("csv", "f.csv", NULL), NULL);
        assert_int_equal(data->n, 2);
        assert_int_equal(data->shape.rank, 1);
        assert_int_equal(data->features, 2);
        assert_int_equal(data->classes, 3);
        assert_memory_equal(data->x, expected, sizeof expected);
        assert_int_equal(data->label[0], 0);
        assert_int_equal(data->label[1], 2);
        gm_dataset_free(data);
    }
    setlocale(LC_ALL, "C");
}

static void test_bad_csv(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "f.csv: holds no samples"},
        {"\n \n", "f.csv: holds no samples"},
        {"a,b\n", "f.csv: holds no samples"},
        {"1\n2\n", "line 1 has 1 column"},
        {"a,b\n1,2\n3\n", "line 3 has 1 columns, expected 2"},
        {"1,2,0\n\n1,2,3,0\n", "line 3 has 4 columns, expected 3"},
        {"1,x,0\n", "line 1, column 2: \"x\", expected a number"},
        {"\xef\xbb\xbf"
         "1,x\n1,0\n",
         "line 1, column 2: \"x\", expected a number"},
        {"a,b\n1,0\n1;2,0\n", "line 3, column 1: \"1;2\", expected a number"},
        {"1,0\n\"1\",0\n", "line 2, column 1: \"\"1\"\", expected a number without quotes"},
        {"1,,0\n", "line 1, column 2 is empty"},
        {"1,2,\n", "line 1, column 3 is empty"},
        {"1,0\nnan,0\n", "f.csv: line 2, column 1: NaN, expected a finite number"},
        {"1,0\n1,0\n-inf,0\n", "f.csv: line 3, column 1: infinity"},
        {"1,0\n1e999,0\n", "f.csv: line 2, column 1: infinity"},
        {"1,0\n1,0.5\n", "f.csv: line 2: label 0.5, expected a whole number"},
        {"1,0\n1,nan\n", "f.csv: line 2: label nan"},
        {"1,0\n1,1e300\n", "f.csv: line 2: label 1e+300"},
        {"1,0\n1,-1\n", "f.csv: line 2: label -1, expected 0"},
        {"1,0\n1,16777216\n", "f.csv: line 2: label 16777216, expected 0 ... 16777215"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        write_text("f.csv", cases[c].text);
        assert_refused(spec_of("csv", "f.csv", NULL), GM_ERR_INPUT, cases[c].part);
    }
    folder_write("f.csv", "1,0\n1\0,0\n", 9);
    assert_refused(spec_of("csv", "f.csv", NULL), GM_ERR_INPUT, "line 2 holds a zero byte");
    assert_refused(spec_of("csv", "none.csv", NULL), GM_ERR_IO, "none.csv: cannot be opened");
    assert_refused(spec_of("csv", "", NULL), GM_ERR_IO, "not a regular file");
    assert_refused("csv:", GM_ERR_USAGE, "csv:FILE");
}

/* --- writing --- */

/* What was written reads back as the same bits, in both forms and precisions. */
static void test_written_sets(void **state)
{
    (void)state;
    folder_empty();
    for (int f32 = 0; f32 <= 1; f32++) {
        gm_data_options options;
        gm_data_options_default(&options);
        options.dtype = f32 ? GM_F32 : GM_F64;
        options.standardize = true;
        gm_dataset *data = load("gauss:n=50,d=6,k=4", &options);
        data->shape = (gm_shape){3, {1, 2, 3}};
        options.standardize = false;
        gm_error err;
        char both[1200];
        snprintf(both, sizeof both, "%s,%s", folder_path("x.npy"), folder_path("y.npy"));
        assert_int_equal(gm_dataset_write(data, both, &err), GM_OK);
        assert_int_equal(gm_dataset_write(data, folder_path("f.csv"), &err), GM_OK);
        assert_int_equal(folder_entries(), 3);
        for (int csv = 0; csv <= 1; csv++) {
            gm_dataset *again = load(
                csv ? spec_of("csv", "f.csv", NULL) : spec_of("npy", "x.npy", "y.npy"), &options);
            assert_int_equal(again->n, 50);
            assert_int_equal(again->shape.rank, csv ? 1 : 3);
            assert_int_equal(again->features, 6);
            assert_memory_equal(again->x, data->x, 300 * gm_dtype_size(data->dtype));
            assert_memory_equal(again->label, data->label, 50 * sizeof(int32_t));
            gm_dataset_free(again);
        }
        /* Targets have a place in the pair only. */
        assert_int_equal(gm_dataset_one_hot(data, &err), GM_OK);
        assert_int_equal(gm_dataset_write(data, folder_path("f.csv"), &err), GM_ERR_USAGE);
        assert_non_null(strstr(err.message, "room for one label alone"));
        assert_int_equal(gm_dataset_write(data, both, &err), GM_OK);
        gm_dataset *again = load(spec_of("npy", "x.npy", "y.npy"), &options);
        assert_memory_equal(again->target, data->target, 200 * sizeof(double));
        gm_dataset_free(again);
        gm_dataset_free(data);
    }
}

static void test_bad_outputs(void **state)
{
    (void)state;
    folder_empty();
    gm_dataset *data = load("gauss:n=5,d=2,k=2", NULL);
    gm_error err;
    static const char *const outputs[] = {
        "x.npy", "x.npy,", ",y.npy",      "x.npy,y.txt", "x,y.npy",          "x.txt",
        "",      ".csv",   "a.npy,a.npy", "a,b.csv",     "a.npy,b.npy,c.npy"};
    for (size_t o = 0; o < sizeof outputs / sizeof *outputs; o++) {
        if (gm_dataset_write(data, outputs[o], &err) != GM_ERR_USAGE ||
            !strstr(err.message, "expected X.npy,Y.npy or FILE.csv"))
            fail_msg("\"%s\": %s", outputs[o], err.message);
    }
    /* Where Y cannot be written, X does not appear. */
    char both[1200];
    snprintf(both, sizeof both, "%s,%s", folder_path("x.npy"), folder_path("no/y.npy"));
    assert_int_equal(gm_dataset_write(data, both, &err), GM_ERR_IO);
    assert_non_null(strstr(err.message, "no/y.npy: cannot be written: No such file"));
    assert_int_equal(symlink("/dev/full", folder_path("full.npy")), 0);
    snprintf(both, sizeof both, "%s,%s", folder_path("x.npy"), folder_path("full.npy"));
    assert_int_equal(gm_dataset_write(data, both, &err), GM_ERR_IO);
    assert_non_null(strstr(err.message, "full.npy: cannot be written: No space left"));
    assert_int_equal(folder_entries(), 1);
    gm_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx),           cmocka_unit_test(test_mnist_folder),
        cmocka_unit_test(test_bad_idx),       cmocka_unit_test(test_damaged_gzip),
        cmocka_unit_test(test_cifar10),       cmocka_unit_test(test_npy_pairs),
        cmocka_unit_test(test_bad_npy_pairs), cmocka_unit_test(test_csv),
        cmocka_unit_test(test_bad_csv),       cmocka_unit_test(test_written_sets),
        cmocka_unit_test(test_bad_outputs),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
