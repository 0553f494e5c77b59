#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tl_hub's searches beside Optuna's on two synthetic functions, each with the same budget and paired seeds.

    bench/search/against_optuna.py BUILD/bin/tl_hub [--points 100] [--seeds 20]

Ours is driven as any program would drive it: tl_hub ask and tl_hub tell, a process each. Optuna (pip install optuna) is in
this process. What is compared is the best value found; with the difference of the pairs and its standard error. The first
column but one is the time of a point, which for ours is two processes and two commits.
"""
import argparse
import json
import math
import os
import subprocess
import tempfile
import time


def branin(x):
    a, b = 15 * x[0] - 5, 15 * x[1]
    return ((b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6) ** 2
            + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)


ALPHA = [1.0, 1.2, 3.0, 3.2]
A = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
P = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]


def hartmann6(x):
    return -sum(ALPHA[i] * math.exp(-sum(A[i][j] * (x[j] - P[i][j] * 1e-4) ** 2 for j in range(6))) for i in range(4))


FUNCTIONS = {"branin": (branin, 2, 0.397887), "hartmann6": (hartmann6, 6, -3.32237)}


def ours(program, method, name, points, seed):
    function, dimensions, _ = FUNCTIONS[name]
    with tempfile.TemporaryDirectory() as folder:
        def run(*arguments):
            return subprocess.run([program, *arguments, "--hub", f"sqlite:{folder}/hub.db"], check=True, cwd=folder,
                                  capture_output=True, text=True).stdout
        with open(os.path.join(folder, "s.json"), "w") as file:
            json.dump({"name": "s", "kind": "outside", "method": method, "seed": seed, "run_cap": points, "parallel": 1,
                       "metric": {"name": "value", "goal": "minimize"},
                       "parameters": {f"x{i}": {"min": 0.0, "max": 1.0} for i in range(dimensions)}}, file)
        run("create-task", "--sweep", "s.json")
        best = math.inf
        for _ in range(points):
            point = json.loads(run("ask", "s", "-o", "json"))[0]
            value = function([point["point"][f"x{i}"] for i in range(dimensions)])
            run("tell", "s", str(point["point_number"]), f"value={value!r}", "-o", "json")
            best = min(best, value)
        return best


def theirs(method, name, points, seed):
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    function, dimensions, _ = FUNCTIONS[name]
    sampler = {"tpe": lambda: optuna.samplers.TPESampler(seed=seed),
               "tpe multivariate": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
               "random": lambda: optuna.samplers.RandomSampler(seed=seed)}[method]()
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: function([trial.suggest_float(f"x{i}", 0, 1) for i in range(dimensions)]), n_trials=points)
    return study.best_value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    runs = [("ours", "tpe"), ("ours", "cma_es"), ("ours", "sobol"), ("optuna", "tpe"), ("optuna", "tpe multivariate"),
            ("optuna", "random")]
    for name, (_, _, least) in FUNCTIONS.items():
        regrets, seconds = {}, {}
        for who, method in runs:
            start = time.monotonic()
            found = [ours(program, method, name, options.points, seed) if who == "ours"
                     else theirs(method, name, options.points, seed) for seed in range(options.seeds)]
            seconds[who, method] = (time.monotonic() - start) / options.seeds / options.points
            regrets[who, method] = [value - least for value in found]
        print(f"{name}: {options.points} points, {options.seeds} seeds, the best value less the least there is")
        for who, method in runs:
            values = regrets[who, method]
            pairs = [a - b for a, b in zip(values, regrets["optuna", "tpe"])]
            mean = sum(pairs) / len(pairs)
            error = math.sqrt(sum((d - mean) ** 2 for d in pairs) / (len(pairs) - 1) / len(pairs))
            print(f"  {who:7} {method:17} {sum(values) / len(values):9.5f}   median {sorted(values)[len(values) // 2]:9.5f}   "
                  f"less Optuna's TPE {mean:+9.5f} ± {error:.5f}   {1000 * seconds[who, method]:7.1f} ms a point", flush=True)


if __name__ == "__main__":
    main()
