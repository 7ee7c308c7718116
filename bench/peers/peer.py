"""What the two peers' scripts share: arguments in, a record and logits out."""

import argparse
import json
import resource
import time

import numpy as np

from network import Network


class Clock:
    """Seconds of the phases of a run."""

    def __init__(self):
        self.seconds = {}

    def phase(self, name, work):
        start = time.perf_counter()
        result = work()
        self.seconds[f"{name}_seconds"] = time.perf_counter() - start
        return result


def run(work):
    """Runs `work(network, pixels, threads, clock)`, which gives logits and what to record, and writes both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--pixels", required=True, help="[images, 784] from 0 to 1, .npy")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--logits", required=True, help="where to write [images, 10], .npy")
    arguments = parser.parse_args()
    clock = Clock()
    pixels = np.load(arguments.pixels)
    logits, record = work(Network(arguments.model), pixels, arguments.threads, clock)
    np.save(arguments.logits, logits)
    # Linux counts in kibibytes; the largest single process.
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    record.update(clock.seconds, threads=arguments.threads, peak_rss_bytes=1024 * max(peaks))
    print(json.dumps(record))
