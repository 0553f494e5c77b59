#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training speed of PyTorch on the nets of bench/train_nets.c: forward, loss, backward, Adam; one thread. Each runs eager
with fused Adam, and compiled where there is a C++ compiler: the better one is the peer. peers/serving.py has the protocol.

usage: train_torch.py     reads names, answers rates
"""
import sys
import warnings

warnings.filterwarnings("ignore")
try:
    import torch
except ImportError:
    sys.exit("PyTorch is not installed: pip install torch")
from serving import Job, serve

torch.set_num_threads(1)
nn = torch.nn


class LastOfLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


def mlp(features, hidden):
    return lambda: nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                                 nn.Linear(hidden, 10))


def cnn():
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))


WORK = {"mlp-784-800-800-10-b256": (mlp(784, 800), (256, 784)),
        "mlp-784-64-64-10-b32": (mlp(784, 64), (32, 784)),
        "mlp-20-16-16-10-b32": (mlp(20, 16), (32, 20)),
        "cnn-32-64-fc128-b128": (cnn, (128, 1, 28, 28)),
        "lstm-28x28-h128-b128": (LastOfLstm, (128, 28, 28))}


def job(make_net, shape, compiled):
    torch.manual_seed(0)
    net, x, y = make_net(), torch.randn(*shape), torch.arange(shape[0]) % 10
    adam = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)

    def loss_of(inputs, labels):
        return nn.functional.cross_entropy(net(inputs), labels)

    loss_function = torch.compile(loss_of) if compiled else loss_of

    def run(steps):
        for _ in range(steps):
            adam.zero_grad()
            loss_function(x, y).backward()
            adam.step()

    return Job(run, shape[0])


def make(name):
    if name not in WORK:
        return []
    jobs = [job(*WORK[name], False)]
    try:
        jobs.append(job(*WORK[name], True))
    except Exception as error:
        print(f"# {name}: not compiled: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
              file=sys.stderr)
    return jobs


serve(make)
