#!/usr/bin/env bash
# The figures of README.md: two of the demo's page as files of their own, on white, a spectral density, and the edge of
# stability. Run `make demo` before.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/img
for figure in angles residual; do
    sed -n "/<svg id=\"r1$figure\"/,/<\/svg>/p" demo/index.html |
        sed 's|<svg |<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff" font-family="sans-serif" |; s|</svg>.*|</svg>|' \
            >"docs/img/$figure.svg"
done

PATH=$PWD/build:$PATH
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
gradiometer train -q --model mlp:50-30-10 --data gauss:k=10,d=50,n=100 --batch 5 --step 0.1 --steps 2000 -o "$folder/run.gmr"
gradiometer spectrum -q --params "$folder/run.gmr" --method density --probes 30 --deflate 10 -o "$folder/run.gmr" >/dev/null
gradiometer report -q "$folder/run.gmr" --figures svg --dir "$folder"
cp "$folder/density.svg" docs/img/density.svg

gradiometer train -q --model mlp:10-16-4,act=tanh --loss squared --data gauss:k=4,d=10,n=100 --batch 100 --replacement no \
    --step 0.4 --steps 4000 --track spectrum:k=3,every=25 -o "$folder/edge.gmr" >/dev/null
gradiometer report -q "$folder/edge.gmr" --figures svg --dir "$folder"
cp "$folder/tracked.svg" docs/img/edge.svg
