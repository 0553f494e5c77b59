#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same table by Python: csv_python.py csv|pandas FILE prints MB of file a second of CPU time. csv is the module of the
standard library, with float() for each number (its first 100 MB count); pandas is read_csv as it comes (to float64 columns)."""
import itertools
import os
import resource
import sys
import time


def by_csv(path):
    import csv

    with open(path, newline="", encoding="utf-8") as file:
        begin = time.process_time()
        reader = csv.reader(file)
        width = len(next(reader))
        size = total = 0
        for row in itertools.islice(reader, 10**9):
            size += sum(map(len, row)) + width
            for text in row[:-2]:
                total += float(text)
            if size > 100e6:
                break
        return size, time.process_time() - begin


def by_pandas(path):
    import pandas

    begin = time.process_time()
    pandas.read_csv(path)
    return os.path.getsize(path), time.process_time() - begin


size, seconds = {"csv": by_csv, "pandas": by_pandas}[sys.argv[1]](sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(f"{size / seconds / 1e6:.0f} MB/s, peak {peak:.0f} MB")
