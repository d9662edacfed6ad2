/* Training with stochastic gradient descent:
 *   g = gradient of the mini-batch of step t at theta_t + weight_decay theta_t
 *   v = momentum v + g;  step = nesterov ? g + momentum v : v;  theta_{t+1} = theta_t - eta step
 * (PyTorch's convention; plain SGD has step = g), with a diagonal preconditioner
 *   theta_{t+1} = theta_t - eta D_t^-1 g,  D_t known before the batch of step t is drawn
 * (theory section 3.4), or with Adam. The loss that is reported never includes the weight decay.
 *
 * A run is a function of its options, the problem, the start and the step number alone, so that it
 * resumes bit for bit (for equal instruction set and threads). */
#ifndef GRADIOMETER_SGD_H
#define GRADIOMETER_SGD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/diff.h"
#include "gradiometer/run.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- mini-batches ---- */

typedef enum gm_replacement {
    GM_REPLACEMENT_YES,  /* every index drawn alone */
    GM_REPLACEMENT_NO,   /* a fresh subset of distinct samples for each step */
    GM_REPLACEMENT_EPOCH /* a permutation per epoch; its last batch may be short */
} gm_replacement;

const char *gm_replacement_name(gm_replacement replacement); /* "yes", "no", "epoch" */
bool gm_replacement_parse(const char *name, gm_replacement *replacement);

/* The batches of n samples, of `batch` indices each, from stream (seed, GM_PURPOSE_BATCH, run): the
 * batch of any step alone. With replacement, index j of step t is draw t m + j; without, they are
 * the first m places of a Fisher-Yates shuffle of 0 ... n-1 with the same draws; per epoch, epoch e
 * is the permutation of draws e n ... e n + n - 1. GM_ERR_USAGE for batch = 0, and for batch > n
 * unless drawn with replacement. Memory: n indices without replacement and per epoch, else none. */
typedef struct gm_sampler gm_sampler;
gm_status gm_sampler_create(size_t n, size_t batch, gm_replacement replacement, uint64_t seed,
                            uint32_t run, gm_sampler **sampler, gm_error *err);
void gm_sampler_free(gm_sampler *sampler);

/* index [batch] = the samples of step t; returns how many: batch, or fewer in the last batch of an
 * epoch. Cost: batch draws (per epoch: n draws when t enters another epoch). */
size_t gm_sampler_draw(gm_sampler *sampler, uint64_t t, size_t *index);

/* ---- step-size policies (theory section 3.3) ---- */

/* The first three are functions of the step number alone: gm_policy_step. The others look at
 * theta_t before the batch of step t is drawn: gm_stepper. They are for plain SGD, with or without
 * a preconditioner: with momentum or weight decay in the step, the loss alone is no
 * super-martingale. */
typedef enum gm_policy_kind {
    GM_POLICY_FIXED,        /* eta */
    GM_POLICY_DECAY,        /* eta factor^floor(t / every) */
    GM_POLICY_COSINE,       /* final + (eta - final) (1 + cos(pi t / T)) / 2 (arXiv 1608.03983) */
    GM_POLICY_ORACLE,       /* share eta_lim from exact mu, tr M_m and L */
    GM_POLICY_ORACLE_MODEL, /* share 2 |mu|^2 / tr(H M_m) while that trace is positive, else as
                               oracle: the second-order model's step, without guarantee */
    GM_POLICY_ESTIMATED     /* share eta_lim from running means over the batches before t */
} gm_policy_kind;

/* With D = I or the preconditioner's diagonal,
 *   eta_lim = 2 mu.D^-1 mu / (L tr(D^-1 M_m D^-1)),   eta = min(max, share eta_lim).
 * L is the largest lambda_max(H) + residual seen at theta_t and at the trial point theta_t - eta
 * D^-1 mu of the step that theta_t alone would give, and at least floor. Where H has no finite
 * product there, the trial step is halved twice, and again; eta is at most the trial step. */
