# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of the command line: a folder of its own, the program, and checks that say what they saw.
build=${1:?usage: $0 BUILD-FOLDER}
build=$(cd "$build" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
tl_hub=$build/bin/tl_hub
[ -x "$tl_hub" ] || {
    echo "no program $tl_hub: build it first" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Nothing of the user's own settings.
unset TL_HUB_URI TL_HUB_PROJECT XDG_CONFIG_HOME COLUMNS NO_COLOR
export HOME=$work LC_ALL=C.UTF-8
# libmongoc counts in shared memory that a killed process leaves behind, and warns when its number comes again.
export MONGOC_DISABLE_SHM=1
failures=0

fail() {
    echo "FAILED: $1" >&2
    failures=$((failures + 1))
}

# expect CODE WORDS… -- ARGUMENTS…: runs tl_hub; its exit code, and all of WORDS in what it says on stderr, in one line.
expect() {
    wanted=$1
    shift
    : >"$work/.words"
    while [ "$1" != -- ]; do
        printf '%s\n' "$1" >>"$work/.words"
        shift
    done
    shift
    code=0
    timeout 120 "$tl_hub" "$@" >"$work/.out" 2>"$work/.err" </dev/null || code=$?
    [ "$code" -eq "$wanted" ] || fail "tl_hub $*: exit code $code, not $wanted: $(cat "$work/.err")"
    while IFS= read -r word; do
        grep -qF -- "$word" "$work/.err" || fail "tl_hub $*: nothing about '$word' in: $(cat "$work/.err")"
    done <"$work/.words"
}

# refuse CODE WORDS… -- ARGUMENTS…: like expect, with exactly one line on stderr and nothing but an empty answer on stdout.
refuse() {
    expect "$@"
    lines=$(wc -l <"$work/.err")
    [ "$lines" -eq 1 ] || fail "$lines lines instead of one: $(cat "$work/.err")"
    [ ! -s "$work/.out" ] || [ "$(tr -d '[]\n' <"$work/.out")" = '' ] || fail "on stdout: $(cat "$work/.out")"
}

# said WORD: what the last command printed on stdout holds WORD.
said() {
    grep -qF -- "$1" "$work/.out" || fail "nothing about '$1' on stdout: $(cat "$work/.out")"
}

# json EXPRESSION: Python's view of the last command's stdout as `it` is true.
json() {
    python3 - "$1" "$work/.out" <<'PYTHON' || fail "not so: $1"
import json
import sys

with open(sys.argv[2], encoding="utf-8") as file:
    text = file.read()
try:
    it = json.loads(text)
except ValueError as problem:
    sys.exit(f"not JSON ({problem}): {text}")
if not eval(sys.argv[1]):
    sys.exit(f"it is: {text}")
PYTHON
}

finish() {
    [ "$failures" -eq 0 ] || {
        echo "$failures checks failed" >&2
        exit 1
    }
}
