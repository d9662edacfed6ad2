/* Sequences through the program: labels at positions described, in text and JSON; where they are
 * refused. */
#include "support.h"

#include "data/npy.h"
#include "folder.h"
#include "program.h"

static void write_integers(const char *name, size_t rows, size_t columns, const int64_t *values)
{
    gm_error err = {0};
    if (gm_npy_write(folder_path(name), GM_NPY_I8, 2, (size_t[]){rows, columns}, values, &err)) {
        fail_msg("%s", err.message);
    }
}

/* Four sequences of two tokens, three of eight labels masked. */
static int make_inputs(void **state)
{
    if (folder_make(state) != 0) return -1;
    const int64_t x[] = {0, 1, 2, 3, 4, 5, 6, 7}, y[] = {1, -100, 2, 0, 2, 2, -100, -100};
    write_integers("x.npy", 4, 2, x);
    write_integers("y.npy", 4, 2, y);
    return 0;
}

static void described(void **state)
{
    (void)state;
    const int counts[] = {1, 1, 3};
    program_result r = program("data --data npy:%s/x.npy,%s/y.npy", folder, folder);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "classes    3, with 1 to 3 labels each\n"));
    assert_non_null(
        strstr(r.out, "positions  2 in each sample; 3 of 8 labels are masked (-100)\n"));
    program_free(&r);
    json_t *document =
        program_document(program("data --data npy:%s/x.npy,%s/y.npy --json", folder, folder));
    const json_t *data = json_object_get(document, "data");
    assert_int_equal(program_number(data, "n"), 4);
    assert_int_equal(program_number(data, "classes"), 3);
    assert_int_equal(program_number(data, "positions"), 2);
    assert_int_equal(program_number(data, "masked"), 3);
    for (size_t k = 0; k < 3; k++) {
        const json_t *count = json_array_get(json_object_get(data, "class_counts"), k);
        assert_int_equal(json_integer_value(count), counts[k]);
    }
    json_decref(document);
}

static void refused(void **state)
{
    (void)state;
    const struct {
        const char *arguments, *culprit;
    } bad[] = {
        {"spectrum --model mlp:2-3", "labels at 2 positions, but the model's 3 outputs"},
        {"spectrum --model mlp:2-6",
         "the output of mlp:2-6 has rank 1 and 6 rows, expected [2, K]"},
        {"spectrum --model mlp:2-6 --loss squared", "have no squared loss, expected cross_entropy"},
        {"data -o new.csv", "CSV has room for one label alone"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        program_result r =
            program("%s --data npy:%s/x.npy,%s/y.npy", bad[i].arguments, folder, folder);
        assert_int_equal(r.exit, 2);
        assert_true(program_one_line(r.err));
        if (!strstr(r.err, bad[i].culprit)) fail_msg("%s: %s", bad[i].arguments, r.err);
        assert_string_equal(r.out, "");
        program_free(&r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(described), cmocka_unit_test(refused)};
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli sequences", tests, make_inputs, folder_remove);
}
