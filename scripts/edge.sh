#!/usr/bin/env bash
# The edge of stability (docs/guide.md): a small tanh net under squared loss, by full-batch descent,
# with heavy ball, and with batches of 8; a page with all three. Seconds.
# usage: scripts/edge.sh [PROGRAM [PAGE.html]]
set -euo pipefail
program=${1:-gradiometer}
page=${2:-edge.html}
runs=$(mktemp -d)
trap 'rm -r "$runs"' EXIT
net=(--model mlp:10-16-4,act=tanh --loss squared --data gauss:k=4,d=10,n=100 --threads 1 -q)
full=(--batch 100 --replacement no --track spectrum:k=1,every=25,tol=1e-4)
"$program" train "${net[@]}" "${full[@]}" --step 0.4 --steps 4000 -o "$runs/full-batch.gmr"
"$program" train "${net[@]}" "${full[@]}" --step 0.6 --momentum 0.5 --steps 2400 -o "$runs/heavy-ball.gmr"
"$program" train "${net[@]}" --batch 8 --step 0.6 --steps 15000 \
    --track 'spectrum:k=1,every=100,tol=1e-4;gauges:every=10,curvature=1,memory=100' -o "$runs/batches-of-8.gmr"
"$program" report "$runs"/full-batch.gmr "$runs"/heavy-ball.gmr "$runs"/batches-of-8.gmr -o "$page"
