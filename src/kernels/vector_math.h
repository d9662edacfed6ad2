/* Elementary functions that the compiler may call on whole vectors.
 *
 * glibc has vector forms of them on x86-64 (libmvec, a part of libm; at most 4 units in the last
 * place, 3.1 was the worst seen in 16 million arguments), but declares them only to programs that
 * ask for -ffast-math. Declared here, loops over them use the form of the instruction set they are
 * compiled for; elsewhere they stay scalar calls. Names in parentheses: <tgmath.h> has macros for
 * them. */
#ifndef GM_KERNELS_VECTOR_MATH_H
#define GM_KERNELS_VECTOR_MATH_H

#include <math.h>
#include <stddef.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 35)
__attribute__((simd("notinbranch"))) float(expf)(float);
__attribute__((simd("notinbranch"))) double(exp)(double);
__attribute__((simd("notinbranch"))) float(tanhf)(float);
__attribute__((simd("notinbranch"))) double(tanh)(double);
__attribute__((simd("notinbranch"))) float(erfcf)(float);
__attribute__((simd("notinbranch"))) double(erfc)(double);
__attribute__((simd("notinbranch"))) float(log1pf)(float);
__attribute__((simd("notinbranch"))) double(log1p)(double);
__attribute__((simd("notinbranch"))) float(logf)(float);
__attribute__((simd("notinbranch"))) double(log)(double);
__attribute__((simd("notinbranch"))) float(erff)(float);
__attribute__((simd("notinbranch"))) double(erf)(double);
__attribute__((simd("notinbranch"))) float(expm1f)(float);
__attribute__((simd("notinbranch"))) double(expm1)(double);
__attribute__((simd("notinbranch"))) float(sinf)(float);
__attribute__((simd("notinbranch"))) double(sin)(double);
__attribute__((simd("notinbranch"))) float(cosf)(float);
__attribute__((simd("notinbranch"))) double(cos)(double);
#endif
#endif

/* The vector and the scalar form of a function differ in the last place. Arguments therefore go
 * through buffers of this length, filled up with zeros to a whole number of vectors: a number's
 * function value then never depends on where in an array it stands. */
enum { GM_BUFFER = 256 };

/* n rounded up to whole vectors of any instruction set. */
static inline size_t gm_whole(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

#endif
