#!/usr/bin/env bash
# peers.sh [BUILD]: our numbers against PyTorch's, in one piece and without anybody watching:
#   Hv, Gv, Mv and the gradient on a small dense net, in both precisions;
#   the same, loss and largest eigenvalues for nets exported from PyTorch: dense, convolutional with every pooling,
#   ResNet-20, ViT, GPT, each in a process of its own;
#   the example of examples/pytorch.
# A part may take GM_PEERS_SECONDS (default 1800) and GM_PEERS_MEMORY megabytes of address space (default 12000). Ends
# with how many agree; status 1 where one does not, 2 where something is missing.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
python=${PYTHON:-/usr/bin/python3} # Debian's own: the packages belong to it
seconds=${GM_PEERS_SECONDS:-1800}
memory=${GM_PEERS_MEMORY:-12000}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --build "$build" --target gradiometer peers_gradiometer >/dev/null || exit 2
"$python" -c 'import numpy, scipy, torch, onnx' || { echo "peers.sh: $python lacks packages: make deps-peers" >&2; exit 2; }

run=0
others=()
# part NAME COMMAND...: one more, and what became of it
part() {
    local name=$1 status=0
    shift
    run=$((run + 1))
    (ulimit -v $((1024 * memory)) && exec timeout "$seconds" "$@") || status=$?
    [[ $status -eq 0 ]] && return
    [[ $status -eq 124 ]] && others+=("$name (beyond $seconds s)") || others+=("$name (status $status)")
}

part "small dense net" bench/peers.sh "$build" --agree
nets=$("$python" -B bench/peers/onnx_agree.py --list) || exit 2
for net in $nets; do
    part "$net" "$python" -B bench/peers/onnx_agree.py "$build" "$net"
done
part "examples/pytorch" env GRADIOMETER="$build/gradiometer" "$python" -B examples/pytorch/bring_your_own.py "$folder" \
    >"$folder/example"
echo "examples/pytorch: $(tail -n 1 "$folder/example")"

echo "peers: $run run, $((run - ${#others[@]})) agree${others[*]:+; not: $(printf '%s, ' "${others[@]}" | sed 's/, $//')}"
[[ ${#others[@]} -eq 0 ]]
