#!/usr/bin/env bash
# The figures of README.md: two of the demo's page as files of their own, on white. Run `make demo` before.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/img
for figure in angles residual; do
    sed -n "/<svg id=\"r1$figure\"/,/<\/svg>/p" demo/index.html |
        sed 's|<svg |<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff" font-family="sans-serif" |; s|</svg>.*|</svg>|' \
            >"docs/img/$figure.svg"
done
