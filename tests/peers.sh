#!/usr/bin/env bash
# peers.sh [BUILD]: Hv, Gv, Mv and the gradient on a small net against PyTorch's, in both precisions.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
cmake --build "$build" --target peers_gradiometer >/dev/null
exec bench/peers.sh "$build" --agree
