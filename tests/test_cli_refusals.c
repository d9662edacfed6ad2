/* What the program refuses: exit status 2, one line on standard error that names the culprit,
 * nothing on standard output, nothing left behind. Every case runs the real program. */
#include "support.h"

#include <math.h>
#include <zlib.h>

#include "data/npy.h"
#include "folder.h"
#include "program.h"

static void write_npy(const char *name, gm_npy_type type, int rank, size_t rows, size_t columns,
                      const void *values)
{
    gm_error err = {0};
    if (gm_npy_write(folder_path(name), type, rank, (size_t[]){rows, columns}, values, &err)) {
        fail_msg("%s", err.message);
    }
}

static int make_inputs(void **state)
{
    if (folder_make(state) != 0) return -1;
    double x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, bad[8] = {1, 2, 3, (double)NAN, 5, 6, 7, 8};
    int64_t y[4] = {0, 1, 1, 0}, beyond[4] = {0, 1, 2, 0};
    double theta[8] = {0}, infinite[8] = {0};
    infinite[3] = HUGE_VAL;
    write_npy("x.npy", GM_NPY_F8, 2, 4, 2, x);
    write_npy("nan.npy", GM_NPY_F8, 2, 4, 2, bad);
    write_npy("y.npy", GM_NPY_I8, 1, 4, 1, y);
    write_npy("y3.npy", GM_NPY_I8, 1, 3, 1, y);
    write_npy("beyond.npy", GM_NPY_I8, 1, 4, 1, beyond);
    write_npy("short.npy", GM_NPY_F8, 1, 5, 1, theta); /* mlp:2-2 has 6 parameters */
    write_npy("flat.npy", GM_NPY_F8, 1, 6, 1, theta);
    write_npy("square.npy", GM_NPY_F8, 2, 3, 2, theta);
    write_npy("infinite.npy", GM_NPY_F8, 1, 6, 1, infinite);

    /* IDX: two images of 1 x 2 pixels and their labels; a wrong magic; a gzip cut short. */
    const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 6};
    const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 0, 1};
    unsigned char magic[sizeof images];
    memcpy(magic, images, sizeof images);
    magic[2] = 0x77;
    folder_write("images", images, sizeof images);
    folder_write("labels", labels, sizeof labels);
    folder_write("magic", magic, sizeof magic);
    gzFile gz = gzopen(folder_path("whole.gz"), "wb");
    if (!gz || gzwrite(gz, images, sizeof images) != sizeof images || gzclose(gz) != Z_OK)
        return -1;
    char *whole = malloc(1024);
    FILE *file = fopen(folder_path("whole.gz"), "rb");
    size_t size = fread(whole, 1, 1024, file);
    fclose(file);
    folder_write("cut.gz", whole, size - 9);
    free(whole);
    folder_write("text.gmr", "no run file\n", 12);
    return 0;
}

typedef struct refusal {
    const char *arguments; /* FOLDER/ stands for the folder */
    const char *culprit;   /* must be in the line */
} refusal;

/* In a static buffer: valid until the next call. */
static const char *expand(const char *arguments)
{
    static char text[4096];
    char *out = text;
    for (const char *c = arguments; *c;) {
        if (strncmp(c, "FOLDER", 6) == 0) {
            out += sprintf(out, "%s", folder);
            c += 6;
        } else {
            *out++ = *c++;
        }
    }
    *out = 0;
    return text;
}

static void check_refusals(size_t count, const refusal *refused)
{
    int entries = folder_entries();
    for (size_t i = 0; i < count; i++) {
        program_result r = program("%s", expand(refused[i].arguments));
        char culprit[4096];
        snprintf(culprit, sizeof culprit, "%s", expand(refused[i].culprit));
        bool good = r.exit == 2 && program_one_line(r.err) && strstr(r.err, culprit) &&
                    strncmp(r.err, "gradiometer: ", 13) == 0 && !*r.out &&
                    folder_entries() == entries;
        if (!good) {
            fail_msg("%s: expected a refusal that names %s; exit status %d, %d new files, standard "
                     "error:\n%s",
                     refused[i].arguments, refused[i].culprit, r.exit, folder_entries() - entries,
                     r.err);
        }
        program_free(&r);
    }
}
#define CHECK(refused) check_refusals(sizeof(refused) / sizeof *(refused), refused)

