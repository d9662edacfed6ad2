#!/usr/bin/env bash
# Builds with coverage, runs the tests, prints the share of lines and branches of src/ by file, and writes
# build-coverage/coverage.html.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset coverage
cmake --build --preset coverage -j "$(nproc)"
find build-coverage -name '*.gcda' -delete
ctest --preset coverage -j "$(nproc)"
# Processes that tests kill may leave counters behind that gcovr cannot read; it skips those lines.
gcovr --root . --filter src/ --gcov-ignore-parse-errors --html-details build-coverage/coverage.html --txt - build-coverage
echo "build-coverage/coverage.html"
