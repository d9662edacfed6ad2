/* Data sets read in shares by ranks, which are threads here: each format gives every rank the
 * samples that one process has at those places, by reading no more than it has to; and what one
 * process refuses, all ranks refuse with the same line. */
#include "support.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "data/npy.h"
#include "data/read.h"
#include "folder.h"
#include "team_case.h"

enum { SAMPLES = 23, FEATURES = 4, CLASSES = 6, MOST = 5 };

/* ---- one set in every format ---- */

static unsigned char pixel[SAMPLES][FEATURES], label[SAMPLES];

static void fill(void)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        label[i] = i == 7 ? CLASSES - 1 : (unsigned char)(i % 3); /* one rank alone sees it */
        for (size_t j = 0; j < FEATURES; j++) {
            pixel[i][j] = (unsigned char)(i * 11 + j * 3 + i * j);
        }
    }
}

static void write_gz(const char *name, const void *bytes, size_t count)
{
    gzFile gz = gzopen(folder_path(name), "wb");
    gzwrite(gz, bytes, (unsigned)count);
    gzclose(gz);
}

static void write_idx(void)
{
    unsigned char images[16 + sizeof pixel] = {0, 0, 8, 3, 0, 0, 0, SAMPLES,
                                               0, 0, 0, 2, 0, 0, 0, 2};
    unsigned char labels[8 + sizeof label] = {0, 0, 8, 1, 0, 0, 0, SAMPLES};
    memcpy(images + 16, pixel, sizeof pixel);
    memcpy(labels + 8, label, sizeof label);
    folder_write("i", images, sizeof images);
    folder_write("l", labels, sizeof labels);
    write_gz("i.gz", images, sizeof images);
    write_gz("l.gz", labels, sizeof labels);
}

static void write_npy(void)
{
    static const size_t x[] = {SAMPLES, FEATURES}, y[] = {SAMPLES}, two[] = {SAMPLES / 2, 2},
                        t[] = {SAMPLES, 2}, half[] = {SAMPLES / 2, FEATURES};
    double target[SAMPLES][2];
    for (size_t i = 0; i < SAMPLES; i++) {
        target[i][0] = label[i];
        target[i][1] = -0.5 * (double)i;
    }
    assert_int_equal(gm_npy_write(folder_path("x.npy"), GM_NPY_U1, 2, x, pixel, NULL), GM_OK);
    assert_int_equal(gm_npy_write(folder_path("y.npy"), GM_NPY_U1, 1, y, label, NULL), GM_OK);
    assert_int_equal(gm_npy_write(folder_path("t.npy"), GM_NPY_F8, 2, t, target, NULL), GM_OK);
    assert_int_equal(gm_npy_write(folder_path("h.npy"), GM_NPY_U1, 2, half, pixel, NULL), GM_OK);
    assert_int_equal(gm_npy_write(folder_path("p.npy"), GM_NPY_U1, 2, two, label, NULL), GM_OK);
}

/* With a header, and blank lines between. */
static void write_csv(const char *name, size_t odd, const char *instead)
{
    FILE *file = fopen(folder_path(name), "w");
    assert_non_null(file);
    fputs("a,b,c,d,class\n", file);
    for (size_t i = 0; i < SAMPLES; i++) {
        if (i == odd) {
            fprintf(file, "%s\n", instead);
            continue;
        }
        for (size_t j = 0; j < FEATURES; j++) {
            fprintf(file, "%d,", pixel[i][j]);
        }
        fprintf(file, "%d\n%s", label[i], i % 5 == 0 ? "\n" : "");
    }
    fclose(file);
}

static void write_cifar10(void)
{
    enum { RECORD = 1 + 3 * 32 * 32 };
    static const int records[] = {3, 6, 1, 2, 4};
    static unsigned char bytes[6 * RECORD];
    unsigned next = 1;
    for (int f = 0; f < 5; f++) {
        char name[32];
        for (int i = 0; i < records[f] * RECORD; i++) {
            next = next * 1103515245 + 12345;
            bytes[i] = i % RECORD ? (unsigned char)(next >> 16) : (unsigned char)(next >> 16) % 10;
        }
        snprintf(name, sizeof name, "data_batch_%d.bin", f + 1);
        folder_write(name, bytes, (size_t)records[f] * RECORD);
    }
}