/* -v in every case: notices must not come before an error. */
#define SPECTRUM "spectrum -v --model mlp:2-2 --data npy:FOLDER/x.npy,FOLDER/y.npy "
#define TRAIN    "train -v -o FOLDER/new.gmr --model mlp:2-2 "

static void test_options(void **state)
{
    (void)state;
    static const refusal refused[] = {
        {"bogus", "bogus"},
        {"help bogus", "bogus"},
        {"--bogus", "--bogus"},
        {SPECTRUM "--bogus", "--bogus"},
        {SPECTRUM "-x", "-x"},
        {SPECTRUM "extra", "extra"},
        {SPECTRUM "--k", "--k"},
        {SPECTRUM "--json=1", "--json"},
        {SPECTRUM "--help=1", "--help"},
        {SPECTRUM "--prec f64", "--prec"},
        {SPECTRUM "--he", "--he"},
        {SPECTRUM "--seed 1 --seed 2", "--seed"},
        {SPECTRUM "-q", "--quiet"},
        {SPECTRUM "--threads 0", "--threads"},
        {SPECTRUM "--threads -1", "--threads"},
        {SPECTRUM "--threads 1e1", "--threads"},
        {SPECTRUM "--subset 0", "--subset"},
        {SPECTRUM "--subset 5", "subset"},
        {SPECTRUM "--k 0", "--k"},
        {SPECTRUM "--k 0 --method diagonal", "--k"},
        {SPECTRUM "--k 99999999999999999999", "--k"},
        {SPECTRUM "--seed -1", "--seed"},
        {SPECTRUM "--seed ' 1'", "--seed"},
        {SPECTRUM "--seed 18446744073709551616", "--seed"},
        {SPECTRUM "--tol 0", "--tol"},
        {SPECTRUM "--tol nan", "--tol"},
        {SPECTRUM "--random-labels 1.5", "--random-labels"},
        {SPECTRUM "--random-labels 0.1x", "--random-labels"},
        {SPECTRUM "--memory 0", "--memory"},
        {SPECTRUM "--memory 5Q", "--memory"},
        {SPECTRUM "--memory 1e300G", "--memory"},
        {SPECTRUM "--memory 64", "memory"},
        {SPECTRUM "--memory 700", "dense matrix (6 x 6"},
        {SPECTRUM "--memory 700 --layers each", "dense matrix (6 x 6"},
        {SPECTRUM "--precision f16", "--precision"},
        {SPECTRUM "--loss hinge", "--loss"},
        {SPECTRUM "--operator fisher", "--operator"},
        {SPECTRUM "--method power", "trace or diagonal"},
        {SPECTRUM "--which XX", "--which"},
        {SPECTRUM "--layer nope", "nope"},
        {SPECTRUM "--layer 7", "7"},
        {SPECTRUM "--layers all", "--layers"},
        {SPECTRUM "--layers each --layer 0", "--layers"},
        {SPECTRUM "--layers each --export-vectors FOLDER/v.npy", "--export-vectors"},
        {SPECTRUM "--method diagonal --export-vectors FOLDER/v.npy", "--export-vectors"},
        {SPECTRUM "--steps 5", "--steps"},
        {"spectrum --data gauss:n=10", "--model"},
        {"spectrum --model mlp:50-10", "--data"},
        {TRAIN "--data gauss:k=2,d=2 --steps 0", "--steps"},
        {TRAIN "--data gauss:k=2,d=2 --batch 0", "--batch"},
        {TRAIN "--data gauss:k=2,d=2,n=10 --batch 11 --replacement no", "--batch"},
        {TRAIN "--data gauss:k=2,d=2 --step 0", "--step"},
        {TRAIN "--data gauss:k=2,d=2 --step -1", "--step"},
        {TRAIN "--data gauss:k=2,d=2 --step oracle:max=-1", "max"},
        {TRAIN "--data gauss:k=2,d=2 --step decay:0.1", "every="},
        {TRAIN "--data gauss:k=2,d=2 --step sometimes", "--step"},
        {TRAIN "--data gauss:k=2,d=2 --step oracle --momentum 0.9", "--momentum"},
        {TRAIN "--data gauss:k=2,d=2 --step estimated --optimizer adam", "--step"},
        {TRAIN "--data gauss:k=2,d=2 --momentum 1", "--momentum"},
        {TRAIN "--data gauss:k=2,d=2 --nesterov", "--nesterov"},
        {TRAIN "--data gauss:k=2,d=2 --weight-decay -1", "--weight-decay"},
        {TRAIN "--data gauss:k=2,d=2 --keep-every 0", "--keep-every"},
        {TRAIN "--data gauss:k=2,d=2 --replacement maybe", "--replacement"},
        {TRAIN "--resume FOLDER/text.gmr", "--resume"},
        {"report FOLDER/text.gmr --figures png", "--dir"},
        {"report FOLDER/text.gmr --dir FOLDER/x", "--figures"},
        {"report FOLDER/text.gmr --figures gif --dir FOLDER/x", "gif"},
        {"report FOLDER/text.gmr --figures png --dir FOLDER/x -o FOLDER/p.html", "--output"},
        {"export", "RUN.gmr"},
        {"export FOLDER/text.gmr", "--params"},
        {"export FOLDER/text.gmr --metrics FOLDER/m.csv --at 3", "--at"},
    };
    CHECK(refused);
}

