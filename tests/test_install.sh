#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `make install` puts somewhere is whole: an external C program compiles with pkg-config against it and uses a
# hub, the program runs from there and finds its device module, and no private header went along.
# usage: test_install.sh BUILD_FOLDER
set -eu
build=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

fail() {
    echo "test_install: $*" >&2
    exit 1
}

cmake --install "$build" --prefix "$prefix" >"$work/install.log" 2>&1 || {
    cat "$work/install.log" >&2
    fail "cmake --install failed"
}
pc=$(find "$prefix" -name tl_hub.pc)
[ -n "$pc" ] || fail "no tl_hub.pc was installed"
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
version=$(pkg-config --modversion tl_hub)
grep -q "VERSION $version " "$root/CMakeLists.txt" || fail "tl_hub.pc says version $version"
if find "$prefix" -name '*_impl.h' | grep .; then
    fail "private headers were installed"
fi

# The compiler and the sanitizers of the build: an archive built with them does not link without.
cc=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
sanitize=$(sed -n 's/^TL_HUB_SANITIZE:[A-Z]*=//p' "$build/CMakeCache.txt")
[ -z "$sanitize" ] || sanitize=-fsanitize=$sanitize
# shellcheck disable=SC2046,SC2086 # lists of options
set -- $sanitize $(pkg-config --cflags tl_hub) -std=c11 -Wall -Wextra -Werror

# Every installed header stands on its own.
for header in "$prefix"/include/tl_hub/hub/*.h; do
    name=hub/$(basename "$header")
    printf '#include "%s"\nint main(void)\n{\n    return 0;\n}\n' "$name" >"$work/one.c"
    "$cc" "$@" -fsyntax-only "$work/one.c" || fail "$name cannot be included alone"
done

cp "$root/examples/c_api/example.c" "$work/example.c"
# shellcheck disable=SC2046 # a list of options
(cd "$work" && "$cc" "$@" -o example example.c $(pkg-config --libs tl_hub)) || fail "the C example does not build"
(cd "$work" && ./example "sqlite:$work/example.db") || fail "the C example failed"

# A C++ program links as well.
if command -v g++ >/dev/null 2>&1; then
    cat >"$work/program.cc" <<'CPP'
#include "hub/tl_hub.h"
#include <cstdio>

int main(int, char **argv)
{
    bson_error_t error;
    hub *opened = hub_open(argv[1], nullptr, HUB_OPEN_EXISTING, &error);
    if (!opened)
        return std::printf("%s\n", error.message), 1;
    hub_close(opened);
    return 0;
}
CPP
    # shellcheck disable=SC2046,SC2086 # lists of options
    (cd "$work" && g++ $sanitize $(pkg-config --cflags tl_hub) -Wall -Wextra -Werror -o program program.cc \
        $(pkg-config --libs tl_hub)) || fail "a C++ program does not build"
    "$work/program" "sqlite:$work/example.db" || fail "the C++ program failed"
fi

# The installed program, with the folder that it was built in out of reach by name.
cd "$work"
"$prefix/bin/tl_hub" find-task --hub "sqlite:$work/example.db" -o json >"$work/tasks.json" || [ $? -eq 3 ] || fail "tl_hub find-task failed"
"$prefix/bin/tl_hub" doctor --hub "sqlite:$work/example.db" >"$work/doctor" 2>&1 || {
    cat "$work/doctor" >&2
    fail "tl_hub doctor failed"
}
grep -q 'devices\.cpu\.gemm_chosen' "$work/doctor" || fail "the installed program does not find the cpu device"
code=0
"$prefix/bin/tl_hub" find-task --hub 'mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=100' >/dev/null 2>"$work/away" || code=$?
[ "$code" -eq 4 ] && grep -q 'cannot reach' "$work/away" || fail "the installed program has no MongoDB engine: $(cat "$work/away")"
echo "install: the program, the library and the example work from $prefix"
