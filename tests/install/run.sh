#!/usr/bin/env bash
# run.sh BUILD CC: installs BUILD below a temporary folder and builds an outside program against that tree, once with
# pkg-config and once with CMake's find_package; runs both and the installed program.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 cc=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cmake --install "$build" --prefix "$dir/usr" >"$dir/log"
version=$("$dir/usr/bin/gradiometer" --version)
echo "installed program: $version"

export PKG_CONFIG_PATH=$dir/usr/lib/pkgconfig
multiarch=$("$cc" -print-multiarch)
[[ -d $dir/usr/lib/$multiarch/pkgconfig ]] && PKG_CONFIG_PATH=$dir/usr/lib/$multiarch/pkgconfig
"$cc" -std=c17 -Wall -Wextra -Werror "$here/outside.c" -o "$dir/outside" $(pkg-config --cflags --libs gradiometer)
echo "pkg-config: $("$dir/outside")"
"$here/../one_openblas.sh" "$dir/outside"
[[ $(pkg-config --modversion gradiometer) == "$("$dir/outside" | awk '{ print $2 }')" ]]

cmake -G Ninja -S "$here" -B "$dir/cmake" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$dir/usr" >>"$dir/log"
cmake --build "$dir/cmake" >>"$dir/log" || { cat "$dir/log"; exit 1; }
echo "find_package: $("$dir/cmake/outside")"
"$here/../one_openblas.sh" "$dir/cmake/outside"