static int make_files(void **state)
{
    if (folder_make(state) != 0) return -1;
    fill();
    write_idx();
    write_npy();
    write_csv("s.csv", SAMPLES, "");
    write_cifar10();
    return 0;
}

/* ---- a rank ---- */

typedef struct reading {
    const char *spec;
    gm_data_options options;
    gm_dataset *data;
    gm_status status;
    gm_error err;
} reading;

static void load(const gm_team *team, void *data)
{
    reading *r = data;
    r->options.team = team;
    r->options.share = true;
    r->status = gm_data_load(r->spec, &r->options, &r->data, &r->err);
}

/* The same by that many ranks, of which one may be given another spec. */
static void load_by(int size, const reading *pattern, int odd, const char *other,
                    reading many[MOST])
{
    void *data[MOST];
    for (int r = 0; r < size; r++) {
        many[r] = *pattern;
        if (r == odd) many[r].spec = other;
        data[r] = &many[r];
    }
    team_run(size, load, data);
}

static void free_all(int size, reading many[MOST])
{
    for (int r = 0; r < size; r++) {
        gm_dataset_free(many[r].data);
    }
}

static const char *spec_of(const char *scheme, const char *a, const char *b)
{
    static char spec[2][1200];
    static int next;
    char *text = spec[next++ % 2];
    snprintf(text, sizeof spec[0], "%s:%s%s%s", scheme, a ? folder_path(a) : folder, b ? "," : "",
             b ? folder_path(b) : "");
    return text;
}

/* ---- shares ---- */

/* The ranks' samples, one after the other, are those of one process. */
static void same_samples(const gm_dataset *one, int size, const reading many[MOST])
{
    size_t next = 0;
    for (int r = 0; r < size; r++) {
        const gm_dataset *d = many[r].data;
        if (many[r].status != GM_OK)
            fail_msg("%s: rank %d of %d: %s", one->name, r, size, many[r].err.message);
        assert_int_equal(d->whole, one->n);
        assert_int_equal(d->first, next);
        assert_int_equal(d->classes, one->classes);
        assert_int_equal(d->redrawn, one->redrawn);
        assert_true(d->weight == one->weight);
        const double *x = one->x, *found = d->x;
        for (size_t i = 0; i < d->n * one->features; i++) {
            if (found[i] != x[next * one->features + i])
                fail_msg("%s: rank %d of %d: number %zu is another", one->name, r, size, i);
        }
        if (one->label && d->n)
            assert_memory_equal(d->label, one->label + next * one->positions,
                                d->n * one->positions * sizeof *d->label);
        if (one->target && d->n)
            assert_memory_equal(d->target, one->target + next * one->outputs,
                                d->n * one->outputs * sizeof *d->target);
        next += d->n;
    }
    assert_int_equal(next, one->n);
}

static void every_format(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *a, *b;
        bool random;
    } formats[] = {{"idx", "i", "l", true},         {"idx", "i.gz", "l.gz", true},
                   {"npy", "x.npy", "y.npy", true}, {"npy", "x.npy", "t.npy", false},
                   {"npy", "h.npy", "p.npy", true}, {"csv", "s.csv", NULL, true},
                   {"cifar10", NULL, NULL, true}};
    static const size_t subsets[] = {0, 9, 1};
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        for (size_t s = 0; s < 3; s++) {
            reading pattern = {.spec = spec_of(formats[f].scheme, formats[f].a, formats[f].b)};
            reading one, many[MOST];
            gm_data_options_default(&pattern.options);
            pattern.options.subset = subsets[s];
            pattern.options.seed = 4;
            if (formats[f].random) pattern.options.random_labels = 0.4;
            one = pattern;
            load(NULL, &one);
            if (one.status != GM_OK) fail_msg("%s: %s", one.spec, one.err.message);
            for (int size = 2; size <= MOST; size++) {
                load_by(size, &pattern, -1, NULL, many);
                same_samples(one.data, size, many);
                free_all(size, many);
            }
            gm_dataset_free(one.data);
        }
    }
}

