#!/usr/bin/env bash
# The main job on the setting of theory section 2: a ReLU net with one hidden layer on ten Gaussian classes, 100 samples,
# batch 5; once with true labels, once with 15 % of them drawn at random. Trains, decomposes the curvature at
# every kept checkpoint, prints tables and findings, writes demo/index.html.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/build:$PATH
mkdir -p demo

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

net=(--model mlp:50-30-10 --data gauss:k=10,d=50,n=100)
sgd=(--batch 5 --step 0.1 --steps 20000)
rm -f demo/*.gmr demo/*.gmr-wal demo/*.gmr-shm demo/index.html

show gradiometer train "${net[@]}" "${sgd[@]}" -o demo/true.gmr
show gradiometer decompose --params demo/true.gmr@all --k 15 -o demo/true.gmr
show gradiometer train "${net[@]}" --random-labels 0.15 "${sgd[@]}" -o demo/random15.gmr
show gradiometer decompose --params demo/random15.gmr@all --k 15 -o demo/random15.gmr
show gradiometer report demo/true.gmr demo/random15.gmr -o demo/index.html
printf '\nThe figures: %s/demo/index.html\n' "$PWD"
