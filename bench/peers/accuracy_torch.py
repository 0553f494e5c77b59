#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains one of bench/parity's nets on Fashion-MNIST with PyTorch, as tl_hub does: weights start as PyTorch's layers start
them, every epoch goes through all images in a new order with a last batch that may be smaller, Adam's rate falls along a
cosine from step to step. Prints the accuracy on the test images.

usage: accuracy_torch.py FOLDER NET EPOCHS BATCH LEARNING_RATE SEED
"""
import gzip
import math
import sys

import numpy
import torch
from torch import nn

torch.set_num_threads(1)


class LastOfLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(28, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


NETS = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
                                 nn.Linear(128, 10)),
    "cnn": lambda: nn.Sequential(nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                 nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                 nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10)),
    "lstm": LastOfLstm,
}


def read(folder, name):
    with gzip.open(f"{folder}/{name}-images-idx3-ubyte.gz") as images, \
            gzip.open(f"{folder}/{name}-labels-idx1-ubyte.gz") as labels:
        x = numpy.frombuffer(images.read()[16:], numpy.uint8).reshape(-1, 28, 28)
        y = numpy.frombuffer(labels.read()[8:], numpy.uint8)
    return torch.from_numpy(x.astype(numpy.float32) / 255), torch.from_numpy(y.astype(numpy.int64))


folder, name, epochs, batch, rate, seed = sys.argv[1:]
epochs, batch, rate = int(epochs), int(batch), float(rate)
torch.manual_seed(int(seed))
net = NETS[name]()
x, y = read(folder, "train")
steps = epochs * math.ceil(len(x) / batch)
adam = torch.optim.Adam(net.parameters(), lr=rate, fused=True)
schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
for _ in range(epochs):
    order = torch.randperm(len(x))
    for first in range(0, len(x), batch):
        rows = order[first:first + batch]
        adam.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        adam.step()
        schedule.step()
net.eval()
x, y = read(folder, "t10k")
with torch.no_grad():
    correct = sum((net(x[i:i + 1000]).argmax(1) == y[i:i + 1000]).sum().item() for i in range(0, len(x), 1000))
print(correct / len(x))
