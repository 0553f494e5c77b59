#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training speed of JAX on the nets of bench/train_nets.c, many steps compiled as one scan; Adam; one thread. The work
that trains 32 nets is one vmap over them. The convolutional net is compiled step by step: inside a scan XLA's convolution
for CPUs falls to a slow path. peers/serving.py has the protocol.

usage: train_jax.py     reads names, answers rates
"""
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
try:
    import jax
    import jax.numpy as jnp
    from jax import lax
except ImportError:
    sys.exit("JAX is not installed: pip install jax")
from serving import Job, serve


def weights(key, *shapes):
    return [jax.random.normal(k, shape) * 0.05 for k, shape in zip(jax.random.split(key, len(shapes)), shapes)]


def dense(key, *widths):
    matrices = weights(key, *zip(widths[:-1], widths[1:]))
    return [(w, jnp.zeros(w.shape[1])) for w in matrices]


def mlp(features, hidden):
    def logits(parameters, x):
        for w, b in parameters[:-1]:
            x = jax.nn.relu(x @ w + b)
        return x @ parameters[-1][0] + parameters[-1][1]
    return lambda key: dense(key, features, hidden, hidden, 10), logits


def lstm():
    def new(key):
        return {"x": weights(key, (28, 512))[0], "h": weights(key, (128, 512))[0], "b": jnp.zeros(512),
                "out": dense(key, 128, 10)[0]}

    def logits(p, x):
        gates_of_x = x.transpose(1, 0, 2) @ p["x"] + p["b"]

        def step(state, from_x):
            h, c = state
            i, f, g, o = jnp.split(from_x + h @ p["h"], 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zero = jnp.zeros((x.shape[0], 128))
        h = lax.scan(step, (zero, zero), gates_of_x)[0][0]
        return h @ p["out"][0] + p["out"][1]
    return new, logits


def cnn():
    def new(key):
        return {"a": weights(key, (3, 3, 1, 32))[0], "b": weights(key, (3, 3, 32, 64))[0],
                "dense": dense(key, 3136, 128, 10)}

    def logits(p, x):
        x = x.reshape(-1, 28, 28, 1)
        for w in (p["a"], p["b"]):
            x = jax.nn.relu(lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        (w1, b1), (w2, b2) = p["dense"]
        return jax.nn.relu(x.reshape(x.shape[0], -1) @ w1 + b1) @ w2 + b2
    return new, logits


WORK = {  # net, shape of a batch, steps of a scan (0: none), nets at once (0: one)
    "mlp-784-800-800-10-b256": (mlp(784, 800), (256, 784), 10, 0),
    "mlp-784-64-64-10-b32": (mlp(784, 64), (32, 784), 500, 0),
    "mlp-20-16-16-10-b32": (mlp(20, 16), (32, 20), 2000, 0),
    "mlp-20-16-16-10-b32-32nets": (mlp(20, 16), (32, 20), 500, 32),
    "cnn-32-64-fc128-b128": (cnn(), (128, 784), 0, 0),
    "lstm-28x28-h128-b128": (lstm(), (128, 28, 28), 5, 0),
}


def make(name):
    if name not in WORK:
        return []
    (new, logits), shape, steps, nets = WORK[name]

    def loss(parameters, x, y):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits(parameters, x)), y[:, None], 1))

    def step(state, batch):
        p, m, v, t = state
        g = jax.grad(loss)(p, *batch)
        t = t + 1
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        size, root = 1e-4 / (1 - 0.9 ** t), 1 / jnp.sqrt(1 - 0.999 ** t)
        p = jax.tree.map(lambda a, b, c: a - size * b / (jnp.sqrt(c) * root + 1e-8), p, m, v)
        return (p, m, v, t), None

    key = jax.random.PRNGKey(0)
    x = jax.random.normal(key, (max(steps, 1),) + shape)
    y = jnp.tile(jnp.arange(shape[0]) % 10, (max(steps, 1), 1))
    several = (lambda state: lax.scan(step, state, (x, y))[0]) if steps else lambda state: step(state, (x[0], y[0]))[0]
    p = jax.vmap(new)(jax.random.split(key, nets)) if nets else new(key)
    compiled = jax.jit(jax.vmap(several) if nets else several)
    zero = jax.tree.map(jnp.zeros_like, p)
    state = [(p, zero, zero, jnp.zeros(nets) if nets else 0.0)]

    def run(rounds):
        for _ in range(rounds):
            state[0] = jax.block_until_ready(compiled(state[0]))

    return [Job(run, max(steps, 1) * shape[0] * max(nets, 1))]


serve(make)