typedef struct gm_policy {
    gm_policy_kind kind; /* fixed */
    uint64_t every; /* decay: > 0. oracle: 1, steps from one measurement to the next. estimated:
                       0, steps between updates of L (denser at first: at 0, 1, 2, 4, 8, ...), 0
                       for as many as cost ten passes over the data */
    double factor;  /* 0.1: decay, above 0, at most 1 */
    double final;   /* 0: cosine, >= 0 */
    double share;   /* 0.5 of eta_lim, the best step; above 0, at most 1 */
    double max;     /* 1: eta_max > 0 */
    double floor;   /* 1e-3: of L, > 0 */
    double memory;  /* 100: estimated, steps over which the means run, >= 1 */
} gm_policy;

/* The defaults of a kind. A struct of zeros is the fixed policy. */
void gm_policy_default(gm_policy_kind kind, gm_policy *policy);
const char *gm_policy_name(gm_policy_kind kind); /* "fixed", ..., "oracle-model", "estimated" */

/* Reads "0.1", "decay:0.1,every=500,factor=0.5" (every has no default), "cosine:0.1,final=0",
 * "oracle", "oracle-model" and "estimated", the last three followed by ":KEY=VALUE,..." with share,
 * max, floor, every, and memory for estimated. *step is the number of the first three, 0 for the
 * others. GM_ERR_USAGE, naming --step, what was found and what was expected. */
gm_status gm_policy_parse(const char *text, gm_policy *policy, double *step, gm_error *err);
/* The same from the front of a list separated by commas; *rest is what follows the comma, NULL at
 * the end. */
gm_status gm_policy_parse_list(const char *text, gm_policy *policy, double *step, const char **rest,
                               gm_error *err);
/* As text that gm_policy_parse reads back to equal bits. */
enum { GM_POLICY_TEXT = 192 };
void gm_policy_print(const gm_policy *policy, double step, char text[GM_POLICY_TEXT]);
/* Checks every field; step is eta of the first three kinds. */
gm_status gm_policy_check(const gm_policy *policy, double step, gm_error *err);

/* True for the first three kinds, and their eta_t in a training of T steps. */
bool gm_policy_timed(const gm_policy *policy);
double gm_policy_step(const gm_policy *policy, double step, uint64_t t, uint64_t steps);

/* What a policy chose before the batch of step t was drawn, and from what; NaN where it does not
 * enter. */
typedef struct gm_step_choice {
    double step, limit;     /* eta_t; eta_lim, for oracle-model 2 |mu|^2 / tr(H M_m); 0 without a
                               positive numerator, infinite without a positive denominator */
    double gradient_square; /* mu.D^-1 mu, or its running mean */
    double trace_moment;    /* tr(D^-1 M_m D^-1), or its running mean */
    double curvature;       /* L */
    double trace_curvature; /* tr(D^-1 H D^-1 M_m), oracle-model */
    bool measured;          /* something of it was measured at theta_t */
} gm_step_choice;

/* The policies that are no functions of time, for batches of `batch` samples of problem, which must
 * outlive it. seed and run name its random streams. Memory: up to 6 vectors of p doubles, and while
 * it measures a linearization and what gm_eigen_track takes. GM_ERR_USAGE for the timed kinds. */
typedef struct gm_stepper gm_stepper;
gm_status gm_stepper_create(gm_problem *problem, const gm_policy *policy, size_t batch,
                            gm_replacement replacement, uint64_t seed, uint32_t run,
                            gm_stepper **stepper, gm_error *err);
void gm_stepper_free(gm_stepper *stepper);

/* Means of the estimated policy from 8 batches at theta_0 [p] of a stream of their own; nothing for
 * the others. divisor [p] is D, NULL for I. Cost: 8 batch gradients. */
gm_status gm_stepper_start(gm_stepper *stepper, const double *theta, const double *divisor,
                           gm_error *err);

/* eta_t at theta_t [p], for ascending t; everything in it is known before the batch of step t is
 * drawn. Cost where it measures: two linearizations, the diagonal of M (oracle) and some products
 * with H; oracle-model, n products more, or 64 from 2,001 samples on, where tr(H M_m) is an
 * estimate from random signs. */
