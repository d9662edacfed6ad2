/* libFuzzer: any bytes as a CSV file. Nothing may crash, and what is accepted must be a sound data
 * set. */
#include "memory_file.h"

#include <math.h>

#include "gradiometer/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static memory_file file;
    char spec[96];
    memory_file_fill(&file, bytes, count);
    snprintf(spec, sizeof spec, "csv:%s", file.path);
    gm_data_options options;
    gm_data_options_default(&options);
    gm_dataset *data;
    gm_error err;
    if (gm_data_load(spec, &options, &data, &err) != GM_OK) return 0;
    const double *x = data->x;
    for (size_t j = 0; j < data->n * data->features; j++) {
        if (!isfinite(x[j])) abort();
    }
    for (size_t i = 0; i < data->n; i++) {
        if (data->label[i] < 0 || (size_t)data->label[i] >= data->classes) abort();
    }
    gm_dataset_free(data);
    return 0;
}