static void test_specifications(void **state)
{
    (void)state;
    static const refusal refused[] = {
        {"spectrum -v --data gauss:n=10 --model mlp:50--10", "mlp:50--10"},
        {"spectrum -v --data gauss:n=10 --model mlp:50", "mlp:50"},
        {"spectrum -v --data gauss:n=10 --model mlp:50-0-10", "mlp:50-0-10"},
        {"spectrum -v --data gauss:n=10 --model mlp:50-10,width=3", "width"},
        {"spectrum -v --data gauss:n=10 --model mlp:50-10,act=step", "act"},
        {"spectrum -v --data gauss:n=10 --model resnet", "resnet"},
        {"spectrum -v --data gauss:n=10 --model mlp:1099511627776-1099511627776", "mlp:"},
        {"spectrum -v --data gauss:n=10 --model mlp:99999999999999999999-10", "mlp:"},
        {"spectrum -v --data gauss:n=10 --model mlp:49-10", "49"},
        {"spectrum -v --data gauss:n=10,m=3 --model mlp:50-10", "m"},
        {"spectrum -v --data gauss:n=-1 --model mlp:50-10", "n"},
        {"spectrum -v --data nothing:here --model mlp:50-10", "nothing"},
        {"spectrum -v --data gauss:k=10 --model mlp:50-9", "gauss:"},
    };
    CHECK(refused);
}

