#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Holds the arrows between the rooms: reads every #include of the tree and refuses one that the map in
# docs/architecture.md does not draw. Then shows that it can refuse: a tree with one violation of each kind.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
rooms='hub kernels distributor runner cli'

# room_may_include ROOM OTHER
room_may_include() {
    case "$1>$2" in
    'hub>hub' | 'kernels>kernels') return 0 ;;
    'distributor>distributor' | 'distributor>hub' | 'distributor>kernels') return 0 ;;
    'runner>runner' | 'runner>hub' | 'runner>kernels') return 0 ;;
    'cli>cli' | 'cli>distributor' | 'cli>runner' | 'cli>hub') return 0 ;;
    *) return 1 ;;
    esac
}

# file_may_include FILE HEADER, for the headers that belong to a few files only
file_may_include() {
    case $2 in
    mongoc.h | mongoc/*)
        case $1 in hub/store_mongo*.[ch]) return 0 ;; *) return 1 ;; esac
        ;;
    sqlite3.h | sqlite3ext.h)
        case $1 in hub/store_sqlite*.[ch]) return 0 ;; *) return 1 ;; esac
        ;;
    dnnl.h | dnnl_*.h | dnnl.hpp | oneapi/dnnl/* | cblas.h | openblas/* | openblas_config.h | f77blas.h)
        case $1 in kernels/device_cpu*.c) return 0 ;; *) return 1 ;; esac
        ;;
    hub/store_impl.h | store_impl.h | hub/store_front.h | store_front.h)
        case $1 in hub/store*.[ch] | hub/module/store*.[ch]) return 0 ;; *) return 1 ;; esac
        ;;
    hub/store_sqlite*.h | store_sqlite*.h)
        case $1 in hub/store_sqlite*.[ch]) return 0 ;; *) return 1 ;; esac
        ;;
    hub/store_mongo*.h | store_mongo*.h)
        case $1 in hub/store_mongo*.[ch]) return 0 ;; *) return 1 ;; esac
        ;;
    bson.h | bson/*)
        case $1 in kernels/*) return 1 ;; *) return 0 ;; esac
        ;;
    *) return 0 ;;
    esac
}

# Includes of a tree, one a line: FILE:LINE HEADER KIND ('"' or '<')
list_includes() {
    for room in $rooms; do
        [ -d "$room" ] || continue
        find "$room" -type f \( -name '*.c' -o -name '*.h' \) | LC_ALL=C sort
    done | while read -r file; do
        sed -n -E '/^[[:space:]]*#[[:space:]]*include/{
=
s/^[[:space:]]*#[[:space:]]*include[[:space:]]*(["<])([^">]+)[">].*/\2 \1/p
}' "$file" | sed "N;s|^\([0-9]*\)\n\(.*\)|$file:\1 \2|"
    done
}

# check_tree FOLDER: prints every violation; false when there is one
check_tree() (
    cd "$1"
    bad=0
    includes=$(list_includes)
    while read -r where header kind; do
        [ -n "$where" ] || continue
        file=${where%:*}
        room=${file%%/*}
        if ! file_may_include "$file" "$header"; then
            echo "$where: $header may not be included here"
            bad=1
        fi
        if [ "$kind" = '"' ]; then
            other=${header%%/*}
            case $header in
            */*)
                if ! room_may_include "$room" "$other"; then
                    echo "$where: $room may not include $header"
                    bad=1
                fi
                ;;
            *)
                echo "$where: write \"$header\" with its room"
                bad=1
                ;;
            esac
        else
            for other in $rooms; do
                case $header in
                "$other"/*)
                    echo "$where: write \"$header\", not <$header>"
                    bad=1
                    ;;
                esac
            done
        fi
    done <<LIST
$includes
LIST
    # Every file says its licence in its first three lines.
    for file in $(find . \( -name .git -o -name build -o -name 'build-*' -o -name .cache -o -name __pycache__ \) -prune -o \
        -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.java' \
        -o -path './scripts/*' -o -path './.ci/*' \) -print | LC_ALL=C sort); do
        if ! head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2\.0'; then
            echo "${file#./}: no 'SPDX-License-Identifier: Apache-2.0' in its first three lines"
            bad=1
        fi
    done
    [ $bad -eq 0 ]
)

# --- it can refuse ---------------------------------------------------------------------------------------------------
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect refused|accepted FILE LINE: a tree with this one file
expect() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/$(dirname "$2")"
    printf '/* SPDX-License-Identifier: Apache-2.0 */\n%s\n' "$3" >"$work/tree/$2"
    verdict=accepted
    check_tree "$work/tree" >"$work/said" || verdict=refused
    if [ "$verdict" != "$1" ]; then
        echo "self-test: '$3' in $2 was $verdict" >&2
        failures=1
    elif [ "$verdict" = refused ] && ! grep -q "^$2:2: " "$work/said"; then
        echo "self-test: '$3' in $2 was refused without naming file and line: $(cat "$work/said")" >&2
        failures=1
    fi
}

