/* phi(x) = x - log1p(x), the excess of a straight line over the logarithm. */
#ifndef GM_BOUND_LOG_EXCESS_H
#define GM_BOUND_LOG_EXCESS_H

/* x >= -1; relative accuracy a few eps, also where x is small and phi = x^2/2 - x^3/3 + ...
 * Infinite at -1. */
double gm_log_excess(double x);

#endif
