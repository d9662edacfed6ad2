#!/usr/bin/env bash
# The bound and its two terms over batch size, share of random labels, number of samples and training time, and before and after a
# re-scaling (docs/guide.md): small nets on Gaussian classes; figures as files. A minute or two.
# usage: scripts/bound_figures.sh [PROGRAM [DIR [png|svg|pdf]]]
set -euo pipefail
program=${1:-gradiometer}
dir=${2:-bound-figures}
form=${3:-png}
runs=$(mktemp -d)
trap 'rm -r "$runs"' EXIT
mkdir -p "$dir"

# run NAME N BATCH SHARE SEED
run() {
    local data=gauss:n=$2,sep=4 file=$runs/$1-$5.gmr
    "$program" train --model mlp:50-30-10 --data "$data" --test-data gauss:n=2000,sep=4 --batch "$3" --random-labels "$4" --seed "$5" \
        --step 0.05 --steps 1000 --threads 1 -q -o "$file" > /dev/null
    "$program" bound --params "$file" --measures fast --draws 200 --threads 1 -q -o "$file" > /dev/null
}

for seed in 0 1; do
    run middle 1000 20 0 "$seed"
    for batch in 5 80; do run "batch$batch" 1000 "$batch" 0 "$seed"; done
    for share in 0.3 0.6 1; do run "labels$share" 1000 20 "$share" "$seed"; done
    for n in 250 500 4000; do run "n$n" "$n" 20 0 "$seed"; done
done

# Settings one at a time, each with the runs of the middle.
for setting in batch labels n; do
    "$program" bound compare "$runs"/middle-*.gmr "$runs/$setting"[0-9]*.gmr -q -o "$runs/$setting.gmr" > /dev/null
    "$program" report "$runs/$setting.gmr" --figures "$form" --dir "$dir/$setting" -q
done

# Training time, and the re-scaling, of one run.
"$program" bound --params "$runs/middle-0.gmr@all" --measures none --draws 200 --threads 1 -q -o "$runs/middle-0.gmr" > /dev/null
"$program" bound rescale --params "$runs/middle-0.gmr" --draws 50 --threads 1 -q -o "$runs/middle-0.gmr" > /dev/null
"$program" report "$runs/middle-0.gmr" --figures "$form" --dir "$dir/time" -q
