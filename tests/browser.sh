#!/usr/bin/env bash
# browser.sh [DIR]: pages of gradiometer report about run files of every kind, looked at in headless Chromium by browser.py.
# With DIR the run files, the pages and pictures of them stay there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
PATH=${GM_BUILD:-$here/../build}:$PATH
if [[ $# -gt 0 ]]; then
    mkdir -p "$1"
    work=$(cd "$1" && pwd)
    shots=(--shots "$work/shots")
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    shots=()
fi
cd "$work"
rm -rf ./*.gmr* ./*.html '<script>alert(1)<'
failed=

quiet() {
    gradiometer "$@" >/dev/null 2>log || { cat log >&2; exit 1; }
}

# A data set whose name would be a script, were it not escaped.
mkdir '<script>alert(1)<'
awk 'BEGIN { srand(1); for (i = 0; i < 60; i++) { for (j = 0; j < 8; j++) printf "%.3f,", rand() + (j % 3 == i % 3); print i % 3 } }' \
    >'<script>alert(1)</script>.csv'
net=(--model mlp:8-6-3 --data 'csv:<script>alert(1)</script>.csv')

# Everything that one run can hold.
quiet train "${net[@]}" --batch 5 --step 0.3 --steps 400 --track 'gauges;spectrum:k=3,every=20' -o all.gmr
quiet decompose --params all.gmr@all --k 6 --layers each -o all.gmr
quiet spectrum --params all.gmr@all --method density --probes 3 --steps 20 -o all.gmr
quiet spectrum --params all.gmr --method lanczos --k 4 --data-resample 4 -o all.gmr
quiet dynamics predict --params all.gmr --batch 5,20 --step 0.1 --draws 200 -o all.gmr
quiet dynamics martingale --params all.gmr --step 0.1,oracle --draws 50 -o all.gmr
quiet dynamics phases --params all.gmr -o all.gmr
quiet dynamics stability --params all.gmr --observe 20 -o all.gmr
quiet bound --params all.gmr@all --measures none --draws 20 -o all.gmr
quiet bound rescale --params all.gmr --draws 20 -o all.gmr
quiet landscape --params all.gmr -o all.gmr
quiet landscape --params all.gmr --trajectory -o all.gmr
quiet report all.gmr -o all.html

# Runs side by side: batch sizes, seeds, random labels, a policy; measures against gaps.
for batch in 5 20; do
    for seed in 1 2; do
        run=b$batch-s$seed.gmr
        quiet train "${net[@]}" --test-data gauss:k=3,d=8,n=60 --random-labels 0.1 --batch $batch --seed $seed \
            --step 0.2 --steps 300 -o $run
        quiet decompose --params $run@all --k 6 -o $run
        quiet bound --params $run --draws 20 -o $run
    done
done
quiet bound compare b*.gmr -o compare.gmr
quiet train "${net[@]}" --batch 5 --step cosine:0.3 --steps 300 -o policy.gmr
quiet report b*.gmr policy.gmr compare.gmr -o several.html

# An ensemble, and a run that was only begun.
quiet dynamics ensemble "${net[@]}" --runs 40 --steps 60 --batch 5 --step 0.1 -o ensemble.gmr
quiet report ensemble.gmr -o ensemble.html
quiet train "${net[@]}" --steps 1 -o begun.gmr
quiet report begun.gmr -o begun.html

# A study with a name, a title and a data set that would be scripts; a cell diverges, a measurement fails.
rm -rf study
cat >study.yaml <<'END'
name: <script>alert(2)<
title: <script>alert(3)</script> & co
question: Is anything of this <b>markup</b>?
data:
  - {name: <script>alert(4)</script>, train: 'gauss:k=3,d=8,n=60', test: 'gauss:k=3,d=8,n=60'}
model: ['mlp:8-6-3']
batch: [5, 20]
random_labels: [0, 0.5]
seed: [1, 2]
step: [0.2, 1e300]
steps: 200
exclude:
  - {batch: [20], step: [1e300]}
measure:
  - {run: decompose --k 6, at: [start, end]}
  - {run: spectrum --method lanczos --k 1 --max-products 2, name: cut, only: {batch: [20], random_labels: [0.5]}}
END
gradiometer study study.yaml -o study -q >/dev/null 2>log && exit 1 # two cells fail
mapfile -t cells < <(ls study/cells/*.html)
[[ ${#cells[@]} -eq 12 ]] || { echo "study: ${#cells[@]} pages, expected 12" >&2; exit 1; }

pages=(all.html several.html ensemble.html begun.html study/index.html "${cells[0]}")
# tidy 5.6 is older than <data>.
for page in "${pages[@]}"; do
    said=$(tidy -q -e --gnu-emacs yes --drop-empty-elements no --new-inline-tags data "$page" 2>&1 || true)
    said=$(grep -v '<data> is not approved by W3C$' <<<"$said" || true)
    [[ -z $said ]] || { echo "$said" >&2; failed=1; }
done
[[ -z $failed ]] || { echo "browser.sh: HTML that tidy does not take" >&2; exit 1; }

"$here/browser.py" "${shots[@]}" "${pages[@]}"