gm_status gm_stepper_choose(gm_stepper *stepper, uint64_t t, const double *theta,
                            const double *divisor, gm_step_choice *choice, gm_error *err);

/* The gradient of the batch index [m] of step t, as gm_problem_batch_gradient, and what the
 * estimated policy learns from it for later steps. For that the batch is cut into two halves of
 * h_1, h_2 samples with gradients g_1, g_2: s^2 = |g_1 - g_2|^2 / (1/h_1 + 1/h_2) has mean
 * tr Sigma n/(n-1) for batches without replacement, and |mu|^2 is estimated by g_1.g_2 with
 * replacement, g_1.g_2 + s^2/n without (disjoint halves are correlated), tr M_m by |g_B|^2; all
 * three unbiased. A batch of one gets a second, independent sample. Cost: one batch gradient. */
gm_status gm_stepper_gradient(gm_stepper *stepper, uint64_t t, const void *theta, size_t m,
                              const size_t *index, const double *divisor, double *loss,
                              void *gradient, gm_error *err);

/* All that later choices depend on, into the run file and back (one result, command "train", key
 * "policy", with its arrays), so that a resumed training chooses the same steps to the bit. */
gm_status gm_stepper_save(const gm_stepper *stepper, gm_run *run, gm_error *err);
gm_status gm_stepper_load(gm_stepper *stepper, gm_run *run, gm_error *err);

/* ---- training ---- */

/* SGD as above, or for comparison Adam (Kingma and Ba 2015, arXiv 1412.6980, in PyTorch's form):
 *   m = beta1 m + (1 - beta1) g,  s = beta2 s + (1 - beta2) g^2,
 *   theta -= eta m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + epsilon), t = 1 in the first step.
 * and RMSProp and AdaGrad as textbooks and PyTorch have them: s = beta2 s + (1 - beta2) g^2, or s +
 * g^2, from s = 0, then theta -= eta g / (sqrt(s) + epsilon). Their divisors contain g_t, so that
 * nothing of theory section 3.4 holds for them: those of gm_precondition do not. */
typedef enum gm_optimizer {
    GM_OPTIMIZER_SGD,
    GM_OPTIMIZER_ADAM,
    GM_OPTIMIZER_RMSPROP,
    GM_OPTIMIZER_ADAGRAD
} gm_optimizer;

const char *gm_optimizer_name(gm_optimizer optimizer); /* "sgd", "adam", "rmsprop", "adagrad" */
bool gm_optimizer_parse(const char *name, gm_optimizer *optimizer);

/* The diagonal D_t of theory section 3.4, of g_s with s < t alone. Running mean and sum start from
 * g^2 of a batch drawn before step 0 (stream GM_PURPOSE_START). The other two are exact, on the
 * whole training set, taken anew at theta_t in every precondition_every-th step t = 0, q, 2q, ...;
 * M is that of the per-sample gradients, not of mini-batches, and neither contains the weight
 * decay. */
typedef enum gm_precondition {
    GM_PRECONDITION_NONE,        /* D = I */
    GM_PRECONDITION_RMSPROP,     /* sqrt(s_t) + epsilon, s_{t+1} = beta2 s_t + (1 - beta2) g_t^2 */
    GM_PRECONDITION_ADAGRAD,     /* sqrt(s_t) + epsilon, s_{t+1} = s_t + g_t^2 */
    GM_PRECONDITION_DIAG_MOMENT, /* sqrt(diag M) + epsilon */
    GM_PRECONDITION_DIAG_HESSIAN /* |diag H| + epsilon */
} gm_precondition;

/* "none", "rmsprop", "adagrad", "diag-moment", "diag-hessian" */
const char *gm_precondition_name(gm_precondition precondition);
bool gm_precondition_parse(const char *name, gm_precondition *precondition);

