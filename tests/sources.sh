#!/usr/bin/env bash
# sources.sh CHECK: what is asked of the sources themselves.
#   list              the C files
#   format            clang-format has nothing to change
#   rules             where names may occur, which room may include which
#   headers CC        every public header compiles alone, from C and from C++
#   tidy BUILD [N]    clang-tidy on src/ with BUILD/compile_commands.json; the analyzer looks at N states of each function
#                     at most (its own default is 225000)
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0

sources() { find . -path './build*' -prune -o -name '*.[ch]' -print | sort; }

# refuse MESSAGE REGEX FILE...: fails where a line of the files matches.
refuse() {
    local message=$1 regex=$2
    shift 2
    if grep -nEH "$regex" "$@" /dev/null; then
        echo "^ $message" >&2
        failed=1
    fi
}

# Room of a file or of an include: src/net/spec.c -> net, gradiometer/run.h -> run.
room_of() {
    case $1 in
        gradiometer/operator.h | gradiometer/random.h | gradiometer/status.h | gradiometer/types.h | \
            gradiometer/version.h | gradiometer/progress.h | gradiometer/team.h) echo base ;;
        gradiometer/selftest.h) echo kernels ;;
        gradiometer/estimate.h) echo spectrum ;;
        gradiometer/ensemble.h) echo dynamics ;;
        gradiometer/eigen.h) echo spectrum ;;
        gradiometer/solve.h) echo spectrum ;;
        gradiometer/measures.h) echo bound ;;
        gradiometer/stability.h) echo dynamics ;;
        gradiometer/posterior.h) echo bound ;;
        gradiometer/*) basename "$1" .h ;;
        *) dirname "$1" ;;
    esac
}

# Arrows point down only: what each room may include besides itself.
allowed() {
    case $1 in
        base) ;;
        kernels | data | run | compare | study) echo base ;;
        matrix) echo base kernels data ;;
        layers) echo base kernels ;;
        net) echo base kernels layers data ;;
        onnx) echo base kernels layers net data ;;
        diff) echo base kernels layers net data ;;
        curvature) echo base kernels layers net data diff ;;
        spectrum) echo base kernels ;;
        sgd) echo base kernels layers net data diff curvature spectrum run ;;
        track) echo base kernels layers net data diff curvature spectrum run sgd ;;
        dynamics) echo base kernels layers net data diff curvature spectrum run sgd ;;
        bound) echo base kernels layers net data diff curvature spectrum ;;
        landscape) echo base kernels layers net data diff curvature spectrum sgd run dynamics ;;
        survey) echo base kernels layers net data diff curvature spectrum run ;;
        report) echo base run survey study ;;
        cli) echo base kernels layers net onnx data matrix diff curvature spectrum sgd track dynamics bound landscape survey run report compare study ;;
        dist) echo base kernels layers net onnx data matrix diff curvature spectrum sgd track dynamics bound landscape survey run report compare study cli ;;
        *) echo "(unknown room $1)" ;;
    esac
}

rules() {
    local outside library file room include other
    mapfile -t outside < <(find include src -name '*.[ch]' ! -path 'src/kernels/*')
    mapfile -t library < <(find include src -name '*.[ch]' ! -path 'src/cli/*' ! -path 'src/dist/*')
    refuse 'REAL and FN( belong to kernel bodies, under src/kernels only' '\bREAL\b|\bFN\(' "${outside[@]}"
    refuse 'BLAS, LAPACK and oneDNN are known under src/kernels only' \
        '\b(cblas_|LAPACKE_|openblas_|dnnl_)|\b[sd](gemm|gemv|syrk|syevd|gesdd|geqrf)_\(|<(cblas|lapacke|lapack|dnnl)' \
        "${outside[@]}"
    mapfile -t outside < <(find include src -name '*.[ch]' ! -path 'src/onnx/*')
    refuse 'protocol buffers are known under src/onnx only' 'protobuf|\.pb-c\.|Onnx__|onnx__' "${outside[@]}"
    mapfile -t outside < <(find include src -name '*.[ch]' ! -path 'src/dist/*')
    refuse 'MPI, PETSc and SLEPc are known under src/dist only' '\bMPI_|<(mpi|petsc|slepc)[a-z]*\.h>' "${outside[@]}"
    mapfile -t outside < <(find include src -name '*.[ch]' ! -path 'src/study/*')
    refuse 'YAML is read under src/study only' '<cyaml/|<yaml\.h>' "${outside[@]}"
    refuse 'the library never ends its host' '\b(exit|_exit|abort|assert)\(' "${library[@]}"
    refuse 'random numbers come from gradiometer/random.h' '\b(rand|srand|random|drand48)\(' "${library[@]}"
    refuse 'memory comes from base/memory.h' '\b(malloc|calloc|realloc|strdup|asprintf)\(' "${library[@]}"

    while IFS=: read -r file include; do
        case $file in
            include/gradiometer/gradiometer.h) continue ;;
            include/*) room=$(room_of "${file#include/}") ;;
            *) room=$(room_of "${file#src/}") ;;
        esac
        other=$(room_of "$include")
        if [[ $other != "$room" && " $(allowed "$room") " != *" $other "* ]]; then
            echo "$file: room $room may include $(allowed "$room"), not $include" >&2
            failed=1
        fi
    done < <(grep -HoE '^#include "[^"]+/[^"]+"' $(find include src -name '*.[ch]') | sed 's/#include "//; s/"$//')

    # Pages refer to files that there are.
    while IFS=: read -r file include; do
        [[ $include == http* || -e $(dirname "$file")/$include ]] || {
            echo "$file: no file $include" >&2
            failed=1
        }
    done < <(grep -oHE '\]\([^)# ]+' -- *.md docs/*.md examples/*.md | sed 's/](//')

    for file in include/gradiometer/*.h; do
        include=${file#include/}
        [[ $include == gradiometer/gradiometer.h ]] && continue
        grep -qF "#include \"$include\"" include/gradiometer/gradiometer.h || {
            echo "include/gradiometer/gradiometer.h lacks $include" >&2
            failed=1
        }
    done
}

headers() {
    local header
    for header in $(cd include && echo gradiometer/*.h); do
        echo "#include \"$header\"" | "$1" -std=c17 -fsyntax-only -Wall -Wextra -Wstrict-prototypes -Wpedantic -Werror \
            -Iinclude -x c - || failed=1
        echo "#include \"$header\"" | clang++ -std=c++11 -fsyntax-only -Wall -Wextra -Wpedantic -Werror \
            -Iinclude -x c++ - || failed=1
    done
}

tidy() {
    local limit=()
    [[ -z ${2-} ]] || limit=(--extra-arg={-Xclang,-analyzer-config,-Xclang,max-nodes="$2"})
    find src -name '*.c' | sort | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$1" "${limit[@]}" 2>&1 |
        grep -vE '^[0-9]+ warnings? (generated|treated as)|^Suppressed|^Use -header-filter'
    [[ ${PIPESTATUS[0]} == 0 ]] || failed=1
}

case ${1-} in
    list) sources ;;
    format) sources | xargs clang-format --dry-run -Werror || failed=1 ;;
    rules) rules ;;
    headers) headers "$2" ;;
    tidy) tidy "$2" "${3-}" ;;
    *) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
esac
exit $failed
