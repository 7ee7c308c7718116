"""The network with Sordino: the commands of the binary, client and server as processes of their own."""

import csv
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

# Evaluations a round.
EVALUATIONS = 5


class Sordino:
    """A plan and keys, made once; `round` encrypts, evaluates and decrypts."""

    def __init__(self, binary, model, pixels, threads, name, options=()):
        self.binary, self.threads = str(binary), threads
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.name = name
        count = len(pixels)
        np.save(self.root / "images.npy", np.rint(pixels * 255).astype(np.uint8).reshape(count, 1, 28, 28))
        plan = self.root / "plan"
        self.run("compile", model, "--batch", count, "--packing", "element-wise", *options, "--out", plan)
        self.server, self.client = plan / "server.plan", plan / "client.plan"
        self.keygen_seconds = self.run("keygen", "--plan", self.client, "--out", self.root / "keys")[0]
        self.parameters = self.run("inspect", self.client)[1]

    def run(self, *arguments):
        """Seconds of the whole process, and what it printed as JSON."""
        command = [self.binary, "--quiet", "--json", "--force", "--threads", str(self.threads)]
        start = time.perf_counter()
        done = subprocess.run(command + [str(a) for a in arguments], check=True, stdout=subprocess.PIPE)
        seconds = time.perf_counter() - start
        return seconds, json.loads(done.stdout) if done.stdout.strip() else {}

    def round(self):
        """Logits as released, classes, and a record."""
        key = ["--key", self.root / "keys" / "secret.key"]
        request, reply, scores = (self.root / name for name in ("request", "reply", "scores.csv"))
        images = ["--images", self.root / "images.npy"]
        encrypt, _ = self.run("encrypt", "--plan", self.client, *key, *images, "--out", request)
        evaluation_key = self.root / "keys" / "evaluation.key"
        keys = ["--keys", evaluation_key] if evaluation_key.exists() else []
        # Milliseconds: several in a round, so that a moment of other load does not decide.
        evaluate = ["evaluate", "--plan", self.server, *keys, "--request", request, "--out", reply]
        results = [self.run(*evaluate) for _ in range(EVALUATIONS)]
        process = statistics.median(seconds for seconds, _ in results)
        evaluation = statistics.median(result["evaluate_seconds"] for _, result in results)
        result = results[-1][1]
        decrypt, _ = self.run("decrypt", "--plan", self.client, *key, "--reply", reply, "--out", scores, "--logits")
        with open(scores, newline="") as file:
            rows = list(csv.DictReader(file))
        logits = np.array([[float(row[f"logit_{k}"]) for k in range(10)] for row in rows])
        record = {
            "system": self.name,
            "ring_degree": self.parameters["ring_degree"],
            "slots": self.parameters["ring_degree"],
            "log2_qp": self.parameters["log2_qp"],
            "security": f"{self.parameters['security_bits']} bits, by the table of SECURITY.md",
            "upload_bytes": request.stat().st_size,
            "reply_bytes": reply.stat().st_size,
            "keygen_seconds": self.keygen_seconds,
            "encrypt_seconds": encrypt,
            "evaluate_seconds": evaluation,
            "evaluate_process_seconds": process,
            "decrypt_seconds": decrypt,
            "threads": result["threads"],
            "peak_rss_bytes": result["peak_rss_bytes"],
        }
        # Decided before the logits were rounded for release.
        classes = np.array([int(row["class"]) for row in rows])
        return logits, classes, record
