#!/usr/bin/env bash
# run.sh BUILD CC static|shared [FLAG...]: installs BUILD, whose library is of that kind, below a temporary folder and builds
# an outside program against that tree (with these compiler flags besides), once with pkg-config and once with CMake's
# find_package; runs both and the installed program. Where the library is static, builds and runs the examples and the
# program in docs/c-api.md likewise.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 cc=$2 kind=$3
shift 3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# built NAME PROGRAM: it runs, knows its version, loads one OpenBLAS, and a shared library from the installed tree alone.
built() {
    local printed loads
    printed=$("$2")
    echo "$1, $kind: $printed"
    [[ $printed == "gradiometer $version "* ]]
    # Kept before it is searched: a grep that stops at its find kills ldd, which pipefail takes for a failure now and then.
    loads=$(ldd "$2" | grep libgradiometer || true)
    if [[ $kind == static ]]; then
        [[ -z $loads ]]
    else
        [[ $loads == *"libgradiometer.so"*" => $dir/usr/"* ]]
    fi
    "$here/../one_openblas.sh" "$2"
}

cmake --install "$build" --prefix "$dir/usr" >"$dir/log"
library=$(find "$dir/usr" -name 'libgradiometer.*' -print -quit)
[[ $kind == static ]] || export LD_LIBRARY_PATH=${library%/*}
version=$("$dir/usr/bin/gradiometer" --version | awk '{ print $2 }')
echo "installed: gradiometer $version"
if [[ $kind == static ]] && command -v help2man >/dev/null; then
    page=$dir/usr/share/man/man1/gradiometer-train.1
    grep -q '^\.SH OPTIONS' "$page"
    [[ $(grep -A1 '^\.SH EXAMPLES' "$page" | tail -n 1) == .nf ]]
    [[ $(sed -n '/^\.SH SYNOPSIS/,/^\.SH DESC/p' "$page" | grep -c '^\.B gradiometer') == 2 ]]
fi

pc=$(find "$dir/usr" -name gradiometer.pc)
export PKG_CONFIG_PATH=${pc%/*}
[[ $(pkg-config --modversion gradiometer) == "$version" ]]
"$cc" -std=c17 -Wall -Wextra -Werror "$@" "$here/outside.c" -o "$dir/outside" $(pkg-config --cflags --libs gradiometer) -lm
built pkg-config "$dir/outside"

cmake -G Ninja -S "$here" -B "$dir/cmake" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$dir/usr" -DCMAKE_C_FLAGS="$*" >>"$dir/log"
cmake --build "$dir/cmake" >>"$dir/log" || { cat "$dir/log"; exit 1; }
built find_package "$dir/cmake/outside"
[[ $kind == static ]] || exit 0

# The examples, against the same installed tree.
cmake -G Ninja -S "$here/../../examples" -B "$dir/examples" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$dir/usr" \
    -DCMAKE_C_FLAGS="-Wall -Wextra -Werror" >>"$dir/log"
cmake --build "$dir/examples" >>"$dir/log" || { cat "$dir/log"; exit 1; }
ctest --test-dir "$dir/examples" --output-on-failure

sed -n '/^```c$/,/^```$/p' "$here/../../docs/c-api.md" | grep -v '^```' >"$dir/first.c"
"$cc" -std=c17 -Wall -Wextra -Werror "$dir/first.c" -o "$dir/first" $(pkg-config --cflags --libs gradiometer) -lm
"$dir/first"
