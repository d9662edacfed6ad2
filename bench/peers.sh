#!/usr/bin/env bash
# peers.sh [BUILD] [OPTION...]: the same work in Gradiometer and in Debian's PyTorch, in one run: agreement, speed and
# memory, on dense nets and, where CIFAR-10 is at hand, on images. BUILD (default: build) is where CMake built gradiometer
# and peers_gradiometer. Options go on to bench/peers/compare.py; with --agree or --only it is all. The whole may take
# GM_PEERS_SECONDS (default 7200). Status 2 where something is missing, 1 where results disagree or time is up.
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
status=0
timeout "${GM_PEERS_SECONDS:-7200}" "$python" -B "$here/peers/compare.py" "$build" "$@" || status=$?
[[ " $* " == *" --agree "* || " $* " == *" --only "* ]] && exit "$status"
cifar=${GM_TEST_DATA:-$here/../../shared/data}/cifar10
images=0
if [[ -d $cifar ]]; then
    size=()
    [[ " $* " == *" --small "* ]] && size=(--model cnn:16-32-64 --samples 50 --rounds 1)
    timeout "${GM_PEERS_SECONDS:-7200}" "$python" -B "$here/peers/images.py" "$build" "$cifar" "${size[@]}" || images=$?
else
    echo "images: not run, $cifar is not there"
fi
for part in "dense nets: $status" "images: $images"; do
    echo "$part" | sed 's/: 0$/: done/; s/: 124$/: time is up/; s/: \([0-9]\)/: status \1/'
done
[[ $status -eq 0 && $images -eq 0 ]] || exit 1
