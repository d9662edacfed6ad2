#!/usr/bin/env bash
# test.sh [PRESET...]: builds the presets (all that CI runs, when none is named) and runs their tests in one ctest, whose
# closing lines come last.
set -euo pipefail
cd "$(dirname "$0")/.."
presets=("$@")
[[ $# -gt 0 ]] || presets=(asan-ubsan tsan ci)

for preset in "${presets[@]}"; do
    cmake --preset "$preset"
    cmake --build --preset "$preset" -j "$(nproc)" -- -k 0 # name every file that fails
done
mkdir -p build-tests
printf "subdirs($PWD/build-%s)\n" "${presets[@]}" >build-tests/CTestTestfile.cmake
# One more than processors, for those that wait: for signals, for files, for a process to be killed.
ctest --test-dir build-tests -j "$(($(nproc) + 1))" --output-on-failure --no-tests=error
