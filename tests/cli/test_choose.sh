#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Choosing tasks by expression, on SQLite.
set -eu
. "$(dirname "$0")/support.sh"
engine=sqlite
. "$here/choose.sh"
