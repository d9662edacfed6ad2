#!/usr/bin/env bash
# scripts/deps.sh against a dpkg-query, an apt-get, a sudo and an id of our own: what it installs, and how it fails.
set -u
deps=$(cd "$(dirname "$0")/.." && pwd)/scripts/deps.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# fake NAME BODY: a program that logs its call and then runs BODY.
fake() {
    printf '#!/bin/bash\necho "%s $*" >>%s/log\n%s\n' "$1" "$dir" "$2" >"$dir/bin/$1"
    chmod +x "$dir/bin/$1"
}
# expect NAME STATUS LOG: runs deps.sh for group build and compares.
expect() {
    : >"$dir/log"
    DEPS_LIST=$dir/list PATH=$dir/bin:$tools "$deps" build >"$dir/out" 2>&1
    local status=$? log
    log=$(grep -v '^dpkg-query\|^id' "$dir/log")
    if [[ $status != "$2" || $log != "$3" ]]; then
        printf '%s: status %s, expected %s; called:\n%s\nexpected:\n%s\nprinted:\n%s\n' "$1" $status "$2" "$log" "$3" \
            "$(cat "$dir/out")"
        failed=1
    fi
}

mkdir "$dir/bin" "$dir/tools"
tools=$dir/tools
for tool in bash awk dirname env cat; do ln -s "$(command -v $tool)" "$tools/$tool"; done
printf '# a comment\nbuild have why\nbuild lack1 why\nbuild lack2 why\ntest other why\n' >"$dir/list"
fake dpkg-query '[[ ${@: -1} == have ]] && echo installed || { echo "no package" >&2; exit 1; }'
fake apt-get ''
update='apt-get update -q'
install='apt-get install -y --no-install-recommends lack1 lack2'

fake id 'echo 0'
expect 'root' 0 "$update"$'\n'"$install"
fake apt-get '[[ $1 == update ]]'
expect 'root, install fails' 2 "$update"$'\n'"$install"
fake apt-get ''

fake id 'echo 1000'
expect 'user without sudo' 2 ''
grep -qxF "These packages could not be installed. As root, run: apt-get update && $install" "$dir/out" || {
    echo 'user without sudo: the line to run is not printed'
    failed=1
}
fake sudo ''
expect 'user with sudo' 0 "sudo $update"$'\n'"sudo --preserve-env=DEBIAN_FRONTEND $install"
fake sudo 'exit 1'
expect 'sudo refused' 2 "sudo $update"

fake dpkg-query 'echo installed'
fake apt-get 'exit 1'
expect 'nothing missing' 0 ''
fake dpkg-query 'echo config-files'
fake id 'echo 0'
fake apt-get ''
expect 'removed but configured counts as missing' 0 \
    "$update"$'\n''apt-get install -y --no-install-recommends have lack1 lack2'

exit $failed