static void test_files(void **state)
{
    (void)state;
    static const refusal refused[] = {
        {TRAIN "--data idx:FOLDER/magic,FOLDER/labels", "magic"},
        {TRAIN "--data idx:FOLDER/cut.gz,FOLDER/labels", "cut.gz"},
        {TRAIN "--data idx:FOLDER/missing,FOLDER/labels", "missing"},
        {TRAIN "--data npy:FOLDER/x.npy,FOLDER/beyond.npy", "beyond.npy"},
        {TRAIN "--data npy:FOLDER/nan.npy,FOLDER/y.npy", "nan.npy"},
        {TRAIN "--data npy:FOLDER/x.npy,FOLDER/y3.npy", "y3.npy"},
        {TRAIN "--data npy:FOLDER,FOLDER/y3.npy", "FOLDER"},
        {SPECTRUM "--params FOLDER/short.npy", "short.npy"},
        {SPECTRUM "--params FOLDER/square.npy", "square.npy"},
        {SPECTRUM "--params FOLDER/infinite.npy", "infinite.npy"},
        {SPECTRUM "--params FOLDER/missing.npy", "missing.npy"},
        {SPECTRUM "--params FOLDER/images", "images"},
        {SPECTRUM "--params FOLDER/text.gmr", "text.gmr"},
        {SPECTRUM "--params FOLDER/text.gmr@5", "text.gmr"},
        {SPECTRUM "--params FOLDER/missing.gmr", "missing.gmr"},
        {SPECTRUM "-o FOLDER/text.gmr", "text.gmr"},
        {SPECTRUM "-o FOLDER/none/new.gmr", "none/new.gmr"},
        {SPECTRUM "-o FOLDER", "FOLDER"},
        {SPECTRUM "--export-vectors FOLDER/none/v.npy", "none/v.npy"},
        {SPECTRUM "--export-diagonal FOLDER", "FOLDER"},
        {"train -v -o FOLDER/text.gmr --model mlp:50-10 --data gauss:", "text.gmr"},
        {"train -v -o FOLDER/none/r.gmr --model mlp:50-10 --data gauss:", "none/r.gmr"},
        {"train --resume FOLDER/text.gmr", "text.gmr"},
        {"train --resume FOLDER/missing.gmr", "missing.gmr"},
        {"train --resume FOLDER/x.npy", "x.npy"},
        {"export FOLDER/text.gmr --params FOLDER/t.npy", "text.gmr"},
        {"export FOLDER/missing.gmr --metrics FOLDER/m.csv", "missing.gmr"},
        {"export FOLDER/text.gmr --metrics FOLDER/text.gmr", "--metrics"},
    };
    CHECK(refused);
}

/* Output that cannot be written is found out. */
static void test_full_device(void **state)
{
    (void)state;
    static const char *const arguments[] = {
        "--help >/dev/full",
        "--version >/dev/full",
        "help train >/dev/full",
        "spectrum --help >/dev/full",
        "spectrum --model mlp:3-2 --data gauss:k=2,d=3,n=5 --threads 1 >/dev/full",
        "spectrum --model mlp:3-2 --data gauss:k=2,d=3,n=5 --threads 1 --json >/dev/full",
        "spectrum --model mlp:3-2 --data gauss:k=2,d=3,n=5 --threads 1 "
        "--export-diagonal /dev/full",
    };
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        program_result r = program("%s", arguments[i]);
        if (r.exit != 2 || !program_one_line(r.err)) {
            fail_msg("%s: exit status %d, standard error:\n%s", arguments[i], r.exit, r.err);
        }
        program_free(&r);
    }
}

/* The messages say what was found and what is expected, not just which option. */
static void test_wording(void **state)
{
    (void)state;
    static const refusal refused[] = {
        {SPECTRUM "--k 0", "--k: found '0', expected a whole number of at least 1"},
        {SPECTRUM "--preci f64", "--preci: found an abbreviation, expected the whole name"},
        {SPECTRUM "--params FOLDER/short.npy", "holds 5 numbers, expected 6"},
        {SPECTRUM "--which XX", "--which: found 'XX', expected LA, SA, BE or LM"},
        {SPECTRUM "--memory 5Q", "--memory: found '5Q', expected a size such as 512M"},
    };
    CHECK(refused);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),     cmocka_unit_test(test_specifications),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_wording),
        cmocka_unit_test(test_full_device),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli refusals", tests, make_inputs, folder_remove);
}
