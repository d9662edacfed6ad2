#!/usr/bin/env bash
# peers.sh [BUILD] [OPTION...]: the same work in Gradiometer and in Debian's PyTorch, in one run: agreement, speed and
# memory. BUILD (default: build) is where CMake built gradiometer and peers_gradiometer. Options go on to
# bench/peers/compare.py. Status 2 where something is missing, 1 where results disagree.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$here/../build
if [[ $# -gt 0 && $1 != -* ]]; then
    build=$1
    shift
fi
python=${PYTHON:-/usr/bin/python3} # Debian's own: the packages belong to it
for program in gradiometer peers_gradiometer; do
    [[ -x $build/$program ]] || {
        echo "peers.sh: $build/$program: not found; build the targets gradiometer and peers_gradiometer" >&2
        exit 2
    }
done
"$python" -c 'import numpy, scipy, torch, functorch' 2>/dev/null || {
    echo "peers.sh: $python finds no PyTorch, NumPy or SciPy; expected Debian's packages (make bench-peers)" >&2
    exit 2
}
data=${GM_TEST_DATA:-$here/../../shared/data}/mnist
[[ -r $data/train-images-idx3-ubyte.gz || -r $data/train-images-idx3-ubyte ]] && set -- --mnist "$data" "$@"
exec "$python" -B "$here/peers/compare.py" "$build" "$@"
