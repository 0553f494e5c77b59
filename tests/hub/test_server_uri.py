#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests on a named server keep its credentials and options, and leave its database alone."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from server_uri import address, with_database

PLAIN, FULL = "mongodb://127.0.0.1:1234", "mongodb://joe:p%40w@a:1,b:2/theirs?authSource=admin&tls=true"
SRV = "mongodb+srv://joe:x@cluster.example.org/?retryWrites=false"
for given, wanted in [
        (with_database(PLAIN, "t"), "mongodb://127.0.0.1:1234/t"),
        (with_database(PLAIN + "/", "t", "w=1"), "mongodb://127.0.0.1:1234/t?w=1"),
        (with_database(PLAIN + "/?w=2", "t"), "mongodb://127.0.0.1:1234/t?w=2"),
        (with_database(FULL, "t"), "mongodb://joe:p%40w@a:1,b:2/t?authSource=admin&tls=true"),
        (with_database(FULL, "t", "w=1", "127.0.0.1:9"), "mongodb://joe:p%40w@127.0.0.1:9/t?authSource=admin&tls=true&w=1"),
        (with_database(SRV, "t"), "mongodb+srv://joe:x@cluster.example.org/t?retryWrites=false"),
        (address(FULL), ("a", 1)), (address(PLAIN), ("127.0.0.1", 1234)), (address("mongodb://h/x"), ("h", 27017))]:
    assert given == wanted, f"{given}, not {wanted}"
