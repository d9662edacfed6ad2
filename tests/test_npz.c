/* Archives of arrays as numpy.savez writes them, read back by a reader of its own. */
#include <limits.h>
#include <math.h>

#include "support.h"

#include "data/npz.h"
#include "folder.h"
#include "npz_reader.h"

static const double numbers[6] = {1.5, -0.0, 1e300, -2.5e-310, 3, 4};
static const int64_t steps[3] = {0, -1, INT64_MAX};
static const float narrow[2] = {0.1f, -7.0f};

/* One of each kind; all is the same whatever fields sizes and offsets are in. */
static void write_archive(const char *path, uint32_t limit)
{
    gm_error err = {0};
    gm_npz *npz = NULL;
    const size_t table[2] = {2, 3}, three = 3, two = 2, none[2] = {0, 5};
    assert_int_equal(gm_npz_create(path, limit, &npz, &err), GM_OK);
    assert_int_equal(gm_npz_add(npz, "a/table", GM_NPY_F8, 2, table, numbers, &err), GM_OK);
    assert_int_equal(gm_npz_add(npz, "steps", GM_NPY_I8, 1, &three, steps, &err), GM_OK);
    assert_int_equal(gm_npz_add(npz, "narrow", GM_NPY_F4, 1, &two, narrow, &err), GM_OK);
    assert_int_equal(gm_npz_add(npz, "one", GM_NPY_F8, 0, NULL, numbers, &err), GM_OK);
    assert_int_equal(gm_npz_add(npz, "empty", GM_NPY_F8, 2, none, numbers, &err), GM_OK);
    assert_int_equal(gm_npz_add_text(npz, "text", "{\"h\": \"\xc3\xbc\"}", &err), GM_OK);
    assert_int_equal(gm_npz_add_text(npz, "", "x", &err), GM_ERR_USAGE);
    assert_int_equal(gm_npz_commit(&npz, &err), GM_OK);
    assert_null(npz);
}

static void check_archive(const char *path, bool wide)
{
    npz_file file = npz_read(path);
    assert_string_equal(file.problem, "");
    assert_int_equal(file.wide, wide);
    assert_int_equal(file.count, 6);
    const npz_member *m = npz_find(&file, "a/table");
    assert_string_equal(m->descr, "<f8");
    assert_true(m->rank == 2 && m->dim[0] == 2 && m->dim[1] == 3);
    assert_memory_equal(m->data, numbers, sizeof numbers);
    m = npz_find(&file, "steps");
    assert_string_equal(m->descr, "<i8");
    assert_memory_equal(m->data, steps, sizeof steps);
    m = npz_find(&file, "narrow");
    assert_string_equal(m->descr, "<f4");
    assert_memory_equal(m->data, narrow, sizeof narrow);
    m = npz_find(&file, "one");
    assert_true(m->rank == 0 && npz_double(m, 0) == 1.5);
    m = npz_find(&file, "empty");
    assert_true(m->rank == 2 && m->dim[0] == 0 && m->dim[1] == 5);
    m = npz_find(&file, "text");
    assert_string_equal(m->descr, "|S11");
    assert_memory_equal(m->data, "{\"h\": \"\xc3\xbc\"}", 11);
    npz_free(&file);
}

static void archive(void **state)
{
    (void)state;
    write_archive(folder_path("a.npz"), UINT32_MAX);
    check_archive(folder_path("a.npz"), false);
    folder_empty();
}

/* The fields for what is larger than 4 GB, at a limit that small numbers reach: every size, some
 * sizes, every offset but the first. */
static void wide_fields(void **state)
{
    (void)state;
    const uint32_t limit[] = {0, 1, 130, 200, 1000};
    for (size_t i = 0; i < sizeof limit / sizeof *limit; i++) {
        write_archive(folder_path("w.npz"), limit[i]);
        check_archive(folder_path("w.npz"), true);
    }
    folder_empty();
}

/* 65,536 members: their number takes a wide field too. */
static void many(void **state)
{
    (void)state;
    enum { MANY = 65536 };
    gm_error err = {0};
    gm_npz *npz = NULL;
    char name[16];
    assert_int_equal(gm_npz_create(folder_path("m.npz"), UINT32_MAX, &npz, &err), GM_OK);
    for (int i = 0; i < MANY; i++) {
        double value = i;
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(gm_npz_add(npz, name, GM_NPY_F8, 0, NULL, &value, &err), GM_OK);
    }
    assert_int_equal(gm_npz_commit(&npz, &err), GM_OK);
    npz_file file = npz_read(folder_path("m.npz"));
    assert_string_equal(file.problem, "");
    assert_true(file.wide && file.count == MANY);
    assert_true(npz_double(&file.member[MANY - 1], 0) == MANY - 1);
    npz_free(&file);
    folder_empty();
}

/* What was there stays until the whole is written; nothing is left of what was dropped. */
static void all_or_nothing(void **state)
{
    (void)state;
    gm_error err = {0};
    gm_npz *npz = NULL;
    folder_write("k.npz", "old", 3);
    assert_int_equal(gm_npz_create(folder_path("k.npz"), UINT32_MAX, &npz, &err), GM_OK);
    assert_int_equal(gm_npz_add_text(npz, "text", "", &err), GM_OK);
    gm_npz_discard(&npz);
    gm_npz_discard(&npz);
    assert_null(npz);
    assert_int_equal(folder_entries(), 1);
    npz_file file = npz_read(folder_path("k.npz"));
    assert_string_equal(file.problem, "no end of a zip file");
    assert_int_equal(gm_npz_create(folder_path("none/k.npz"), UINT32_MAX, &npz, &err), GM_ERR_IO);
    assert_null(npz);
    assert_int_equal(gm_npz_create("/dev/full", UINT32_MAX, &npz, &err), GM_OK);
    assert_int_equal(gm_npz_add_text(npz, "text", "x", &err), GM_OK);
    assert_int_equal(gm_npz_commit(&npz, &err), GM_ERR_IO);
    const size_t huge[2] = {SIZE_MAX / 2, 3};
    assert_int_equal(gm_npz_create(folder_path("h.npz"), UINT32_MAX, &npz, &err), GM_OK);
    assert_int_equal(gm_npz_add(npz, "huge", GM_NPY_F8, 2, huge, numbers, &err), GM_ERR_MEMORY);
    gm_npz_discard(&npz);
    folder_empty();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archive),
        cmocka_unit_test(wide_fields),
        cmocka_unit_test(many),
        cmocka_unit_test(all_or_nothing),
    };
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "npz");
    return folder_remove(NULL) ? 1 : failed;
}