for pair in hub:kernels hub:distributor hub:runner hub:cli kernels:hub kernels:distributor kernels:runner kernels:cli \
    distributor:runner distributor:cli runner:distributor runner:cli cli:kernels hub:tests cli:web; do
    expect refused "${pair%:*}/probe.c" "#include \"${pair#*:}/probe.h\""
    expect refused "${pair%:*}/probe.h" "  #  include \"${pair#*:}/probe.h\" /* indented */"
done
for pair in hub:hub kernels:kernels distributor:hub distributor:kernels distributor:distributor runner:hub \
    runner:kernels runner:runner cli:distributor cli:runner cli:hub cli:cli; do
    expect accepted "${pair%:*}/probe.c" "#include \"${pair#*:}/probe.h\""
done
for file in hub/task.c hub/store.c hub/store_sqlite.c kernels/net.c distributor/idx.c runner/worker.c cli/main.c; do
    expect refused "$file" '#include <mongoc.h>'
    expect refused "$file" '#include <mongoc/mongoc.h>'
done
for file in hub/task.c hub/store.c hub/store_mongo.c kernels/net.c distributor/idx.c runner/worker.c cli/main.c; do
    expect refused "$file" '#include <sqlite3.h>'
done
for file in hub/task.c kernels/net.c kernels/device_ref.c kernels/device.c distributor/idx.c runner/train.c cli/main.c; do
    expect refused "$file" '#include <cblas.h>'
    expect refused "$file" '#include "dnnl.h"'
    expect refused "$file" '#include <oneapi/dnnl/dnnl.h>'
done
expect refused kernels/net.c '#include <bson/bson.h>'
expect refused hub/task.c '#include "hub/store_impl.h"'
expect refused hub/task.c '#include "hub/store_front.h"'
expect refused runner/worker.c '#include "hub/store_impl.h"'
expect refused hub/store_mongo.c '#include "hub/store_sqlite.h"'
expect refused hub/task.c '#include "task.h"'
expect refused hub/task.c '#include <hub/task.h>'
expect accepted hub/store_mongo.c '#include <mongoc/mongoc.h>'
expect accepted hub/store_sqlite_query.c '#include <sqlite3.h>'
expect accepted kernels/device_cpu.c '#include <cblas.h>'
expect accepted hub/store_sqlite.c '#include "hub/store_impl.h"'
expect accepted hub/module/store_mongo_module.c '#include "hub/store_impl.h"'
expect refused hub/module/other.c '#include "hub/store_impl.h"'
rm -rf "$work/tree"
mkdir -p "$work/tree/hub"
for name in probe.c probe.h probe.sh probe.py; do
    rm -f "$work"/tree/hub/*
    echo 'no licence' >"$work/tree/hub/$name"
    if check_tree "$work/tree" >/dev/null; then
        echo "self-test: hub/$name without a licence line was accepted" >&2
        failures=1
    fi
done
[ $failures -eq 0 ] || exit 1

# --- and it holds here -----------------------------------------------------------------------------------------------
check_tree "$root" || exit 1
echo "rooms: every include follows the map"