typedef struct gm_train_options {
    uint64_t steps;      /* 1000: T >= 1 */
    size_t batch;        /* 64: m >= 1 */
    double step;         /* 0.1: eta > 0, the first one for decay and cosine; not read by others */
    gm_policy policy;    /* fixed */
    double momentum;     /* 0: beta, 0 <= beta < 1 */
    bool nesterov;       /* false; needs momentum > 0 */
    double weight_decay; /* 0: >= 0 */
    gm_optimizer optimizer; /* GM_OPTIMIZER_SGD */
    /* GM_PRECONDITION_NONE; else optimizer SGD without momentum: with it f alone is no
     * super-martingale (theory section 3.4). */
    gm_precondition precondition;
    double beta1; /* 0.9: of Adam's mean, 0 <= beta1 < 1; not read without Adam */
    /* Of the mean of squares, above 0 and below 1, for Adam and RMSProp (of either kind) alone; 0:
     * 0.999 and 0.99. */
    double beta2;
    /* Added to the divisor, above 0, for optimizers other than SGD and for preconditioners; 0: 1e-8
     * for Adam and RMSProp, 1e-10 for AdaGrad, 0.3 for diag-hessian, else 1e-3. The optimizers'
     * divisors are never much below a tenth of |g_t|. That of a preconditioner
     * is epsilon alone where a weight meets its first gradient, or where H has no curvature when
     * its diagonal is taken, and the step then g_t / epsilon times eta. 0.3 is the smallest of 1,
     * 0.3, 0.1, ... at which small ReLU nets on the synthetic data learn with the default eta. */
    double epsilon;
    /* Steps from one exact diagonal to the next, for diag-moment and diag-hessian alone; 0: as many
     * as cost about as much as the diagonal does, n/m and K n/m. */
    uint64_t precondition_every;
    gm_replacement replacement; /* GM_REPLACEMENT_YES */
    uint64_t seed;              /* 0: of the batches */
    uint32_t run;               /* 0: number of the run in an ensemble */

    /* The latest state is saved at multiples of this; 0: so often that saving costs at most 5 % of
     * the time. */
    uint64_t checkpoint_every;
    /* Checkpoints stay in the history at step 0, multiples of this and the last step; 0: step 0,
     * ten steps spaced evenly in log t, the last of them T. */
    uint64_t keep_every;
    /* The full loss, errors, gradient norm and distance are measured at step 0, multiples of this,
     * kept checkpoints and the last step; 0: at up to about 200 steps, dense at first; fewer, at
     * least about 20, where measuring would cost more than a quarter of the training and more than
     * about a second; and where 20 would cost more than the training itself, at start and end and
     * so many of the kept checkpoints that it does not. Costs are counts of operations, no times.
     */
    uint64_t record_every;
} gm_train_options;

void gm_train_options_default(gm_train_options *options);

/* Checks every field for n samples; GM_ERR_USAGE names the option (--batch, ...). */
gm_status gm_train_options_check(const gm_train_options *options, size_t n, gm_error *err);

/* Puts numbers in the place of every 0 of beta2, epsilon and precondition_every that stands for a
 * default of the method; the options must be valid. gm_train does so itself. */
void gm_train_options_resolve(gm_train_options *options, const gm_problem *problem);

/* Whether step t's parameters are kept in the history, and whether the full loss is measured (for n
 * samples and a net of so many parameters). */
bool gm_train_keeps(const gm_train_options *options, uint64_t t);
bool gm_train_records(const gm_train_options *options, size_t n, size_t parameters, uint64_t t);

/* The batch of step t, its loss and gradient at theta_t, right before the update: numbers of the
 * problem's precision, the problem's own until the hook returns. */
typedef struct gm_train_batch {
    uint64_t t;
    double step; /* eta_t */
    size_t m;
    const size_t *index;          /* [m] */
    double loss;                  /* mean over the batch */
    const void *theta, *gradient; /* [p], of f without the weight decay */
} gm_train_batch;

