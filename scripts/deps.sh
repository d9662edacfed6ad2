#!/usr/bin/env bash
# deps.sh GROUP...: installs the Debian packages of these groups of deps.txt that dpkg-query does not know as installed:
# as root by apt-get, else by sudo, else it prints the line to run and exits with status 2. With nothing missing it
# needs neither network nor rights. Elsewhere than on Debian it only says what to look for.
set -euo pipefail
list=${DEPS_LIST:-$(dirname "$0")/../deps.txt}

[[ $# -gt 0 ]] || { echo "deps.sh: expected a group of packages (build, test, coverage, peers, browser, mpi, examples)" >&2; exit 2; }
missing=()
for group in "$@"; do
    packages=$(awk -v group="$group" '$1 == group { print $2 }' "$list")
    [[ -n $packages ]] || { echo "deps.sh: deps.txt has no group $group" >&2; exit 2; }
    for package in $packages; do
        if ! command -v dpkg-query >/dev/null; then
            echo "deps.sh: not a Debian system; needed is what Debian calls $package" >&2
        elif [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
            missing+=("$package")
        fi
    done
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

install="apt-get install -y --no-install-recommends ${missing[*]}"
echo "Missing packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
if [[ $(id -u) == 0 ]]; then
    apt-get update -q && $install && exit 0
elif command -v sudo >/dev/null; then
    sudo apt-get update -q && sudo --preserve-env=DEBIAN_FRONTEND $install && exit 0
fi
echo "These packages could not be installed. As root, run: apt-get update && $install" >&2
exit 2
