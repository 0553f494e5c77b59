#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tour on SQLite: with nothing there before, and no server.
set -eu
. "$(dirname "$0")/support.sh"
engine=sqlite
. "$here/tour.sh"