/* What the caller may hook in; a struct of zeros hooks nothing. None of it changes the numbers. */
typedef struct gm_train_hooks {
    void *context;
    /* Asked after every step; true ends the training after saving (Ctrl-C). */
    bool (*stop)(void *context);
    /* Told after every step: t of T steps done, the last mini-batch's loss. */
    void (*progress)(void *context, uint64_t t, uint64_t steps, double batch_loss);
    /* A measurement of the caller's own. due is asked at every step t = 0 ... T, after the
     * training's measurements; where it says so, measure gets theta_t [p]. Both or neither. A
     * failure of measure is one of the training, but GM_ERR_INTERRUPTED saves and ends it as stop
     * does; due is then asked for the same t again by gm_train_resume. */
    bool (*due)(void *context, uint64_t t);
    gm_status (*measure)(void *context, uint64_t t, const double *theta, gm_error *err);
    /* Called in each transaction that saves the training's state: what it stores in run is of the
     * same commit. */
    gm_status (*save)(void *context, gm_run *run, gm_error *err);
    /* Told of every batch. A failure is one of the training. */
    gm_status (*batch)(void *context, const gm_train_batch *batch, gm_error *err);
} gm_train_hooks;

typedef enum gm_train_outcome {
    GM_TRAIN_FINISHED,    /* all steps done */
    GM_TRAIN_INTERRUPTED, /* stopped by the hook, saved; gm_train_resume goes on */
    GM_TRAIN_DIVERGED     /* the loss is no longer a finite number: exit status 1 */
} gm_train_outcome;

const char *gm_train_outcome_name(gm_train_outcome outcome); /* "finished", ... */

typedef struct gm_train_result {
    gm_train_outcome outcome;
    char message[256];   /* a sentence: what happened, at which step, what to do; never empty */
    char note[256];      /* a notice for "notes" (another processor or thread count); else empty */
    uint64_t first_step; /* where this call began: 0, or the step resumed from */
    uint64_t step;       /* steps done */
    /* At the last measured step; NaN where nothing was measured in this call. */
    double loss, error_rate;           /* on the whole training set */
    double test_loss, test_error_rate; /* NaN without a test set */
    double gradient_norm;              /* of the full gradient, without the decay */
    double distance;                   /* ||theta - theta_0|| */
    double seconds;                    /* of this call */
    uint64_t saves;                    /* transactions, and ... */
    double save_seconds;               /* ... the time they took */
} gm_train_result;

/* Trains problem's net from theta [p] (double, rounded to the problem's precision) and leaves the
 * last parameters there (not finite ones, perhaps, after a divergence). With a run (may be NULL),
 * everything of the options is stored as settings together with the state of step 0 in one
 * transaction before step 1, then metrics, state and history as they come: batch_loss (every step,
 * at theta_t on the batch of step t), and at measured steps loss, error_rate, test_loss,
 * test_error_rate (with test, which may be NULL), gradient_norm, distance. With a policy other than
 * fixed also step_size in every step and, where the policy measures, step_limit and what it was
 * made of: policy/gradient_square, policy/trace_moment, policy/curvature, policy/trace_curvature.
 * Returns GM_OK with the
 * outcome in *result; divergence and interruption are outcomes, not errors. Refuses a run that
 * holds a training already (GM_ERR_USAGE). Cost: steps batch gradients; per measured step one
 * gradient and one forward pass; per exact diagonal one linearization and that of
 * gm_curvature_diagonal. Memory: 4 vectors of p numbers, and those of the optimizer: one for
 * momentum or a preconditioner, two for Adam. */
gm_status gm_train(gm_problem *problem, gm_problem *test, const gm_train_options *options,
                   const gm_train_hooks *hooks, gm_run *run, double *theta, gm_train_result *result,
                   gm_error *err);

/* Continues the training that run (opened GM_RUN_WRITE) holds, to the same numbers as if it had
 * never stopped; theta [p] receives the last parameters. The options come from the run; problem and
 * test are those it was started with (checked: parameters, precision, loss, and a checksum of the
 * data; GM_ERR_INPUT names the first that differs). A finished or diverged training is reported as
 * such and nothing is done. */
