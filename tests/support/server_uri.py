# SPDX-License-Identifier: Apache-2.0
"""URIs for tests, from that of the server they were given (TL_TEST_MONGODB_URI may name a database, credentials and options):
a database of the test's own on it, by way of another address where something stands before it. For shells: server_uri.py URI
DATABASE prints the database's URI."""
import re
import sys


def parts(uri):
    """(scheme, credentials with their @, hosts, options)"""
    scheme, credentials, hosts, options = re.fullmatch(r"(mongodb(?:\+srv)?://)([^/?]*@)?([^/?]*)(?:/[^?]*)?(?:\?(.*))?", uri).groups()
    return scheme, credentials or "", hosts, options or ""


def with_database(uri, database, options="", address=None):
    """The database's own URI. What the server's URI says stands before the given options; address takes the hosts' place."""
    scheme, credentials, hosts, own = parts(uri)
    options = "&".join(option for option in (own, options) if option)
    return f"{scheme}{credentials}{address or hosts}/{database}" + (f"?{options}" if options else "")


def address(uri):
    """(host, port) of its first host, for what stands before it."""
    host = parts(uri)[2].split(",")[0]
    name, _, port = host.rpartition(":")
    return (name, int(port)) if name and port.isdigit() else (host, 27017)


if __name__ == "__main__":
    print(with_database(*sys.argv[1:]))
