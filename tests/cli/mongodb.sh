# SPDX-License-Identifier: Apache-2.0
# Sourced after support.sh: a MongoDB server for this test alone, and a hub in a database of its own on it, whose URI is in
# the environment. Leaves with 77 where no server can be had.
code=0
uri=$(HOME=$(getent passwd "$(id -u)" | cut -d: -f6) "$here/../support/mongo-server" start "$work/server" --parent $$) || code=$?
[ "$code" -eq 0 ] || exit "$code"
trap '"$here/../support/mongo-server" stop "$work/server" || true; rm -rf "$work"' EXIT
# The database goes between the hosts and the options.
hosts=${uri%%\?*}
options=${uri#"$hosts"}
hosts=${hosts#mongodb://}
TL_HUB_URI=mongodb://${hosts%%/*}/tl_hub_test_cli_$$$options
export TL_HUB_URI
refuse 3 'no hub at' 'tl_hub init' -- save-dataset tiny --idx .
expect 0 -- init
engine=mongodb
