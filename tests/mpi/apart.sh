#!/usr/bin/env bash
# apart.sh PLAIN RANKS: the plain program loads nothing of MPI, PETSc or SLEPc; the other one does.
set -u
failed=0
found=$(ldd "$1" | grep -iE 'libmpi|open-(rte|pal)|petsc|slepc')
if [[ -n $found ]]; then
    echo "$1 loads, but should not:"
    echo "$found"
    failed=1
fi
if [[ -z $(ldd "$2" | grep libmpi) ]]; then
    echo "$2 does not load MPI: nothing was compared"
    failed=1
fi
exit $failed
