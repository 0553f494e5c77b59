#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Watching a hub in a file.
set -eu
. "$(dirname "$0")/support.sh"
engine=sqlite
. "$here/watch.sh"
finish
