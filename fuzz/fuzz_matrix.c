/* libFuzzer: any bytes as a matrix file (NPY or Matrix Market). Nothing may crash, and what is
 * accepted must be a symmetric operator whose diagonal is that of its products. */
#include "memory_file.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/matrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { MOST = 64 }; /* rows up to which all products are made */

static void check_operator(gm_operator *op)
{
    size_t n = op->size;
    double *unit = gm_alloc(n * n, sizeof *unit, "unit vectors", NULL);
    double *a = gm_alloc(n * n, sizeof *a, "products", NULL);
    double *diagonal = gm_alloc(n, sizeof *diagonal, "diagonal", NULL);
    if (!unit || !a || !diagonal) abort();
    for (size_t i = 0; i < n; i++) {
        unit[i * n + i] = 1;
    }
    gm_operator_load_diagonal(op, diagonal);
    /* Rows of the largest numbers may overflow in the check of the sum. */
    if (gm_operator_apply(op, n, unit, a, NULL) == GM_OK) {
        for (size_t i = 0; i < n; i++) {
            if (a[i * n + i] != diagonal[i]) abort();
            for (size_t j = 0; j < i; j++) {
                if (a[i * n + j] != a[j * n + i]) abort();
            }
        }
    }
    gm_free(unit);
    gm_free(a);
    gm_free(diagonal);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static memory_file file;
    memory_file_fill(&file, bytes, count);
    gm_operator op;
    gm_error err = {0};
    if (gm_operator_load(file.path, (size_t)64 << 20, &op, &err) != GM_OK) {
        if (op.self || strlen(err.message) == 0) abort();
        return 0;
    }
    if (op.size <= MOST) check_operator(&op);
    gm_operator_destroy(&op);
    return 0;
}
