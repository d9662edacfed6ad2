/* The two findings of theory section 2, said of a run in sentences with their numbers. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "kernels/lapack.h"
#include "survey/survey.h"

enum { RANDOM_DRAWS = 10 };

const char *gm_verdict_name(gm_verdict verdict)
{
    switch (verdict) {
    case GM_HOLDS:
        return "holds";
    case GM_DOES_NOT_HOLD:
        return "does not hold";
    case GM_UNDECIDED:
        break;
    }
    return "undecided";
}

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
say(gm_finding *finding, const char *format, ...)
{
    size_t length = strlen(finding->sentence);
    va_list args;
    va_start(args, format);
    vsnprintf(finding->sentence + length, sizeof finding->sentence - length, format, args);
    va_end(args);
}

/* "step 1000" or, outside of a run, "this point". */
static void name_point(const gm_decomposition *point, size_t size, char *text)
{
    if (point->step < 0) {
        snprintf(text, size, "this point");
    } else {
        snprintf(text, size, "step %lld", (long long)point->step);
    }
}

/* --- H_p close to -H after convergence --- */

/* Whether a difference is positive, as far as its standard error allows to tell. */
static gm_verdict compare(double difference, double error)
{
    if (error > 0.0 && fabs(difference) < GM_FINDING_ERRORS * error) return GM_UNDECIDED;
    return difference > 0.0 ? GM_HOLDS : GM_DOES_NOT_HOLD;
}

static gm_verdict both(gm_verdict a, gm_verdict b)
{
    if (a == GM_DOES_NOT_HOLD || b == GM_DOES_NOT_HOLD) return GM_DOES_NOT_HOLD;
    return a == GM_HOLDS && b == GM_HOLDS ? GM_HOLDS : GM_UNDECIDED;
}

static void find_residual(size_t count, const gm_decomposition *point, gm_finding *finding)
{
    const gm_decomposition *last = &point[count - 1], *first = &point[0];
    const gm_operator_survey *op = last->block.op;
    double hessian = op[GM_HESSIAN].summary.frobenius, moment = op[GM_MOMENT].summary.frobenius;
    double residual = op[GM_RESIDUAL].summary.frobenius, ratio = last->block.residual_plus_hessian;
    char where[64];
    name_point(last, sizeof where, where);

    finding->name = "residual_close_to_minus_hessian";
    finding->value = ratio;
    finding->threshold = GM_FINDING_RESIDUAL;
    snprintf(finding->criterion, sizeof finding->criterion,
             "at the last point ||H_p + H||_F / ||H||_F < %g and ||H_p||_F > ||M||_F",
             GM_FINDING_RESIDUAL);
    if (!isfinite(ratio)) {
        finding->verdict = GM_UNDECIDED;
        say(finding, "H_p against -H: undecided, H vanishes at %s.", where);
        return;
    }
    finding->error = last->block.residual_plus_hessian_error;
    gm_verdict small = compare(GM_FINDING_RESIDUAL - ratio, finding->error);
    gm_verdict large = compare(
        residual - moment, hypot(op[GM_RESIDUAL].frobenius_error, op[GM_MOMENT].frobenius_error));
    finding->verdict = both(small, large);
    say(finding,
        "H_p stays significant after convergence and is close to -H: %s %s. At %s (loss %.3g, "
        "training error %.3g %%) ||H_p + H||_F / ||H||_F = %.3g, with ||H_p||_F = %.3g, ||H||_F = "
        "%.3g, ||M||_F = %.3g and tr M / tr H = %.3g",
        gm_verdict_name(finding->verdict), count > 1 ? "in this run" : "here", where, last->loss,
        100.0 * last->error_rate, ratio, residual, hessian, moment, last->block.moment_share);
    if (count > 1) {
        name_point(first, sizeof where, where);
        say(finding, "; at %s the ratio was %.3g and ||H_p||_F %.3g", where,
            first->block.residual_plus_hessian, first->block.op[GM_RESIDUAL].summary.frobenius);
    }
    say(finding, ".");
    if (finding->error > 0.0) {
        say(finding, " Standard errors: %.2g of the ratio, %.2g of ||H_p||_F, %.2g of ||M||_F.",
            finding->error, op[GM_RESIDUAL].frobenius_error, op[GM_MOMENT].frobenius_error);
    }
    if (last->error_rate > 0.0) {
        say(finding, " The net does not fit all labels at the last point.");
    }
}

/* --- leading directions of H and M aligned --- */

/* cosine [k]: mean over draws of the principal cosines between two random k-dimensional subspaces
 * of R^size. One of them may be spanned by the first k axes. */
static gm_status random_cosines(size_t k, size_t size, uint64_t seed, double *cosine, gm_error *err)
{
    gm_status status = GM_ERR_MEMORY;
    double *basis = gm_alloc(k * size, sizeof *basis, "random basis", err);
    double *corner = gm_alloc(k * k, sizeof *corner, "products of two bases", err);
    double *singular = gm_alloc(k, sizeof *singular, "cosines", err);
    if (!basis || !corner || !singular) goto done;
    memset(cosine, 0, k * sizeof *cosine);
    for (uint32_t draw = 0; draw < RANDOM_DRAWS; draw++) {
        gm_normal_fill(gm_stream_of(seed, GM_PURPOSE_PROBE, 1 + draw), 0, k * size, basis);
        status = gm_orthonormalize(k, size, basis, NULL, err);
        if (status != GM_OK) goto done;
        for (size_t j = 0; j < k; j++) {
            memcpy(corner + j * k, basis + j * size, k * sizeof *corner);
        }
        status = gm_svd(k, k, corner, singular, NULL, NULL, err);
        if (status != GM_OK) goto done;
        for (size_t j = 0; j < k; j++) {
            cosine[j] += fmin(singular[j], 1.0) / RANDOM_DRAWS;
        }
    }
    status = GM_OK;
done:
    gm_free(basis);
    gm_free(corner);
    gm_free(singular);
    return status;
}

