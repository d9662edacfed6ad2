/* What the estimators of traces and diagonals share: random vectors, statistics of a sample, and
 * the basis of an operator's images of random vectors. */
#ifndef GM_SPECTRUM_SKETCH_H
#define GM_SPECTRUM_SKETCH_H

#include "gradiometer/estimate.h"
#include "gradiometer/random.h"

enum {
    GM_PROBE_BLOCK = 16, /* vectors multiplied at once where none is kept */
    GM_PROBE_START = 8   /* probes of the first round under a relative error */
};

typedef enum gm_probe_kind {
    GM_PROBE_SIGNS,  /* Rademacher */
    GM_PROBE_NORMAL, /* Gaussian */
    GM_PROBE_SPHERE, /* uniform on the sphere of radius sqrt(size) */
    GM_PROBE_ROUGH   /* signs with magnitudes uniform on [0.9, 1.1] */
} gm_probe_kind;

/* v [count, size] = probes number first ... first + count - 1. */
void gm_probe_fill(gm_stream stream, gm_probe_kind kind, size_t first, size_t count, size_t size,
                   double *v);

/* Entries first ... first + count - 1 of all such vectors laid end to end; not of the sphere's. */
void gm_probe_part(gm_stream stream, gm_probe_kind kind, uint64_t first, size_t count, double *v);

/* Rounding of a product relative to the operator's norm: 8 eps of its precision (1e-6 in float32),
 * and what sums over the size add in double. */
double gm_product_noise(const gm_operator *op);

/* An operator in units of its own size: estimators square products, and those of 1e-200 or 1e200
 * have no squares among doubles. Powers of two round nothing. */
typedef struct gm_unit_operator {
    gm_operator *op;
    double unit; /* 0 until the first product that is not zero */
    bool tried;  /* for symmetry */
} gm_unit_operator;

/* av = A v / unit, from the first product on; two vectors of the first block are tried for
 * symmetry. */
gm_status gm_unit_apply(gm_unit_operator *u, size_t count, const double *v, double *av,
                        gm_error *err);

/* The factor that makes an estimate one of A. */
double gm_unit_of(const gm_unit_operator *u);

/* 8 (vectors size + numbers), SIZE_MAX where that does not fit. */
size_t gm_estimate_bytes_of(size_t size, size_t vectors, size_t numbers);

/* Vectors that the bases of `probes` probes take at the most, and numbers beside them. */
void gm_sketch_need(size_t size, size_t probes, bool grows, size_t *vectors, size_t *numbers);

/* Number of probes of the next round: half as many again. */
size_t gm_probe_next(size_t probes);

/* Checks the options against the fewest products that a method needs, and whether it takes Gaussian
 * probes and shares its probes out over ranks. */
gm_status gm_estimate_check(const gm_estimate_options *options, size_t fewest, bool gaussian,
                            bool shares, gm_error *err);

/* Mean of sample [count] with its errors; NaN errors for count = 1. */
gm_estimate gm_estimate_mean(size_t count, const double *sample);

/* Student's 97.5 % quantile; infinite for 0 degrees of freedom. */
double gm_student_quantile(size_t freedom);

/* Omega: probes; Y = A Omega = Q R; Z = A Q. Vectors are rows here. */
typedef struct gm_sketch {
    gm_unit_operator *op;
    gm_stream stream;
    gm_probe_kind kind;
    size_t size;
    size_t probes;  /* rows of y */
    size_t rank;    /* rows of q and z: probes, or fewer where exhausted */
    bool exhausted; /* R_kk <= noise x max R_jj was met: q spans the range of A */
    double top;     /* largest R_jj */
    double *y, *q, *z;
} gm_sketch;

/* Grows a sketch to `probes` probes, at most size; keeps every product made before. Cost: two
 * products per new probe. GM_ERR_INPUT where the two products of the first probe contradict each
 * other: no symmetric operator, or not one and the same. */
gm_status gm_sketch_grow(gm_sketch *s, size_t probes, gm_error *err);
void gm_sketch_free(gm_sketch *s);

/* Whether Q^T A Q says all there is to know of A. */
bool gm_sketch_exact(const gm_sketch *s);

/* h [rank, rank] = Q^T A Q, symmetric. */
void gm_sketch_core(const gm_sketch *s, double *h);

/* Of a sketch that is not exhausted, k = probes: r [k, k] = R, and s [k, k] with row i the unit
 * vector s_i for which Q (I - s_i s_i^T) Q^T projects onto the images of all probes but number i.
 */
void gm_sketch_leave_out(const gm_sketch *sketch, double *r, double *s);

#endif
