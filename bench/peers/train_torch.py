#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training speed of PyTorch on the MLPs of bench/train_mlp.c: forward, loss, backward, Adam; one thread; samples a
second of CPU time, best of three rounds. Eager with fused Adam, and compiled where there is a C++ compiler; the better
one is the peer.

usage: train_torch.py     prints NAME BEST eager=… compiled=…
"""
import sys
import time
import warnings

warnings.filterwarnings("ignore")
try:
    import torch
except ImportError:
    sys.exit("PyTorch is not installed: pip install torch")
torch.set_num_threads(1)

WORK = [("mlp-784-800-800-10-b256", 784, 800, 256, 20),
        ("mlp-784-64-64-10-b32", 784, 64, 32, 400),
        ("mlp-20-16-16-10-b32", 20, 16, 32, 600)]


def rate(features, hidden, batch, steps, compiled):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(features, hidden), torch.nn.ReLU(),
                              torch.nn.Linear(hidden, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))
    x, y = torch.randn(batch, features), torch.arange(batch) % 10
    adam = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)

    def loss_of(inputs, labels):
        return torch.nn.functional.cross_entropy(net(inputs), labels)

    loss_function = torch.compile(loss_of) if compiled else loss_of

    def train(count):
        for _ in range(count):
            adam.zero_grad()
            loss_function(x, y).backward()
            adam.step()

    train(5)
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        train(steps)
        best = max(best, steps * batch / (time.process_time() - start))
    return best


for name, *shape in WORK:
    rates = {"eager": rate(*shape, False)}
    try:
        rates["compiled"] = rate(*shape, True)
    except Exception as error:
        print(f"# {name}: not compiled: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
              file=sys.stderr)
    print(name, f"{max(rates.values()):.0f}", *(f"{key}={value:.0f}" for key, value in rates.items()), flush=True)
