/* A net from an ONNX file (onnx.h): what is in it, its loss on data of your own, and the product of
 * the Hessian with the gradient, against a difference of gradients.
 *
 *     onnx_net [FILE.onnx]      default two_layers.onnx, in this folder: relu(x A + a) B + b,
 * 3-4-2; status 1 where a check fails */
#include "setting.h"

enum { SAMPLES = 20, CLASSES = 2 };

static void describe(const gm_onnx *model)
{
    printf("%s: opset %d, logits '%s', %zu parameters\n", model->path, model->opset, model->logits,
           gm_net_parameters(model->net));
    for (size_t i = 0; i < model->initializers; i++) {
        const gm_onnx_initializer *x = &model->initializer[i];
        printf("  %-10s %s of %zu, %s\n", x->name, x->type, x->count,
               x->role == GM_ONNX_IS_PARAMETER ? "a parameter" : "no parameter");
    }
}

/* mu.H mu, once by a product and once by gradients a little way along mu on either side. */
static gm_status check(gm_problem *problem, const double *theta, gm_error *err)
{
    size_t p = gm_problem_parameters(problem);
    gm_linearization *lin = NULL;
    gm_operator hessian = {0};
    double *work = malloc(4 * p * sizeof *work), by_product = 0, by_difference = 0;
    const double h = 1e-5;
    gm_status status = work ? gm_linearize(problem, theta, &lin, err)
                            : gm_fail(err, GM_ERR_MEMORY, "no memory for vectors");
    const double *mu = status ? NULL : gm_linearization_gradient(lin);
    double *product = work, *moved = work + p, *ahead = work + 2 * p, *behind = work + 3 * p;
    if (!status) status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, err);
    if (!status) status = gm_operator_apply(&hessian, 1, mu, product, err);
    for (int side = -1; side <= 1 && !status; side += 2) {
        for (size_t j = 0; j < p; j++) {
            moved[j] = theta[j] + side * h * mu[j];
        }
        status = gm_problem_gradient(problem, moved, NULL, NULL, side > 0 ? ahead : behind, err);
    }
    for (size_t j = 0; j < p && !status; j++) {
        by_product += mu[j] * product[j];
        by_difference += mu[j] * (ahead[j] - behind[j]) / (2 * h);
    }
    if (!status) {
        printf("loss %.6f\n", gm_linearization_loss(lin));
        agree("mu.H mu: product, difference", by_product, by_difference, 1e-7 * fabs(by_product));
    }
    gm_operator_destroy(&hessian);
    gm_linearization_free(lin);
    free(work);
    return status;
}

int main(int argc, char **argv)
{
    gm_error err = {0};
    gm_onnx_options options;
    gm_problem_options problem_options;
    gm_onnx *model = NULL;
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    double *x = NULL;
    int32_t label[SAMPLES];
    gm_onnx_options_default(&options);
    gm_problem_options_default(&problem_options);
    gm_status status = gm_selftest(&err);
    if (!status)
        status = gm_onnx_load(argc > 1 ? argv[1] : "two_layers.onnx", &options, &model, &err);
    if (!status) {
        describe(model);
        size_t inputs = gm_net_inputs(model->net);
        const gm_shape shape = {.rank = 1, .dim = {inputs}};
        x = malloc(SAMPLES * inputs * sizeof *x);
        if (!x) status = gm_fail(&err, GM_ERR_MEMORY, "no memory for samples");
        for (int i = 0; i < SAMPLES; i++) {
            label[i] = i % CLASSES;
        }
        if (!status) gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, SAMPLES * inputs, x);
        if (!status)
            status = gm_data_from_arrays("normal numbers", SAMPLES, &shape, x, label, NULL, 0,
                                         GM_F64, CLASSES, &data, &err);
    }
    if (!status) status = gm_problem_create(model->net, data, &problem_options, &problem, &err);
    if (!status) status = check(problem, model->theta, &err);
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_onnx_free(model);
    free(x);
    return setting_end(status, &err);
}
