/* idx:IMAGES,LABELS and mnist:DIR: the IDX format of MNIST and Fashion-MNIST, gzip or plain.
 *
 * Images: big-endian numbers 0x00000803, n, height, width, then n height width bytes. Labels:
 * 0x00000801, n, then n bytes. A pixel becomes byte / 255. Reference: Y. LeCun's MNIST page. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"
#include "data/source.h"

enum {
    MAGIC_LABELS = 0x801,
    MAGIC_IMAGES = 0x803,
    MAX_RATIO = 1032, /* deflate cannot compress further */
    SLACK = 64,
    ZLIB_BUFFER = 1 << 17
};

typedef struct idx_file {
    char *path;
    gzFile gz;
    size_t size; /* bytes on disk; 0 = unknown, not a regular file */
} idx_file;

typedef struct idx {
    idx_file images, labels;
    size_t next;
    unsigned char *pixels; /* [features] */
    double value[256];     /* byte / 255 */
    int split;             /* 0; else labels below it are class 0, all others class 1 */
} idx;

static gm_status file_open(idx_file *file, gm_error *err)
{
    struct stat info;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
        int error = fd >= 0 && S_ISDIR(info.st_mode) ? EISDIR : errno;
        if (fd >= 0) close(fd);
        return gm_fail(err, GM_ERR_IO, "%s: cannot be opened: %s", file->path, strerror(error));
    }
    file->gz = gzdopen(fd, "rb");
    if (!file->gz) {
        close(fd);
        return gm_fail(err, GM_ERR_MEMORY, "%s: no memory to read it", file->path);
    }
    gzbuffer(file->gz, ZLIB_BUFFER);
    file->size = S_ISREG(info.st_mode) ? (size_t)info.st_size : 0;
    return GM_OK;
}

static void file_close(idx_file *file)
{
    if (file->gz) gzclose(file->gz);
    gm_free(file->path);
}

/* Reads up to count bytes; *got falls short only at a sound end of the file. */
static gm_status read_some(idx_file *file, unsigned char *bytes, size_t count, size_t *got,
                           gm_error *err)
{
    enum { STEP = 1 << 30 };
    *got = 0;
    while (*got < count) {
        size_t wanted = count - *got < STEP ? count - *got : STEP;
        errno = 0;
        int step = gzread(file->gz, bytes + *got, (unsigned)wanted);
        int error = Z_OK;
        const char *text = gzerror(file->gz, &error);
        if (error == Z_ERRNO)
            return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", file->path,
                           strerror(errno ? errno : EIO));
        if (error == Z_BUF_ERROR)
            return gm_fail(err, GM_ERR_INPUT, "%s: gzip data are truncated", file->path);
        if (step < 0 || (error != Z_OK && error != Z_STREAM_END)) {
            const char *what = strstr(text, ">: "); /* behind zlib's name for it, "<fd:3>" */
            return gm_fail(err, GM_ERR_INPUT, "%s: gzip data are damaged: %s", file->path,
                           what ? what + 3 : text);
        }
        if (step == 0) break;
        *got += (size_t)step;
    }
    return GM_OK;
}

static gm_status read_all(idx_file *file, unsigned char *bytes, size_t count, const char *what,
                          gm_error *err)
{
    size_t got;
    gm_status status = read_some(file, bytes, count, &got, err);
    if (status == GM_OK && got < count)
        return gm_fail(err, GM_ERR_INPUT, "%s: ends within %s", file->path, what);
    return status;
}

/* Magic and sizes. The body must be one that the file can hold, so that a hostile header cannot
 * make us ask for more memory than its file warrants. */
static gm_status read_header(idx_file *file, uint32_t magic, int rank, size_t dim[], gm_error *err)
{
    enum { MAX_RANK = 3 };
    unsigned char header[4 * (1 + MAX_RANK)];
    gm_status status = read_all(file, header, 4, "its magic number", err);
    if (status != GM_OK) return status;
    status = read_all(file, header + 4, 4 * (size_t)rank, "its header", err);
    uint32_t number[1 + MAX_RANK] = {0};
    for (int i = 0; i <= (status == GM_OK ? rank : 0); i++) {
        const unsigned char *b = header + 4 * (size_t)i;
        number[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    }
    if (number[0] != magic)
        return gm_fail(err, GM_ERR_INPUT, "%s: magic number 0x%08x, expected 0x%08x (IDX %s)",
                       file->path, (unsigned)number[0], (unsigned)magic,
                       magic == MAGIC_IMAGES ? "images" : "labels");
    if (status != GM_OK) return status;

    size_t body = 1, limit = file->size;
    bool fits = true;
    for (int i = 0; i < rank; i++) {
        dim[i] = number[i + 1];
        if (dim[i] == 0) return gm_fail(err, GM_ERR_INPUT, "%s: dimension %d is 0", file->path, i);
        fits = fits && gm_mul_size(body, dim[i], &body);
    }
    if (!gzdirect(file->gz) && !gm_mul_size(limit, MAX_RATIO, &limit)) limit = SIZE_MAX;
    if (!fits || (file->size && body > SLACK && body - SLACK > limit))
        return gm_fail(err, GM_ERR_INPUT, "%s: the header promises more data than the file holds",
                       file->path);
    return GM_OK;
}

static gm_status check_end(idx_file *file, gm_error *err)
{
    unsigned char byte;
    size_t got;
    gm_status status = read_some(file, &byte, 1, &got, err);
    if (status == GM_OK && got)
        return gm_fail(err, GM_ERR_INPUT, "%s: bytes follow the last sample", file->path);
    return status;
}

static gm_status idx_next(gm_source *source, gm_sample *sample, gm_error *err)
{
    idx *files = source->state;
    unsigned char y = 0;
    gm_status status = read_all(&files->images, files->pixels, source->features, "its images", err);
    if (status == GM_OK) status = read_all(&files->labels, &y, 1, "its labels", err);
    if (status != GM_OK) return status;
    for (size_t j = 0; j < source->features; j++) {
        sample->x[j] = files->value[files->pixels[j]];
    }
    *sample->label = files->split ? y >= files->split : y;
    source->position = files->next++;
    if (files->next < source->n) return GM_OK;
    status = check_end(&files->images, err);
    return status == GM_OK ? check_end(&files->labels, err) : status;
}

/* A plain file is sought in; a compressed one is read on when its next bytes are asked for. */
static gm_status pass_over(idx_file *file, size_t bytes, gm_error *err)
{
    errno = 0;
    if (gzseek(file->gz, (z_off_t)bytes, SEEK_CUR) >= 0) return GM_OK;
    return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", file->path,
                   strerror(errno ? errno : EIO));
}

