#!/usr/bin/env bash
# Runs every bench of build/, one after the other and alone on the machine, and keeps what they print in build/bench.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
for bench in build/bench_*; do
    [[ -x $bench ]] || continue
    echo "== ${bench#build/}"
    "$bench"
done | tee build/bench.txt
