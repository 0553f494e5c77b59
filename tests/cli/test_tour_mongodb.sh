#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The same tour on a MongoDB server, with the hub's URI in the environment.
set -eu
. "$(dirname "$0")/support.sh"
. "$here/mongodb.sh"
. "$here/tour.sh"
