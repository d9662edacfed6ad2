/* libFuzzer: any bytes as an NPY file, read as an array, as a parameter vector and as X of a data
 * set. Nothing may crash, and what is accepted must keep its promises. */
#include "memory_file.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/npy.h"
#include "gradiometer/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void read_array(const char *path)
{
    gm_error err;
    gm_npy *npy;
    if (gm_npy_open(path, &npy, &err) != GM_OK) {
        if (npy || strlen(err.message) == 0) abort();
        return;
    }
    size_t count = 1;
    for (int i = 0; i < npy->rank; i++) {
        count *= npy->dim[i];
    }
    double *values = gm_alloc(npy->count, sizeof *values, "values", &err);
    if (count != npy->count || !values) abort();
    if (gm_npy_read(npy, npy->count, values, &err) != GM_OK) abort();
    gm_free(values);
    gm_npy_close(npy);
}

static void read_vector(const char *path)
{
    gm_error err;
    double *values;
    size_t n;
    if (gm_npy_read_vector(path, &values, &n, &err) != GM_OK) return;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) abort();
    }
    gm_free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static memory_file file;
    memory_file_fill(&file, bytes, count);
    read_array(file.path);
    read_vector(file.path);

    char spec[96];
    snprintf(spec, sizeof spec, "npy:%s,%s", file.path, file.path);
    gm_data_options options;
    gm_data_options_default(&options);
    gm_dataset *data;
    gm_error err;
    gm_data_load(spec, &options, &data, &err);
    gm_dataset_free(data);
    return 0;
}
