/* Scales of the prior, learned with the posterior (compare Dziugaite and Roy 2017, arXiv
 * 1703.11008).
 *
 * The standard deviations of a tensor's prior are f sigma, f = 2^(k/4) for an integer k, which has
 * the weight (1 - q)/(1 + q) q^|k|, q = 0.8, fixed before the data. The weights of all k are 1
 * together, so that the union bound costs ln 9 + 0.223 |k| nats a tensor: little where nothing is
 * gained by moving.
 *
 * Where means and variances of Q are held, with d and r relative to f sigma,
 *   dKL/d ln f = sum (1 - 1/r) - sum d^2 = G - D,
 * whose zero is MacKay's (1992) rule f^2 <- f^2 D/G: distance for each parameter that the data
 * determine. A step moves ln f by eta (D - G)/(D + |G|), with the price of |ln f| as a threshold,
 * and holds d and r, so that Q moves along and KL stays what it is: the optimum is the same, and
 * the many weights that the data leave alone do not have to be brought back to the prior. */
#include "bound/scales.h"

#include <math.h>

#include "base/memory.h"
#include "gradiometer/posterior.h"

enum { PER_OCTAVE = 4, OCTAVES = 16 };
static const double RATIO = 0.8; /* q */

/* Tied nodes have the tensors of their owner. */
static bool brings_tensors(const gm_net *net, int i)
{
    return net->node[i].parameters > 0 && net->node[i].owner == i;
}

/* Counts, and with stretch writes down, tensors and stretches. */
static void lay_out(const gm_net *net, size_t longest, gm_scales *s)
{
    s->tensors = s->stretches = 0;
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        size_t at = node->offset;
        for (int t = 0; t < node->tensors && brings_tensors(net, i); t++) {
            size_t end = at + gm_shape_size(&node->tensor[t].shape);
            while (at < end) {
                size_t next = end - at < longest ? end : at + longest;
                if (s->stretch) s->stretch[s->stretches] = (gm_stretch){at, next, s->tensors};
                s->stretches++;
                at = next;
            }
            s->tensors++;
        }
    }
}

gm_status gm_scales_open(const gm_net *net, size_t longest, gm_scales *s, gm_error *err)
{
    *s = (gm_scales){0};
    lay_out(net, longest, s);
    s->log_factor = gm_alloc(3 * s->tensors, sizeof *s->log_factor, "scales of the prior", err);
    s->stretch = gm_alloc(s->stretches, sizeof *s->stretch, "stretches of tensors", err);
    if (!s->log_factor || !s->stretch) return GM_ERR_MEMORY;
    s->distance = s->log_factor + s->tensors;
    s->gain = s->distance + s->tensors;
    lay_out(net, longest, s);
    return GM_OK;
}

bool gm_posterior_scales_pay(const gm_net *net, size_t n)
{
    gm_scales s = {0};
    lay_out(net, SIZE_MAX, &s);
    return n / 4000 >= s.tensors;
}

void gm_scales_close(gm_scales *s)
{
    gm_free(s->log_factor);
    gm_free(s->stretch);
    *s = (gm_scales){0};
}

/* ln f of one k. */
static double unit_of(void)
{
    return log(2.0) / PER_OCTAVE;
}

void gm_scales_step(gm_scales *s, double eta)
{
    const double most = log(2.0) * OCTAVES, price = -log(RATIO) / unit_of();
    for (size_t t = 0; t < s->tensors; t++) {
        double whole = s->distance[t] + fabs(s->gain[t]);
        if (!(whole > 0.0)) continue;
        double moved = s->log_factor[t] + eta * (s->distance[t] - s->gain[t]) / whole;
        double size = fmax(0.0, fmin(fabs(moved), most) - eta * price / whole);
        s->log_factor[t] = copysign(size, moved);
    }
}

void gm_scales_round(gm_scales *s)
{
    for (size_t t = 0; t < s->tensors; t++) {
        s->log_factor[t] = unit_of() * round(s->log_factor[t] / unit_of());
    }
}

double gm_scales_cost(const gm_scales *s)
{
    double cost = (double)s->tensors * log((1.0 + RATIO) / (1.0 - RATIO));
    for (size_t t = 0; t < s->tensors; t++) {
        cost -= log(RATIO) * fabs(s->log_factor[t]) / unit_of();
    }
    return cost;
}
