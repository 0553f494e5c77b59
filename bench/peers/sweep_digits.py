#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many small nets on scikit-learn's digits, as Python's tools train them: one process a core.

usage: sweep_digits.py --csv FILE                       the digits as a table, label last
       sweep_digits.py PEER NETS PROCESSES              PEER: sklearn or torch; prints nets a second and the mean accuracy
Both hold 80 % of 1,797 rows of 64 numbers for training, train 20 epochs on batches of 32 with Adam at 0.001, and take
hidden layers (16), (32), (32, 32), (64, 64) in turn, as bench/sweep's own nets do.
"""
import csv
import os
import sys
import time
import warnings

os.environ["PYTHONWARNINGS"] = "ignore"
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore")

import numpy
from joblib import Parallel, delayed
from sklearn.datasets import load_digits

HIDDEN = [(16,), (32,), (32, 32), (64, 64)]
EPOCHS, BATCH, RATE = 20, 32, 1e-3
digits = load_digits()
ORDER = numpy.random.default_rng(0).permutation(len(digits.target))  # their writers come one after the other
ROWS = (digits.data[ORDER] / 16).astype("float32")
LABELS = digits.target[ORDER]
TRAIN = int(0.8 * len(ROWS))


def sklearn_accuracy(seed):
    from sklearn.neural_network import MLPClassifier
    net = MLPClassifier(HIDDEN[seed % len(HIDDEN)], max_iter=EPOCHS, batch_size=BATCH, learning_rate_init=RATE,
                        n_iter_no_change=EPOCHS * 100, random_state=seed)
    return net.fit(ROWS[:TRAIN], LABELS[:TRAIN]).score(ROWS[TRAIN:], LABELS[TRAIN:])


def torch_accuracy(seed):
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    sizes = [ROWS.shape[1], *HIDDEN[seed % len(HIDDEN)], 10]
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    adam = torch.optim.Adam(net.parameters(), RATE, fused=True)
    rows, labels = torch.from_numpy(ROWS[:TRAIN]), torch.from_numpy(LABELS[:TRAIN])
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAIN).split(BATCH):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(net(rows[batch]), labels[batch]).backward()
            adam.step()
    with torch.no_grad():
        return (net(torch.from_numpy(ROWS[TRAIN:])).argmax(1).numpy() == LABELS[TRAIN:]).mean()


def main():
    if sys.argv[1] == "--csv":
        with open(sys.argv[2], "w", newline="") as file:
            table = csv.writer(file)
            table.writerow([f"p{i}" for i in range(ROWS.shape[1])] + ["digit"])
            for row, label in zip(ROWS, LABELS):
                table.writerow([f"{value:g}" for value in row] + [label])
        return
    train = {"sklearn": sklearn_accuracy, "torch": torch_accuracy}[sys.argv[1]]
    nets, processes = int(sys.argv[2]), int(sys.argv[3])
    with Parallel(n_jobs=processes) as pool:
        pool(delayed(train)(seed) for seed in range(processes))  # imports are not what is measured
        start = time.perf_counter()
        accuracies = pool(delayed(train)(seed) for seed in range(nets))
        seconds = time.perf_counter() - start
    print(f"{nets / seconds:.3f} {numpy.mean(accuracies):.4f}")


main()
