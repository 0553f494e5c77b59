#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The queue's peer on MongoDB: a task queue as TensorLayer's database module does it, through PyMongo.

usage: queue_pymongo.py MONGODB_URI TASKS

A claim is find_one_and_update of a pending task, newest first; a finish is a second one by _id, unfenced. With an index on
what the claim sorts by, and the same majority write concern as tl_hub. Works in the database tl_bench_pymongo, dropped at the end.
"""
import sys
import time

import pymongo
from pymongo.write_concern import WriteConcern


def main(uri, count):
    client = pymongo.MongoClient(uri)
    database = client.get_database("tl_bench_pymongo", write_concern=WriteConcern("majority"))
    client.drop_database("tl_bench_pymongo")
    tasks = database.tasks
    tasks.create_index([("status", 1), ("time", -1)])
    begun = time.perf_counter()
    for number in range(count):
        tasks.insert_one({"status": "pending", "time": time.time(), "script": b"s" * 500,
                          "hyper_parameters": {"number": number}, "result": {}})
    inserted = time.perf_counter()
    finished = 0
    while True:
        task = tasks.find_one_and_update({"status": "pending"}, {"$set": {"status": "running"}}, sort=[("time", -1)])
        if task is None:
            break
        tasks.find_one_and_update({"_id": task["_id"]}, {"$set": {"status": "finished", "result": {"accuracy": 0.9}}})
        finished += 1
    ended = time.perf_counter()
    client.drop_database("tl_bench_pymongo")
    assert finished == count
    print(f"insert {count / (inserted - begun):.0f}/s  claim+finish {count / (ended - inserted):.0f}/s")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]))
