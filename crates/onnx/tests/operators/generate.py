"""Writes `operators.json` and `operators.bin`: `python generate.py`.

Made with Python 3.11, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.
"""

import build
import cases_constants
import cases_layers
import cases_pointwise
import cases_shape

if __name__ == "__main__":
    cases = build.Cases()
    for part in (cases_layers, cases_pointwise, cases_shape, cases_constants):
        part.add(cases)
    cases.close()
