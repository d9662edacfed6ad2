#!/usr/bin/env bash
# times.sh [N]: where the time of the last `make test` went: seconds of jobs (some run side by side) that each build took
# to compile and to link, those of each build's tests, and the N longest tests (20).
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
for log in build-*/.ninja_log; do
    awk -F'\t' -v build="${log%/*}" 'NR > 1 { seconds[$4] = ($2 - $1) / 1000 }
        END { for (name in seconds) if (name ~ /\.o$/) { compiled += seconds[name] } else linked += seconds[name]
              printf "%-18s compiling %7.1f s, linking %7.1f s\n", build, compiled, linked }' "$log"
done
tests=build-tests/Testing/Temporary/LastTest.log
[[ -r $tests ]] || { echo "times.sh: $tests: not found; make test writes it" >&2; exit 2; }
awk '/^[0-9]+\/[0-9]+ Testing: / { name = $3 } /^Test time = / { print $4, name }' "$tests" | sort -rn |
    awk -v most="${1:-20}" '{ kind = $2 ~ /\// ? substr($2, 1, index($2, "/") - 1) : "plain"; sum[kind] += $1; line[NR] = $0 }
        END { for (kind in sum) printf "%-18s tests     %7.1f s\n", kind, sum[kind]
              for (i = 1; i <= most && i in line; i++) print line[i] }'
