/* libFuzzer: any bytes as an ONNX model. Nothing may crash, and a net that is accepted must have a
 * slice of the parameters for each of its layers, and a line that says why where it is not. */
#include "memory_file.h"

#include <math.h>
#include <string.h>

#include "gradiometer/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static memory_file file;
    gm_onnx *model;
    gm_onnx_options options;
    gm_error err = {0};
    memory_file_fill(&file, bytes, count);
    gm_onnx_options_default(&options);
    options.unbatched = count % 2; /* both readings */
    if (gm_onnx_load(file.path, &options, &model, &err) != GM_OK) {
        if (model || strlen(err.message) == 0) abort();
        return 0;
    }
    size_t p = gm_net_parameters(model->net);
    for (size_t i = 0; i < gm_net_layers(model->net); i++) {
        gm_net_layer layer = gm_net_layer_at(model->net, i);
        if (layer.offset > p || layer.parameters > p - layer.offset) abort();
    }
    for (size_t i = 0; i < p; i++) {
        if (!isfinite(model->theta[i])) abort();
    }
    gm_onnx_free(model);
    return 0;
}
