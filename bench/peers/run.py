#!/usr/bin/env python3
"""Times one network with Sordino, OpenFHE and TenSEAL in one go, compares their logits and prints the ratios.

    bench/peers/run.sh --mnist DIR [--sordino target/release/sordino] [--rounds 3]

The systems take turns, so that other load on the machine falls on all alike. Seconds are medians of the rounds, ratios those of the
fastest rounds.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from network import Network, read_mnist
from sordino_peer import Sordino

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
IMAGES = 4096
OURS = ["Sordino", "Sordino, precise"]
# Options of the second: a plan with logits as precise as the peers': weights of 16 bits, errors below 2^-8.
PRECISE = ["--weight-bits", "16", "--precision-bits", "8"]


def run_peer(script, model, pixels, threads, folder):
    logits = folder / f"{script}.npy"
    command = [sys.executable, HERE / f"{script}.py", "--model", model, "--pixels", pixels]
    command += ["--threads", str(threads), "--logits", logits]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    logits = np.load(logits)
    return logits, logits.argmax(1), json.loads(done.stdout.splitlines()[-1])


def merge(records):
    """Medians of the seconds over the rounds; the rest is the same in all."""
    merged = dict(records[-1])
    for name in [key for key in merged if key.endswith("_seconds")]:
        values = [record[name] for record in records]
        merged[name] = statistics.median(values)
        merged[name.replace("_seconds", "_seconds_min")] = min(values)
        merged[name.replace("_seconds", "_seconds_max")] = max(values)
    merged["peak_rss_bytes"] = max(record["peak_rss_bytes"] for record in records)
    merged["amortized_seconds"] = merged["evaluate_seconds"] / IMAGES
    merged["runs"] = len(records)
    return merged


def machine():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {pages / 2**30:.1f} GiB"


def commit():
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or None


def short(value):
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(records):
    columns = ["system", "evaluation (min to max)", "times Sordino", "times Sordino, precise", "per image"]
    columns += ["encryption", "decryption", "upload", "peak memory", "N, slots, log2 QP"]
    columns += ["worst difference of a logit to float", "same class as float"]
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for record in records:
        bounds = [record[f"evaluate_seconds_{end}"] for end in ("min", "max")]
        cells = [
            record["system"],
            f"{short(record['evaluate_seconds'])} s ({short(bounds[0])} to {short(bounds[1])})",
            *(short(record["times"][name]) for name in OURS),
            f"{short(record['amortized_seconds'] * 1e6)} us",
            f"{record['encrypt_seconds']:.2g} s",
            f"{record['decrypt_seconds']:.2g} s",
            f"{record['upload_bytes'] / 1e6:.1f} MB",
            f"{record['peak_rss_bytes'] / 2**20:.0f} MiB",
            f"{record['ring_degree']}, {record['slots']}, {record['log2_qp']:.0f}",
            f"{record['worst_logit_error_float']:.2g}",
            f"{100 * record['agreement_float']:.2f} %",
        ]
        print("| " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="folder of t10k-images-idx3-ubyte and its labels")
    parser.add_argument("--sordino", type=Path, default=ROOT / "target/release/sordino")
    parser.add_argument("--model", type=Path, default=ROOT / "models/mlp-mnist.safetensors")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", type=Path, help="write the record as JSON")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    pixels, labels = read_mnist(arguments.mnist, IMAGES)
    expected = Network(arguments.model).logits(pixels)
    ours = [
        Sordino(arguments.sordino, arguments.model, pixels, arguments.threads, OURS[0]),
        Sordino(arguments.sordino, arguments.model, pixels, arguments.threads, OURS[1], PRECISE),
    ]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.save(folder / "pixels.npy", pixels)
        for number in range(arguments.rounds):
            runs = [sordino.round() for sordino in ours]
            for script in ("openfhe_peer", "tenseal_peer"):
                runs.append(run_peer(script, arguments.model, folder / "pixels.npy", arguments.threads, folder))
            for logits, classes, record in runs:
                results.setdefault(record["system"], []).append((logits, classes, record))
                print(f"round {number + 1}: {record['system']}: {record['evaluate_seconds']:.3f} s", file=sys.stderr)
    records, all_logits = [], {}
    for system, runs in results.items():
        record = merge([record for _, _, record in runs])
        logits, classes = runs[-1][:2]
        all_logits[system] = logits
        record["images"] = IMAGES
        records.append(record)
        record["accuracy_encrypted"] = float((classes == labels).mean())
        record["worst_logit_error_float"] = float(np.abs(logits - expected).max())
        record["agreement_float"] = float((classes == expected.argmax(1)).mean())
    # Of the fastest rounds: other load only adds.
    fastest = {record["system"]: record["evaluate_seconds_min"] for record in records}
    for record in records:
        record["times"] = {ours: record["evaluate_seconds_min"] / fastest[ours] for ours in OURS}
    table(records)
    print(f"\nFloat network: accuracy {(expected.argmax(1) == labels).mean():.4f}, largest logit {np.abs(expected).max():.1f}.")
    print("Largest difference of a logit between two systems:")
    names = list(all_logits)
    for at, name in enumerate(names):
        for other in names[at + 1 :]:
            print(f"- {name} and {other}: {np.abs(all_logits[name] - all_logits[other]).max():.3g}")
    print(f"\n{machine()}, {arguments.threads} threads, {arguments.rounds} rounds, load {load:.2f} before the first.")
    for record in records:
        record.update(machine=machine(), load=load, commit=commit(), date=datetime.date.today().isoformat())
        record.update(network="mlp", dataset="mnist", batch=IMAGES, packing="element-wise")
    if arguments.record:
        arguments.record.write_text(json.dumps(records, indent=1) + "\n")
    # The three must have computed the same network, up to the rounding of weights and of released logits.
    if min(record["agreement_float"] for record in records) < 0.99:
        sys.exit("classes differ from the float network's: see the table")


if __name__ == "__main__":
    main()
