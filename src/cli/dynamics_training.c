/* What the run file of a training that is to come will not be able to answer: for the plan of a
 * study, which knows the training's options and neither data nor parameters. */
#include <inttypes.h>
#include <string.h>

#include "cli/dynamics.h"
#include "sgd/schedule.h"

/* Batches as given, drawn as given, else as the training draws them. */
static gm_status check_batches(const gm_cli *cli, const gm_train_options *train, size_t n,
                               gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const char *name = cli->operand[0];
    bool given = gm_cli_given(cli, "replacement");
    bool fresh = strcmp(name, "predict") == 0 || strcmp(name, "martingale") == 0 ||
                 strcmp(name, "phases") == 0;
    double batch[GM_DYNAMICS_LIST];
    size_t batches = 0;
    gm_status status = set->batch ? gm_dynamics_list("batch", set->batch, true, GM_DYNAMICS_LIST,
                                                     batch, &batches, err)
                                  : GM_OK;
    if (status != GM_OK) return status;
    return gm_dynamics_check_batches(given ? cli->shared.replacement : train->replacement, fresh,
                                     batches, batch, n, err);
}

/* Steps as given, each of them kept. */
static gm_status check_at(const gm_cli *cli, const gm_train_options *train, size_t n,
                          size_t parameters, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    gm_points points = {0};
    gm_schedule schedule;
    gm_status status = set->at ? gm_points_parse(set->at, &points, err) : GM_OK;
    gm_schedule_init(&schedule, train, n, parameters);
    for (size_t i = 0; status == GM_OK && i < points.count; i++) {
        uint64_t step = (uint64_t)points.step[i];
        if (step <= train->steps && gm_schedule_keeps(&schedule, step)) continue;
        status = gm_fail(err, GM_ERR_USAGE,
                         "--at: found step %" PRIu64 ", which the training of %" PRIu64
                         " steps does not keep",
                         step, train->steps);
    }
    gm_points_free(&points);
    return status;
}

gm_status gm_dynamics_check_training(const gm_cli *cli, const gm_train_options *train, size_t n,
                                     size_t parameters, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    gm_status status = check_batches(cli, train, n, err);
    if (status == GM_OK) status = check_at(cli, train, n, parameters, err);
    if (status == GM_OK && set->directions > parameters)
        status = gm_stability_refuse_directions(set->directions, parameters, err);
    if (status == GM_OK && strcmp(cli->operand[0], "martingale") == 0)
        status = gm_martingale_check_training(cli, train, err);
    return status;
}
