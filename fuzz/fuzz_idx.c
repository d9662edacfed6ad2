/* libFuzzer: any bytes as IDX images and labels (the first byte says where one file ends and the
 * other begins, in 255ths), gzip or plain. Nothing may crash, and what is accepted must be a sound
 * data set. */
#include "memory_file.h"

#include "gradiometer/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (count < 1) return 0;
    static memory_file images, labels;
    size_t split = (count - 1) * bytes[0] / 255;
    memory_file_fill(&images, bytes + 1, split);
    memory_file_fill(&labels, bytes + 1 + split, count - 1 - split);

    char spec[96];
    snprintf(spec, sizeof spec, "idx:%s,%s", images.path, labels.path);
    gm_data_options options;
    gm_data_options_default(&options);
    options.dtype = GM_F32;
    gm_dataset *data;
    gm_error err;
    if (gm_data_load(spec, &options, &data, &err) != GM_OK) return 0;
    const float *x = data->x;
    for (size_t j = 0; j < data->n * data->features; j++) {
        if (!(x[j] >= 0.0f && x[j] <= 1.0f)) abort();
    }
    for (size_t i = 0; i < data->n; i++) {
        if (data->label[i] < 0 || (size_t)data->label[i] >= data->classes) abort();
    }
    gm_dataset_free(data);
    return 0;
}