static size_t aligned(const gm_block_survey *block)
{
    size_t count = 0;
    while (count < block->angles && block->cosine[count] >= GM_FINDING_COSINE) {
        count++;
    }
    return count;
}

/* How far the span of the first k eigenvectors found may be from the true one, as an angle: its
 * sine is at most the norm of the residuals over the gap that they leave to the rest (Davis and
 * Kahan 1970, doi:10.1137/0707001). pi/2 where nothing is said. */
static double span_error(const gm_operator_survey *op, size_t k)
{
    const double right = 1.5707963267948966;
    double square = 0.0;
    if (!op->products) return 0.0;
    if (op->count < k || !op->converged) return right;
    for (size_t j = 0; j < k; j++) {
        square += op->residual[j] * op->residual[j];
    }
    double here = op->lead_value[k - 1];
    double next = op->count > k ? op->lead_value[k] + op->residual[k] : 0.0;
    double gap = op->by_magnitude ? fabs(here) - fabs(next) : here - next;
    return sqrt(square) < gap ? asin(sqrt(square) / gap) : right;
}

/* A bound on the error of the cosine of a principal angle between two such spans: the angle moves
 * by no more than the two spans do. */
static double cosine_error(const gm_block_survey *block, size_t k, double cosine)
{
    const double right = 1.5707963267948966;
    double turn = span_error(&block->op[GM_HESSIAN], k) + span_error(&block->op[GM_MOMENT], k);
    double angle = acos(fmin(cosine, 1.0));
    double up = cos(fmax(angle - turn, 0.0)), down = cos(fmin(angle + turn, right));
    return turn > 0.0 ? fmax(up - cosine, cosine - down) : 0.0;
}

static gm_status find_alignment(size_t count, const gm_decomposition *point, uint64_t seed,
                                gm_finding *finding, gm_error *err)
{
    enum { NEEDED = GM_FINDING_DIRECTIONS, HALF = NEEDED / 2 };
    const gm_decomposition *last = &point[count - 1];
    const gm_block_survey *block = &last->block;
    size_t k = block->angles;
    char where[64];
    name_point(last, sizeof where, where);

    finding->name = "top_directions_aligned";
    finding->threshold = GM_FINDING_COSINE;
    snprintf(finding->criterion, sizeof finding->criterion,
             "at the last point at least %d cosines of the principal angles between the spans of "
             "the top %zu eigenvectors of H and of M are >= %g",
             NEEDED, k < NEEDED ? block->k : k, GM_FINDING_COSINE);
    if (k < NEEDED) {
        finding->verdict = GM_UNDECIDED;
        finding->value = (double)NAN;
        say(finding,
            "Top %d directions of H and M well aligned: undecided, %zu can be compared at "
            "%s (rank H %zu, rank M %zu).",
            NEEDED, k, where, block->op[GM_HESSIAN].summary.rank,
            block->op[GM_MOMENT].summary.rank);
        return GM_OK;
    }
    double *random = gm_alloc(k, sizeof *random, "cosines", err);
    if (!random) return GM_ERR_MEMORY;
    gm_status status = random_cosines(k, block->size, seed, random, err);
    if (status == GM_OK) {
        size_t points = 0, judged = 0;
        for (size_t i = 0; i < count; i++) {
            judged += point[i].block.angles >= NEEDED;
            points += aligned(&point[i].block) >= NEEDED;
        }
        finding->value = block->cosine[NEEDED - 1];
        finding->error = cosine_error(block, k, finding->value);
        finding->verdict = aligned(block) >= NEEDED ? GM_HOLDS : GM_DOES_NOT_HOLD;
        if (finding->error > 0.0 && fabs(finding->value - GM_FINDING_COSINE) <= finding->error) {
            finding->verdict = GM_UNDECIDED;
        }
        say(finding,
            "Top %d directions of H and M well aligned: %s %s. At %s %zu of the %zu principal "
            "cosines between the top-%zu spans are >= %g; the 1st, %dth and %dth are %.3f, %.3f "
            "and "
            "%.3f, those of random subspaces of that size in %zu dimensions %.3f, %.3f and %.3f",
            NEEDED, gm_verdict_name(finding->verdict), count > 1 ? "in this run" : "here", where,
            aligned(block), k, k, GM_FINDING_COSINE, HALF, NEEDED, block->cosine[0],
            block->cosine[HALF - 1], finding->value, block->size, random[0], random[HALF - 1],
            random[NEEDED - 1]);
        if (count > 1) {
            say(finding, "; of the %zu points where %d can be compared it holds at %zu", judged,
                NEEDED, points);
        }
        say(finding, ".");
        if (finding->error > 0.0) {
            say(finding, " Residuals leave %.2g to the %dth cosine.", finding->error, NEEDED);
        }
        if (!block->pair[0].resolved[k - 1]) {
            say(finding, " The last of the %zu directions is not separated from the next.", k);
        }
    }
    gm_free(random);
    return status;
}

gm_status gm_decompose_findings(size_t count, const gm_decomposition *point, uint64_t seed,
                                gm_finding finding[GM_FINDINGS], gm_error *err)
{
    memset(finding, 0, GM_FINDINGS * sizeof *finding);
    find_residual(count, point, &finding[0]);
    return find_alignment(count, point, seed, &finding[1], err);
}
