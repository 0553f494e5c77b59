#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The same choices on a MongoDB server.
set -eu
. "$(dirname "$0")/support.sh"
. "$here/mongodb.sh"
. "$here/choose.sh"
