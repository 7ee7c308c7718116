#!/usr/bin/env python3
"""Times the stage programs as whole processes, without the suite, and prints a table.

    cargo build --release -p sordino-fhe-benchmark
    python3 integrations/fhe-benchmark/measure.py --programs target/release --mnist DIR

DIR holds MNIST's t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, also as .gz. Needs Python alone.
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

STAGES = [
    "client_key_generation",
    "server_preprocess_model",
    "client_preprocess_input",
    "client_encode_encrypt_input",
    "server_encrypted_compute",
    "client_decrypt_decode",
    "client_postprocess",
]
SIZES = [("single", 1), ("small", 100), ("medium", 1000), ("large", 10000)]


def read_idx(folder, name):
    for path in (folder / name, folder / (name + ".gz")):
        if path.exists():
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rb") as file:
                return file.read()
    raise SystemExit(f"{folder}: no {name}: give MNIST's folder with --mnist")


def write_input(root, name, count, pixels):
    text = [f"{value / 255:.6f}" for value in range(256)]
    folder = root / "datasets" / name / "intermediate"
    folder.mkdir(parents=True)
    with open(folder / "test_pixels.txt", "w") as file:
        for image in range(count):
            row = pixels[784 * image : 784 * (image + 1)]
            file.write(" ".join(text[value] for value in row) + "\n")


def folder_bytes(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def run_once(programs, root, number, name):
    io = root / "io" / name
    shutil.rmtree(io, ignore_errors=True)
    io.mkdir(parents=True)
    seconds = {}
    for stage in STAGES:
        arguments = [] if stage == "server_preprocess_model" else [str(number)]
        start = time.perf_counter()
        subprocess.run([programs / stage, *arguments], cwd=root, check=True)
        seconds[stage] = time.perf_counter() - start
    steps = json.loads((io / "server_reported_steps.json").read_text())
    seconds["evaluation"] = steps["Encrypted computation"]
    return io, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=Path, default=Path("target/release"))
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    programs = arguments.programs.resolve()
    pixels = read_idx(arguments.mnist, "t10k-images-idx3-ubyte")[16:]
    labels = read_idx(arguments.mnist, "t10k-labels-idx1-ubyte")[8:]

    def median(values):
        return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"

    columns = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, (name, count) in enumerate(SIZES):
            write_input(root, name, count, pixels)
            run_once(programs, root, number, name)
            runs = [run_once(programs, root, number, name) for _ in range(arguments.runs)]
            io = runs[0][0]
            found = (io / "encrypted_model_predictions.txt").read_text().split()
            right = sum(label == str(truth) for label, truth in zip(found, labels))
            column = {stage: median([seconds[stage] for _, seconds in runs]) for stage in STAGES}
            column["evaluation alone"] = median([seconds["evaluation"] for _, seconds in runs])
            column["all stages"] = median([sum(seconds[s] for s in STAGES) for _, seconds in runs])
            column["public and evaluation keys, bytes"] = f"{folder_bytes(io / 'public_keys'):,}"
            column["encrypted input, bytes"] = f"{folder_bytes(io / 'ciphertexts_upload'):,}"
            column["encrypted results, bytes"] = f"{folder_bytes(io / 'ciphertexts_download'):,}"
            column["accuracy on the first test images"] = f"{right / count:.4f}"
            columns.append(column)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print("| seconds, median (min to max) | " + " | ".join(f"{n} ({c:,})" for n, c in SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    rows = STAGES[:5] + ["evaluation alone"] + STAGES[5:]
    for row in rows + [row for row in columns[0] if row not in rows]:
        print(f"| {row} | " + " | ".join(column[row] for column in columns) + " |")
    print(f"\n{arguments.runs} runs; largest memory of any stage {peak / 1024:.0f} MiB; {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