gm_status gm_train_resume(gm_problem *problem, gm_problem *test, const gm_train_hooks *hooks,
                          gm_run *run, double *theta, gm_train_result *result, gm_error *err);

/* ---- a prior learned from a share of the data (theory section 4) ---- */

/* Which samples a prior was trained on: the first floor(fraction n) of the permutation of stream
 * (seed, GM_PURPOSE_PRIOR, 0). A certificate may be computed on the others alone. */
typedef struct gm_prior_split {
    size_t n, seen; /* 1 <= seen < n */
    size_t *index;  /* [n]: the samples seen, then the others, both ascending */
} gm_prior_split;

/* GM_ERR_USAGE where fraction is not above 0 and below 1, or leaves no sample on either side.
 * *split is ended by gm_prior_split_free, after a failure too. */
gm_status gm_prior_split_make(size_t n, double fraction, uint64_t seed, gm_prior_split *split,
                              gm_error *err);
void gm_prior_split_free(gm_prior_split *split);

/* Trains theta [p] on the samples of problem that split shows to the prior, by these options (steps
 * being those of the prior; the batches are those of run GM_PRIOR_RUN), without a run file. result:
 * loss and error_rate are those on the samples seen, test_loss and test_error_rate those on the
 * others. Errors and cost of gm_train; memory: a copy of the data. */
enum { GM_PRIOR_RUN = 0x7fffffff };
gm_status gm_prior_train(gm_problem *problem, const gm_prior_split *split,
                         const gm_train_options *options, const gm_train_hooks *hooks,
                         double *theta, gm_train_result *result, gm_error *err);

/* Records in a run file that its step 0 is a prior trained on `split` of problem's data: settings
 * "prior.fraction", "prior.steps", "prior.samples", "prior.seen", "prior.data_crc32", and the
 * result of command "prior" at step 0, with the array "samples" [seen]. */
gm_status gm_prior_store(gm_run *run, gm_problem *problem, const gm_prior_split *split,
                         double fraction, uint64_t steps, const gm_train_result *result,
                         gm_error *err);

/* What a run file says of its prior: GM_OK with split->n = 0 where its step 0 is no trained prior.
 * GM_ERR_INPUT where the file is damaged, and where problem's data are not those that were split,
 * as the number of samples and a checksum tell. */
gm_status gm_prior_load(gm_run *run, gm_problem *problem, gm_prior_split *split, gm_error *err);

/* The options a run was trained with, from its settings. GM_ERR_INPUT where it holds no training.
 */
gm_status gm_train_options_load(gm_run *run, gm_train_options *options, gm_error *err);

/* What epsilon = 0 stands for: 1e-8 for Adam; of the preconditioners of SGD 0.3 for diag-hessian,
 * 1e-3 for the others. */
double gm_train_epsilon_default(gm_optimizer optimizer, gm_precondition precondition);

/* diagonal [p] = sqrt(diag M) + epsilon or |diag H| + epsilon at lin's point, exact; epsilon is
 * taken as it is. GM_ERR_USAGE for preconditioners other than GM_PRECONDITION_DIAG_MOMENT and
 * GM_PRECONDITION_DIAG_HESSIAN; otherwise errors and cost of gm_curvature_diagonal. */
gm_status gm_precondition_exact(gm_linearization *lin, gm_precondition precondition, double epsilon,
                                double *diagonal, gm_error *err);

/* D [p], all entries positive, by which the next step of the training would be divided, from the
 * latest state of a run: *diagonal [*p] and *what, a name for it ("rmsprop: sqrt(running mean of
 * g^2) + 0.001, beta2 0.99, at step 120"), the caller's, both ended by gm_run_free. epsilon is in
 * it. For Adam, whose divisor contains the next gradient, it is the last one used, sqrt(s / (1 -
 * beta2^t)) + epsilon. GM_ERR_INPUT where the run holds no training, one without a preconditioner,
 * or Adam before its first step. */
gm_status gm_precondition_from_run(gm_run *run, double **diagonal, size_t *p, char **what,
                                   gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
