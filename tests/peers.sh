#!/usr/bin/env bash
# peers.sh [BUILD]: Hv, Gv, Mv and the gradient on a small net against PyTorch's, in both precisions; then the same, loss
# and largest eigenvalues for nets exported from PyTorch: dense, convolutional with every pooling, ResNet-20, ViT, GPT;
# and the example of examples/pytorch.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
cmake --build "$build" --target peers_gradiometer >/dev/null
bench/peers.sh "$build" --agree
"${PYTHON:-/usr/bin/python3}" -B bench/peers/onnx_agree.py "$build"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
GRADIOMETER=$build/gradiometer "${PYTHON:-/usr/bin/python3}" -B examples/pytorch/bring_your_own.py "$folder" >/dev/null
echo "examples/pytorch: the loss at the last checkpoint is PyTorch's"
