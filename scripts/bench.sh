#!/usr/bin/env bash
# bench.sh [PART...]: the speeds of docs/bench.md, alone on the machine; what each part prints is kept in
# build/bench/PART.txt. Without arguments all parts:
#   kernels    matrix products and element kernels by themselves
#   products   one product with H, G, M and one gradient against the bare matrix products, 1 thread and all
#   eigenpairs the ten largest of H, tolerance 1e-4, 1 thread and all
#   series     the same at ten checkpoints of a training, each from nothing and from the one before
#   density    10 probes x 80 steps
#   ensemble   runs of SGD with the full loss in every step, 1 thread and all
#   large      the twenty largest of a net with 10^7 parameters: time and peak memory
#   bound      draws of the posterior beside their bare matrix products; a bound from 100 draws, its time and memory
#   dense      a dense Hessian and all its eigenvalues, 1 thread and all
# BUILD (default build) is where the program is. MNIST is looked for below GM_TEST_DATA; without it synthetic data of its
# shape. SMALL=1 takes small sizes, to try the parts; EVERY (default 50) is the number of steps between the series'
# checkpoints.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
mnist=${GM_TEST_DATA:-../shared/data}/mnist
every=${EVERY:-50}
model=mlp:784-512-512-10 large=mlp:784-3000-2600-10 dense=mlp:50-30-30-10 n=10000 large_n=1000 rounds=5
if [[ ${SMALL-} == 1 ]]; then
    model=mlp:784-32-10 large=mlp:784-100-50-10 dense=mlp:50-12-10 n=500 large_n=100 rounds=1
fi

# data N: options that give N images, or as many synthetic samples of their shape.
data() {
    if [[ -r $mnist/train-images-idx3-ubyte.gz || -r $mnist/train-images-idx3-ubyte ]]; then
        echo --data "mnist:$mnist" --subset "$1"
    else
        echo --data "gauss:k=10,d=784,n=$1"
    fi
}
bench() { "$build/gradiometer" bench "$@"; }
# each_threads OPTION...: with one thread, and with as many as there are processors.
each_threads() {
    bench --threads 1 "$@"
    if [[ $(nproc) -gt 1 ]]; then
        echo
        bench "$@"
    fi
}

part() {
    case $1 in
        kernels) "$build/bench_kernels" ;;
        products) each_threads --model $model $(data $n) --parts products --rounds $rounds ;;
        eigenpairs)
            each_threads --model $model $(data $n) --precision f32 --tol 1e-4 --k 10 --parts products,eigenpairs \
                --rounds $(((rounds + 1) / 2))
            ;;
        series)
            rm -f "$out/series.gmr"
            "$build/gradiometer" train --model $model $(data $n) --precision f32 --batch 100 --step 0.1 --steps $((9 * every)) \
                --keep-every "$every" --quiet -o "$out/series.gmr" >/dev/null
            bench --params "$out/series.gmr" --tol 1e-4 --k 10 --parts series
            ;;
        ensemble) each_threads --parts ensemble --rounds $rounds ;;
        density) bench --model $model $(data $n) --precision f32 --parts products,density --probes 10 --steps 80 ;;
        large)
            bench --model $large $(data $large_n) --precision f32 --tol 1e-4 --k 20 --parts eigenpairs --rounds 1
            ;;
        bound)
            "$build/bench_bound" $model "mnist:$mnist" $n 10 $rounds
            rm -f "$out/bound.gmr"
            "$build/gradiometer" train --model $model --data "mnist:$mnist" --precision f32 --batch 64 --step 0.05 \
                --steps $((60 * every)) --quiet -o "$out/bound.gmr" >/dev/null
            "$build/gradiometer" bound --params "$out/bound.gmr" --draws 100 --measures none
            ;;
        dense)
            each_threads --model $dense --data gauss:k=10,d=50,n=1000 --precision f64 --parts dense --rounds $rounds
            ;;
        *)
            echo "bench.sh: found '$1', expected some of kernels products eigenpairs series density large bound dense ensemble" >&2
            return 2
            ;;
    esac
}

[[ -x $build/gradiometer ]] || { echo "bench.sh: $build/gradiometer: not found; run make" >&2; exit 2; }
[[ $# -gt 0 ]] || set -- kernels products eigenpairs series density large bound dense ensemble
out=$build/bench
mkdir -p "$out"
for name in "$@"; do
    echo "== $name"
    part "$name" | tee "$out/$name.txt"
    echo
done
