#!/usr/bin/env bash
# one_openblas.sh PROGRAM: a single OpenBLAS is loaded, the OpenMP build, and BLAS and LAPACK of its folder serve
# liblapacke too, whichever build Debian's alternatives prefer.
set -u
failed=0
for name in libopenblas.so.0 libblas.so.3 liblapack.so.3; do
    found=$(ldd "$1" | awk -v name=$name '$1 == name { print $3 }')
    if [[ $found != */openblas-openmp/$name ]]; then
        echo "$1 loads $name from '$found', expected the openblas-openmp folder"
        failed=1
    fi
done
exit $failed