/* ---- what is read ---- */

typedef struct counted {
    size_t next, delivered;
} counted;

static gm_status counted_next(gm_source *source, gm_sample *sample, gm_error *err)
{
    (void)err;
    counted *c = source->state;
    c->delivered++;
    *sample->x = (double)c->next;
    *sample->label = (int64_t)(c->next++ % 2);
    return GM_OK;
}

static gm_status counted_seek(gm_source *source, size_t i, gm_error *err)
{
    (void)err;
    counted *c = source->state;
    if (i <= c->next) abort(); /* forwards, and not without need */
    c->next = i;
    return GM_OK;
}

typedef struct part {
    size_t n, delivered;
    const size_t *position; /* [SAMPLES] of a subset, or NULL */
    size_t subset;
} part;

static void count_reads(const gm_team *team, void *data)
{
    part *p = data;
    counted c = {0};
    gm_source source = {.n = SAMPLES,
                        .shape = {1, {1}},
                        .features = 1,
                        .x_file = "counted",
                        .y_file = "counted",
                        .unit = "row",
                        .state = &c,
                        .next = counted_next,
                        .seek = counted_seek};
    char name[] = "counted";
    gm_dataset set = {.dtype = GM_F64, .name = name, .whole = p->subset};
    size_t share;
    gm_team_share(team, p->subset, &set.first, &share);
    gm_status status = gm_source_allocate(&source, share, &set, NULL);
    if (status == GM_OK) status = gm_source_read(&source, p->position, 0, team, &set, NULL);
    p->n = status == GM_OK ? set.n : SIZE_MAX;
    p->delivered = c.delivered;
    gm_free(set.x);
    gm_free(set.label);
}

/* Its own samples and those of one other rank: all of them together twice, with the ones that are
 * left out; with four ranks half of them each, and not a sample more. */
static void no_more_than_it_has_to(void **state)
{
    (void)state;
    size_t position[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) {
        position[i] = i % 2 ? (SAMPLES - i) / 2 - 1 : gm_left_out;
    }
    for (int subset = 0; subset < 2; subset++) {
        for (int size = 2; size <= MOST; size++) {
            part many[MOST];
            void *data[MOST];
            size_t delivered = 0, n = 0;
            for (int r = 0; r < size; r++) {
                many[r] = (part){.position = subset ? position : NULL,
                                 .subset = subset ? SAMPLES / 2 : SAMPLES};
                data[r] = &many[r];
            }
            team_run(size, count_reads, data);
            for (int r = 0; r < size; r++) {
                delivered += many[r].delivered;
                n += many[r].n;
                size_t most = 2 * (SAMPLES / (size_t)size + 1) + (subset ? 2 : 0);
                if (many[r].delivered > most)
                    fail_msg("rank %d of %d has read %zu samples of %d", r, size, many[r].delivered,
                             SAMPLES);
            }
            assert_int_equal(delivered, 2 * SAMPLES);
            assert_int_equal(n, subset ? SAMPLES / 2 : SAMPLES);
        }
    }
}

/* ---- refusals ---- */

/* One line, the same at all ranks. */
static void all_refuse(int size, reading many[MOST], const char *line)
{
    for (int r = 0; r < size; r++) {
        if (many[r].status != GM_ERR_INPUT || strcmp(many[r].err.message, line) != 0)
            fail_msg("rank %d of %d: \"%s\", expected \"%s\"", r, size, many[r].err.message, line);
        assert_null(many[r].data);
    }
}

/* Wherever the bad samples are, in the subset or not: one process and all ranks name the first. */
static void bad_samples(void **state)
{
    (void)state;
    static const char *const bad[] = {"1,2,nan,4,0", "1,2,3,4,7", "1,2,3,4", "1,2,x,4,0"};
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        for (size_t odd = b; odd < SAMPLES; odd += 3) {
            write_csv("bad.csv", odd, bad[b]);
            reading pattern = {.spec = spec_of("csv", "bad.csv", NULL)}, one, many[MOST];
            gm_data_options_default(&pattern.options);
            pattern.options.classes = CLASSES;
            pattern.options.subset = b % 2 ? 7 : 0;
            one = pattern;
            load(NULL, &one);
            assert_int_equal(one.status, GM_ERR_INPUT);
            for (int size = 2; size <= 4; size += 2) {
                load_by(size, &pattern, -1, NULL, many);
                all_refuse(size, many, one.err.message);
            }
        }
    }
}

