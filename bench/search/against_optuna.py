#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tl_hub's searches beside Optuna's: the same budget, paired seeds, and one trainer, ours.

    bench/search/tables BUILD PYTHON FOLDER                      trains the nets, once
    bench/search/against_optuna.py BUILD/bin/tl_hub [--tables FOLDER] [--points 100] [--seeds 30] [--only NAME,…]

Three functions (branin, hartmann6; mixed has a logarithmic, a conditional and a categorical parameter and two integers), and with
--tables two nets: an MLP on the digits and a CNN on 6,000 images of Fashion-MNIST. All their nets were trained by tl_hub
beforehand, and a trial looks up the least loss that its net had up to each epoch; so many seeds cost little, and both sides see
the same numbers. Ours is driven as any program would drive it, by tl_hub ask --stdio.

tpe: so many points (nets: 40), each for itself; the best value found less the least there is. asha: tpe with successive halving
(rungs at 1, 3, 9 … epochs) and a budget in epochs, 15 full trainings; the least loss seen. random: ours against Optuna's,
to see what the differences are worth. "no worse": less than one standard error.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile


def branin(point):
    a, b = 15 * point["x0"] - 5, 15 * point["x1"]
    return ((b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6) ** 2
            + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)


ALPHA = [1.0, 1.2, 3.0, 3.2]
A = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
P = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]


def hartmann6(point):
    x = [point[f"x{i}"] for i in range(6)]
    return -sum(ALPHA[i] * math.exp(-sum(A[i][j] * (x[j] - P[i][j] * 1e-4) ** 2 for j in range(6))) for i in range(4))


def mixed(point):
    kind = "abcd".index(point["kind"])
    value = [0.3, 0.0, 0.2, 0.5][kind] + 0.15 * (math.log10(point["rate"]) - [-2.0, -1.0, -3.0, -2.5][kind]) ** 2
    value += 0.1 * abs(math.log2(point["width"]) - 6.3) + 0.05 * (point["depth"] - 3) ** 2
    return value + (0.8 * (point["momentum"] - 0.85) ** 2 if kind == 1 else 0)


class Function:
    """What is searched: W&B's parameters for ours, suggest() for Optuna's; losses(point): by epoch, of a function one."""

    epochs = 1

    def __init__(self, function, parameters, least):
        self.function, self.parameters, self.least = function, parameters, least

    def losses(self, point):
        return [self.function(point)]

    def suggest(self, trial):
        point = {}
        for name, what in self.parameters.items():
            if "values" in what:
                point[name] = trial.suggest_categorical(name, what["values"])
            elif isinstance(what["min"], int):
                point[name] = trial.suggest_int(name, what["min"], what["max"])
            else:
                point[name] = trial.suggest_float(name, what["min"], what["max"], log="distribution" in what)
        return point


class Table(Function):
    """Nets that were trained beforehand. Numbers are searched by their place among those in the table."""

    def __init__(self, path):
        nets = json.load(open(path))
        names = [name for name in nets[0]["point"] if len({net["point"][name] for net in nets}) > 1]
        self.values = {name: sorted({net["point"][name] for net in nets}) for name in names}
        self.nets = {tuple(net["point"][name] for name in names): net["losses"] for net in nets}
        parameters = {name: {"values": values} if isinstance(values[0], str) else {"min": 0, "max": len(values) - 1}
                      for name, values in self.values.items()}
        super().__init__(None, parameters, min(min(losses) for losses in self.nets.values()))
        self.epochs = max(len(losses) for losses in self.nets.values())

    def losses(self, point):
        return self.nets[tuple(value if isinstance(value, str) else self.values[name][value]
                               for name, value in ((name, point[name]) for name in self.values))]


UNIT = {"min": 0.0, "max": 1.0}
FUNCTIONS = {
    "branin": Function(branin, {"x0": UNIT, "x1": UNIT}, 0.397887),
    "hartmann6": Function(hartmann6, {f"x{i}": UNIT for i in range(6)}, -3.32237),
    "mixed": Function(mixed, {"rate": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
                              "width": {"min": 4, "max": 256}, "kind": {"values": ["a", "b", "c", "d"]}, "momentum": UNIT,
                              "depth": {"min": 1, "max": 5}}, 0.0),
}


