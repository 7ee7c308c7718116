"""The committed MNIST network and MNIST's test images, read with NumPy alone."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np

PIXELS = 784


class Network:
    """784-128-(a x^2 + b x + c)-10, batch normalization folded, as logits = W2 (s * x (x + r)) + b2 with x = W1 p + b1.

    sqrt|a| is folded into W1 and b1, the sign of a and c into W2 and b2: one product of ciphertexts an activation for everyone.
    """

    def __init__(self, path):
        tensors = read_safetensors(path)
        weight, bias = tensors["dense1.weight"], tensors["dense1.bias"]
        scale = tensors["norm1.gamma"] / np.sqrt(tensors["norm1.variance"] + 1e-5)
        weight, bias = scale[:, None] * weight, scale * (bias - tensors["norm1.mean"]) + tensors["norm1.beta"]
        a, b, c = (tensors[f"act1.{name}"] for name in "abc")
        root = np.sqrt(np.abs(a))
        out = tensors["dense2.weight"]
        self.w1, self.b1 = root[:, None] * weight, root * bias
        self.shift = np.sign(a) * b / root
        self.w2, self.b2 = out * np.sign(a), tensors["dense2.bias"] + out @ c

    def logits(self, pixels):
        x = pixels @ self.w1.T + self.b1
        return (x * (x + self.shift)) @ self.w2.T + self.b2


def read_safetensors(path):
    data = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    kinds = {"F32": "<f4", "F16": "<f2"}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            values = np.frombuffer(data[start:end], kinds[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"]).astype(np.float64)
    return tensors


def read_mnist(folder, count):
    """The first test images, from 0 to 1, and their labels."""

    def read(name):
        for path in (Path(folder) / name, Path(folder) / f"{name}.gz"):
            if path.exists():
                opener = gzip.open if path.suffix == ".gz" else open
                with opener(path, "rb") as file:
                    return file.read()
        raise SystemExit(f"{folder}: no {name}: give MNIST's folder with --mnist")

    pixels = np.frombuffer(read("t10k-images-idx3-ubyte")[16:], np.uint8).reshape(-1, PIXELS)
    labels = np.frombuffer(read("t10k-labels-idx1-ubyte")[8:], np.uint8)
    return pixels[:count] / 255.0, labels[:count]
