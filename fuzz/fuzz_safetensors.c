/* libFuzzer: any bytes as a safetensors file, read tensor by tensor and as the parameters of a net.
 * Nothing may crash, and what is accepted must keep its promises. */
#include "memory_file.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/safetensors.h"
#include "gradiometer/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void read_tensor(gm_safetensors *file, size_t index)
{
    gm_error err;
    const gm_safetensor *tensor = &file->tensor[index];
    size_t count = 1;
    for (int i = 0; i < tensor->rank; i++) {
        count *= tensor->dim[i];
    }
    double *values = gm_alloc(tensor->count, sizeof *values, "values", &err);
    if (count != tensor->count || !values) abort();
    if (gm_safetensors_find(file, tensor->name) != index) abort();
    if (gm_safetensors_read(file, index, values, &err) == GM_OK) {
        for (size_t i = 0; i < count; i++) {
            if (!isfinite(values[i])) abort();
        }
    }
    gm_free(values);
}

static void read_net(const char *path)
{
    gm_error err, note;
    gm_net *net;
    double theta[14];
    if (gm_net_from_spec("mlp:3-2-2", NULL, 0, &net, &err) != GM_OK) abort();
    if (gm_net_read_parameters(net, path, theta, &note, &err) == GM_OK) {
        for (size_t i = 0; i < sizeof theta / sizeof *theta; i++) {
            if (!isfinite(theta[i])) abort();
        }
    }
    gm_net_free(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static memory_file file;
    char path[64];
    gm_error err;
    gm_safetensors *tensors;
    memory_file_fill(&file, bytes, count);
    if (gm_safetensors_open(file.path, &tensors, &err) == GM_OK) {
        for (size_t i = 0; i < tensors->tensors; i++) {
            read_tensor(tensors, i);
        }
        gm_safetensors_close(tensors);
    } else if (tensors || strlen(err.message) == 0) {
        abort();
    }
    /* The ending decides what a file of parameters is. */
    snprintf(path, sizeof path, "/tmp/gradiometer-fuzz-%ld.safetensors", (long)getpid());
    if (symlink(file.path, path) == 0) {
        read_net(path);
        unlink(path);
    }
    return 0;
}