def ours(program, method, searched, budget, seed):
    """The least value seen when so many epochs were trained (a function has one a point)."""
    sweep = {"name": "s", "kind": "outside", "method": "tpe" if method == "asha" else method, "seed": seed, "run_cap": budget,
             "parallel": 1, "metric": {"name": "value", "goal": "minimize"}, "parameters": searched.parameters}
    if method == "asha":
        sweep["early_terminate"] = {"type": "asha", "min_iter": 1, "eta": 3, "max_iter": searched.epochs}
    with tempfile.TemporaryDirectory() as folder:
        hub = ["--hub", f"sqlite:{folder}/hub.db"]
        with open(f"{folder}/s.json", "w") as file:
            json.dump(sweep, file)
        made = subprocess.run([program, "create-task", "--sweep", f"{folder}/s.json", *hub], check=False, capture_output=True, text=True)
        if made.returncode:
            sys.exit(made.stderr)
        with subprocess.Popen([program, "ask", "s", "--stdio", *hub], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, bufsize=1) as search:
            def say(**line):
                print(json.dumps(line), file=search.stdin)
                answer = json.loads(search.stdout.readline())
                if "error" in answer:
                    sys.exit(answer["error"])
                return answer

            best, trained, reached = math.inf, 0, {}
            while trained < budget:
                points = say(ask=1)["points"]
                if not points:
                    break
                number, until = points[0]["point_number"], points[0].get("until", searched.epochs)
                losses = searched.losses(points[0]["point"])
                while trained < budget:
                    before = reached.get(number, 0)
                    best = min([best, *losses[:min(until, before + budget - trained)]])
                    trained += until - before
                    reached[number] = until
                    if until == searched.epochs:
                        say(tell=number, metrics={"value": min(losses)})
                        break
                    answer = say(tell=number, epoch=until, metrics={"value": min(losses[:until])})
                    if answer["verdict"] != "promote":
                        break
                    until = answer["until"]
            search.stdin.close()
        return best


def theirs(method, searched, budget, seed):
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    state = {"best": math.inf, "trained": 0}

    def objective(trial):
        losses = searched.losses(searched.suggest(trial))
        for epoch, loss in enumerate(losses, 1):
            state["trained"] += 1
            state["best"] = min(state["best"], loss)
            if method == "asha":
                trial.report(min(losses[:epoch]), epoch)
                if state["trained"] < budget and trial.should_prune():
                    raise optuna.TrialPruned()
            if state["trained"] >= budget:
                study.stop()
                break
        return min(losses[:epoch])

    sampler = optuna.samplers.RandomSampler(seed=seed) if method == "random" else optuna.samplers.TPESampler(seed=seed)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3) if method == "asha" else None
    study = optuna.create_study(sampler=sampler, pruner=pruner or optuna.pruners.NopPruner())
    study.optimize(objective, n_trials=budget)
    return state["best"]


def compare(program, name, searched, method, budget, seeds):
    pairs = [(ours(program, method, searched, budget, seed) - searched.least,
              theirs(method, searched, budget, seed) - searched.least) for seed in range(seeds)]
    means = [sum(column) / seeds for column in zip(*pairs)]
    differences = [a - b for a, b in pairs]
    mean = sum(differences) / seeds
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / (seeds - 1) / seeds)
    verdict = "no worse" if mean <= error else "WORSE"
    print(f"| {name} | {method} | {means[0]:.5f} | {means[1]:.5f} | {mean:+.5f} ± {error:.5f} | {verdict} |", flush=True)
    return mean <= error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--tables", help="the folder of bench/search/tables")
    parser.add_argument("--points", type=int, default=100, help="of the functions")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--only", help="names, with commas between")
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    everything = dict(FUNCTIONS)
    if options.tables:
        everything |= {name: Table(f"{options.tables}/{name}.json") for name in ("digits", "fashion")}
    print("| searched | method | tl_hub | Optuna | difference and its standard error | |\n| --- | --- | ---: | ---: | ---: | --- |")
    good = True
    for name, searched in everything.items():
        if options.only and name not in options.only.split(","):
            continue
        for method in ("random", "tpe") + (("asha",) if searched.epochs > 1 else ()):
            points = options.points if searched.epochs == 1 else 15 if method == "asha" else 40
            good = compare(program, name, searched, method, points * searched.epochs, options.seeds) and good or method == "random"
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
