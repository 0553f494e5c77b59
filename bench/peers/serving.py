# SPDX-License-Identifier: Apache-2.0
"""What the peers of bench/train share: for each NAME read, "NAME RATE" is answered: samples a second of CPU time."""
import sys
import time

SLICE = 0.4  # seconds that one measurement takes at least


class Job:
    """run(n) does n rounds of `samples` samples each."""

    def __init__(self, run, samples):
        self.run, self.samples, self.rounds = run, samples, 0
        run(1)  # compiles

    def rate(self):
        rounds = self.rounds or 1
        while True:
            start = time.process_time()
            self.run(rounds)
            taken = time.process_time() - start
            if self.rounds or taken >= SLICE / 2:
                self.rounds = rounds
                return rounds * self.samples / taken
            rounds *= 2


def serve(make):
    """make(NAME) gives the jobs of which the best counts; an empty list: no peer. A job that fails is left out."""
    jobs = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in jobs:
            jobs[name] = make(name)
            if len(jobs[name]) > 1:
                jobs[name] = [max(jobs[name], key=lambda job: max(job.rate(), job.rate()))]
        print(name, f"{jobs[name][0].rate():.0f}" if jobs[name] else "-", flush=True)
