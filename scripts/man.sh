#!/usr/bin/env bash
# man.sh PROGRAM FOLDER: writes gradiometer.1 and a gradiometer-COMMAND.1 for every command that --help lists, all of
# them from what the program itself prints.
set -euo pipefail
program=$1 folder=$2
version=$("$program" --version | awk '{ print $2 }')
commands=$("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\)/\1/p')
mkdir -p "$folder"
extra=$(mktemp) lines=$(mktemp)
trap 'rm -f "$extra" "$lines"' EXIT

# examples COMMAND: those of its help, line by line, which help2man would fill like prose.
examples() {
    echo .nf
    "$program" ${1:+"$1"} --help | sed -n '/^Examples:/,$s/^  //p' | sed 's/\\/\\e/g; s/-/\\-/g; s/^/\\\&/'
    echo .fi
}

# page NAME ARGUMENT SUMMARY, with the SEE ALSO list in $extra.
page() {
    help2man --no-info --name "$3" --version-string "$version" --source "gradiometer $version" --include "$extra" \
        "$program${2:+ $2}" >"$folder/$1.1.new"
    sed -i "s/^\.TH [^ ]*/.TH ${1^^}/; /^\.SH NAME/{n;s/.*/$1 \\\\- $3/}; s/^Exit status: /.SH \"EXIT STATUS\"\n/" "$folder/$1.1.new"
    examples "$2" >"$lines"
    sed -i -e "/^\.SH EXAMPLES/r $lines" -e '/^\.SH EXAMPLES/,/^\.SH/{/^\.SH/!d}' "$folder/$1.1.new"
    mv "$folder/$1.1.new" "$folder/$1.1"
}

{
    echo '[SEE ALSO]'
    awk '{ printf "%s.BR gradiometer-%s (1)", (NR > 1 ? ",\n" : ""), $1 } END { print "" }' <<<"$commands"
} >"$extra"
page gradiometer '' 'survey the Hessian and the gradient second moment of deep nets'
printf '[SEE ALSO]\n.BR gradiometer (1)\n' >"$extra"
while read -r command summary; do
    page "gradiometer-$command" "$command" "$summary"
done <<<"$commands"
