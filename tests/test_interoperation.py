#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Another language on the same hub: PyMongo, gridfs, safetensors and numpy against what tl_hub wrote.

usage: test_interoperation.py BUILD_FOLDER

Makes a virtual environment (kept in the build folder), starts a MongoDB server, trains two small nets with tl_hub, and
then, in Python alone: reads a task, its log and its model; loads the weights from GridFS and computes the test accuracy
with numpy; inserts a task, which a runner then trains.
"""
import gzip
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SOURCE / "tests" / "support"))
from server_uri import with_database  # noqa: E402

PACKAGES = ["pymongo<4.8", "safetensors", "numpy"]


def virtual_environment(folder):
    python = folder / "bin" / "python"
    marker = folder / "installed"
    if not marker.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
        marker.write_text("\n".join(PACKAGES))
    return python


def write_idx(path, magic, sizes, body):
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(struct.pack(">I", magic) + b"".join(struct.pack(">I", n) for n in sizes) + body)


def make_images(folder):
    """8 × 8 images of 4 classes: a bright quadrant on noise. Learnable, small, and made here."""
    import numpy as np
    random = np.random.default_rng(7)
    for prefix, rows in (("train", 1600), ("t10k", 400)):
        labels = random.integers(0, 4, rows)
        images = random.integers(0, 120, (rows, 8, 8))
        for image, label in zip(images, labels):
            top, left = 4 * (label // 2), 4 * (label % 2)
            image[top:top + 4, left:left + 4] += 70
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 0x803, (rows, 8, 8), images.astype("uint8").tobytes())
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 0x801, (rows,), labels.astype("uint8").tobytes())


def main(build):
    import gridfs
    import numpy as np
    import pymongo
    import safetensors.numpy

    program = str(pathlib.Path(build) / "bin" / "tl_hub")
    server = str(SOURCE / "tests" / "support" / "mongo-server")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tl_hub-interoperation-"))
    started = subprocess.run([server, "start", str(folder / "server")], stdout=subprocess.PIPE, text=True)
    if started.returncode == 77:
        print("SKIPPED: no MongoDB server can be had here", file=sys.stderr)
        return 1 if os.environ.get("CI") else 77
    assert started.returncode == 0, "the test server did not start"
    base = started.stdout.strip().splitlines()[-1].rstrip("/")
    database = f"tl_interoperation_{os.getpid()}"
    uri = with_database(base, database)
    client = pymongo.MongoClient(uri)
    try:
        def tl_hub(*arguments):
            done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, timeout=300,
                                  env={**os.environ, "TL_HUB_URI": uri})
            assert done.returncode == 0, f"tl_hub {' '.join(arguments)} ended with {done.returncode}"
            return done.stdout

        images = folder / "images"
        images.mkdir()
        make_images(images)
        sweep = folder / "sweep.yaml"
        sweep.write_text("method: grid\nparameters:\n  hidden: {values: [16, 24]}\n  learning_rate: {value: 0.005}\n"
                         "  batch_size: {value: 32}\n  epochs: {value: 4}\n  seed: {value: 3}\n"
                         'architecture: "dropout:0.1 dense:${hidden}:relu dense:4"\n')
        tl_hub("init")
        tl_hub("save-dataset", "quadrants", "--idx", str(images), "--validation", "200")
        tl_hub("create-task", "--dataset", "quadrants", "--sweep", str(sweep))
        tl_hub("run-task", "--workers", "2", "--until-empty")
        best = json.loads(tl_hub("find-model", "--sort", "accuracy:desc", "--limit", "1", "-o", "json"))[0]

        # Reads a task, a log and a model.
        hub = client[database]
        model = hub.models.find_one(sort=[("accuracy", -1)])
        assert model["_id"] == best["_id"], "PyMongo and tl_hub disagree on the best model"
        task = hub.tasks.find_one({"_id": model["task"]})
        assert task["state"] == "done" and task["published"] is True
        assert task["result"]["claim_id"] == model["_id"] and task["result"]["blob_id"] == model["blob_id"]
        buckets = list(hub.logs.find({"task": task["_id"], "split": "train"}))
        points = [point for bucket in buckets for point in bucket["points"]]
        assert [point["epoch"] for point in points] == [1, 2, 3, 4], points
        assert points[-1]["loss"] < points[0]["loss"]

        # The same accuracy from the same weights, by numpy.
        blob = gridfs.GridFSBucket(hub, bucket_name="blobs").open_download_stream(model["blob_id"]).read()
        weights = safetensors.numpy.load(blob)
        manifest = hub.datasets.find_one({"name": "quadrants"})
        x, y = [], []
        for part in manifest["parts"]:
            if part["split"] == "test":
                tensors = safetensors.numpy.load(
                    gridfs.GridFSBucket(hub, bucket_name="blobs").open_download_stream(part["blob_id"]).read())
                x.append(tensors["x"].reshape(len(tensors["x"]), -1))
                y.append(tensors["y"].ravel())
        x = np.concatenate(x).astype("float32") * manifest["features"]["scale"] + manifest["features"]["offset"]
        y = np.concatenate(y)
        assert len(y) == 400
        hidden = np.maximum(x @ weights["dense_1.weight"].T + weights["dense_1.bias"], 0)
        scores = hidden @ weights["dense_2.weight"].T + weights["dense_2.bias"]
        accuracy = float((scores.argmax(1) == y).mean())
        assert abs(accuracy - model["accuracy"]) < 1e-6, (accuracy, model["accuracy"])
        assert accuracy > 0.9, accuracy

        # A task from Python: only what hub/task.h says a client needs to insert.
        hub.tasks.insert_one({"_id": "from-python", "project": "default", "lane": 0, "queue": "default",
                              "resource_class": "cpu", "kind": "train", "name": "from-python", "state": "ready",
                              "priority": 0, "seq": 1000, "dataset": {"name": "quadrants"},
                              "architecture": "dense:16:tanh dense:4",
                              "hyper_parameters": {"epochs": 3, "batch_size": 32, "learning_rate": 0.01}})
        tl_hub("run-task", "--workers", "1", "--until-empty")
        task = hub.tasks.find_one({"_id": "from-python"})
        assert task["state"] == "done", task
        assert hub.models.find_one({"task": "from-python"})["accuracy"] > 0.9
        print(f"test accuracy by tl_hub {model['accuracy']:.4f}, by numpy {accuracy:.4f}; 1 task from Python trained")
        return 0
    finally:
        client.drop_database(database)
        client.close()
        subprocess.run([server, "stop", str(folder / "server")], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if os.environ.get("TL_HUB_IN_VENV") != "1":
        inside = virtual_environment(pathlib.Path(sys.argv[1]) / "interoperation-venv")
        os.environ["TL_HUB_IN_VENV"] = "1"
        os.execv(str(inside), [str(inside), __file__, *sys.argv[1:]])
    sys.exit(main(sys.argv[1]))