static gm_status idx_seek(gm_source *source, size_t i, gm_error *err)
{
    idx *files = source->state;
    size_t samples = i - files->next;
    gm_status status = pass_over(&files->images, samples * source->features, err);
    if (status == GM_OK) status = pass_over(&files->labels, samples, err);
    files->next = i;
    return status;
}

static void idx_close(void *state)
{
    idx *files = state;
    if (!files) return;
    file_close(&files->images);
    file_close(&files->labels);
    gm_free(files->pixels);
    gm_free(files);
}

static gm_status idx_new(gm_source *source, gm_error *err)
{
    source->state = gm_alloc(1, sizeof(idx), "IDX files", err);
    source->close = idx_close;
    source->next = idx_next;
    source->seek = idx_seek;
    return source->state ? GM_OK : GM_ERR_MEMORY;
}

/* Both paths are set: opens the files and reads their headers. */
static gm_status idx_begin(gm_source *source, gm_error *err)
{
    idx *files = source->state;
    size_t images[3] = {0}, labels[1] = {0};
    gm_status status = file_open(&files->images, err);
    if (status == GM_OK) status = file_open(&files->labels, err);
    if (status == GM_OK) status = read_header(&files->images, MAGIC_IMAGES, 3, images, err);
    if (status == GM_OK) status = read_header(&files->labels, MAGIC_LABELS, 1, labels, err);
    if (status != GM_OK) return status;
    if (images[0] != labels[0])
        return gm_fail(err, GM_ERR_INPUT, "%s: %zu labels, but %s has %zu images",
                       files->labels.path, labels[0], files->images.path, images[0]);

    source->n = images[0];
    source->shape = (gm_shape){3, {1, images[1], images[2]}};
    source->x_file = files->images.path;
    source->y_file = files->labels.path;
    source->unit = "row";
    status = gm_source_set_features(source, files->images.path, err);
    if (status != GM_OK) return status;
    files->pixels = gm_alloc(source->features, 1, files->images.path, err);
    if (!files->pixels) return GM_ERR_MEMORY;
    for (int byte = 0; byte < 256; byte++) {
        files->value[byte] = byte / 255.0;
    }
    return GM_OK;
}

gm_status gm_idx_open(const char *body, bool test, gm_source *source, gm_error *err)
{
    (void)test;
    gm_status status = idx_new(source, err);
    if (status != GM_OK) return status;
    idx *files = source->state;
    status =
        gm_split_pair(body, "idx:IMAGES,LABELS", &files->images.path, &files->labels.path, err);
    return status == GM_OK ? idx_begin(source, err) : status;
}

/* The plain file where there is one, else the compressed one. */
static gm_status find_file(const char *folder, const char *half, const char *part, char **path,
                           gm_error *err)
{
    static const char *const suffixes[] = {"", ".gz"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        gm_free(*path);
        *path = gm_format(err, "%s/%s-%s-ubyte%s", folder, half, part, suffixes[i]);
        if (!*path) return GM_ERR_MEMORY;
        if (access(*path, F_OK) == 0) return GM_OK;
    }
    return gm_fail(err, GM_ERR_IO, "%s/%s-%s-ubyte: not found, nor with .gz", folder, half, part);
}

/* DIR or DIR,split=S: the folder, a fresh string, and S or 0. */
static gm_status parse_mnist(const char *body, char **folder, int *split, gm_error *err)
{
    const char *key = strstr(body, ",split=");
    size_t length = key ? (size_t)(key - body) : strlen(body);
    *split = 0;
    if (length == 0)
        return gm_fail(err, GM_ERR_USAGE, "data \"mnist:%s\": expected mnist:DIR", body);
    if (key) {
        const char *value = key + strlen(",split=");
        *split = *value >= '1' && *value <= '9' && !value[1] ? *value - '0' : 0;
        if (!*split)
            return gm_fail(err, GM_ERR_USAGE,
                           "data \"mnist:%s\": split: found \"%s\", expected 1 "
                           "... 9",
                           body, value);
    }
    *folder = gm_format(err, "%.*s", (int)length, body);
    return *folder ? GM_OK : GM_ERR_MEMORY;
}

gm_status gm_mnist_open(const char *body, bool test, gm_source *source, gm_error *err)
{
    const char *half = test ? "t10k" : "train";
    char *folder = NULL;
    int split;
    gm_status status = parse_mnist(body, &folder, &split, err);
    if (status == GM_OK) status = idx_new(source, err);
    if (status == GM_OK) {
        idx *files = source->state;
        files->split = split;
        if (split) source->classes = 2;
        status = find_file(folder, half, "images-idx3", &files->images.path, err);
        if (status == GM_OK)
            status = find_file(folder, half, "labels-idx1", &files->labels.path, err);
    }
    gm_free(folder);
    return status == GM_OK ? idx_begin(source, err) : status;
}