/* What a rank reads: its share and that of the rank half a team further on. */
static bool reads(int size, int rank, size_t sample)
{
    for (int turn = 0; turn < 2; turn++) {
        gm_team team = {.rank = turn ? (rank + (size + 1) / 2) % size : rank, .size = size};
        size_t first, count;
        gm_team_share(&team, SAMPLES, &first, &count);
        if (sample >= first && sample < first + count) return true;
    }
    return false;
}

/* One sample of one rank's file is another, or bad. Found wherever that rank reads it, which
 * includes all that it keeps; elsewhere it comes into no result. */
static void another_file(void **state)
{
    (void)state;
    static const char *const odd_line[] = {"9,9,9,9,1", "9,9,inf,9,1"};
    reading pattern = {.spec = spec_of("csv", "s.csv", NULL)}, one;
    const char *other = spec_of("csv", "odd.csv", NULL);
    gm_data_options_default(&pattern.options);
    one = pattern;
    load(NULL, &one);
    for (int bad = 0; bad < 2; bad++) {
        for (size_t sample = 0; sample < SAMPLES; sample += 2) {
            write_csv("odd.csv", sample, odd_line[bad]);
            for (int size = 2; size <= 5; size += 3) {
                int rank = (int)(sample / 2) % size;
                reading many[MOST];
                load_by(size, &pattern, rank, other, many);
                bool found = reads(size, rank, sample);
                for (int r = 0; r < size; r++) {
                    if (found) {
                        const char *words = bad ? "alone: " : "reads other samples than rank ";
                        assert_int_equal(many[r].status, GM_ERR_INPUT);
                        const char *own = strstr(many[r].err.message, "rank ");
                        const char *first = strstr(many[0].err.message, "rank ");
                        if (!own || !first || strcmp(own, first) != 0 || !strstr(own, words))
                            fail_msg("rank %d: \"%s\", expected \"%s\"", r, many[r].err.message,
                                     words);
                    }
                }
                if (!found) same_samples(one.data, size, many);
                free_all(size, many);
            }
        }
    }
    gm_dataset_free(one.data);
}

/* Another number of samples, by which all shares would be others. */
static void another_number(void **state)
{
    (void)state;
    reading pattern = {.spec = "gauss:k=3,d=4,n=20"}, many[MOST];
    gm_data_options_default(&pattern.options);
    load_by(3, &pattern, 2, "gauss:k=3,d=4,n=21", many);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(many[r].status, GM_ERR_INPUT);
        assert_non_null(strstr(many[r].err.message, "rank 2 reads other samples than rank 0, of "
                                                    "another number or shape"));
    }
}

/* The end of a compressed file, its checksum, is looked at by whoever reads the last sample. */
static void damaged_end(void **state)
{
    (void)state;
    unsigned char bytes[4096];
    FILE *file = fopen(folder_path("i.gz"), "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    bytes[size - 6] ^= 1;
    folder_write("d.gz", bytes, size);
    reading pattern = {.spec = spec_of("idx", "d.gz", "l")}, one, many[MOST];
    gm_data_options_default(&pattern.options);
    one = pattern;
    load(NULL, &one);
    assert_int_equal(one.status, GM_ERR_INPUT);
    assert_non_null(strstr(one.err.message, "gzip data are damaged"));
    load_by(4, &pattern, -1, NULL, many);
    all_refuse(4, many, one.err.message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format),   cmocka_unit_test(no_more_than_it_has_to),
        cmocka_unit_test(bad_samples),    cmocka_unit_test(another_file),
        cmocka_unit_test(another_number), cmocka_unit_test(damaged_end)};
    return cmocka_run_group_tests_name("data_shares", tests, make_files, folder_remove);
}
