"""Builds the tiny networks of the operator cases, runs them and writes `operators.json` and `operators.bin`.

Needs onnx, onnxruntime and numpy. The cases themselves are in the files `cases_*.py`.
"""

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

HERE = Path(__file__).resolve().parent
IMAGES = 3
OLDEST, NEWEST = 7, 24
IR = 10
# Three different sides, so that a mistaken axis shows.
IMAGE = (2, 4, 5)


def versions(operator, oldest=OLDEST, newest=NEWEST):
    """The opsets from 7 to 24 at which the operator's definition changed, within the bounds."""
    since = sorted(
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.name == operator and schema.domain == ""
    )
    assert since, operator
    starts = {max(OLDEST, version) for version in since if version <= NEWEST}
    starts = {version for version in starts if oldest <= version <= newest}
    # The bound itself is a case when the definition of that opset began before it.
    if min(since) <= oldest <= newest:
        starts.add(oldest)
    return sorted(starts)


def seeded(*parts):
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "little")


class Network:
    """One network under construction; its methods return the name of the value that they made."""

    def __init__(self, name, opset, image):
        self.opset, self.image = opset, image
        self.random = np.random.default_rng(seeded(name))
        self.nodes, self.constants, self.count = [], [], 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def constant(self, array, dtype=None):
        """An initializer; floats by default, as in `constant([0, -1], np.int64)`."""
        if dtype is None:
            dtype = array.dtype if isinstance(array, (np.ndarray, np.generic)) else np.float32
        array = np.asarray(array, dtype)
        name = self.name()
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, values):
        return self.constant(values, np.int64)

    def numbers(self, *shape, low=-1.0, high=1.0):
        """An initializer of seeded random numbers."""
        values = self.random.uniform(low, high, shape)
        return self.constant(np.asarray(np.round(values * 64) / 64, np.float32))

    def add(self, operator, *inputs, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def flat(self, value="x"):
        return self.add("Flatten", value)

    def graph(self, value, batch, output_type=TensorProto.FLOAT):
        """The model that computes `value`."""
        source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *self.image])
        last = self.nodes[-1]
        for node in self.nodes:
            node.output[:] = ["y" if item == value else item for item in node.output]
            node.input[:] = ["y" if item == value else item for item in node.input]
        assert "y" in last.output, "the last node gives the output"
        result = helper.make_tensor_value_info("y", output_type, None)
        graph = helper.make_graph(self.nodes, "g", [source], [result], self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR)


class Cases:
    def __init__(self):
        self.index, self.blob, self.inputs = [], bytearray(), {}
        self.places, self.same = {}, {}
        self.failed = []

    def store(self, array):
        """Where the numbers lie: at which byte, how many. Equal numbers are stored once."""
        data = np.ascontiguousarray(array, "<f4").tobytes()
        if data not in self.places:
            self.places[data] = len(self.blob)
            self.blob += data
        return [self.places[data], array.size]

    def images(self, image):
        """The seeded images of one size, stored once."""
        if image not in self.inputs:
            values = np.random.default_rng(seeded(image)).normal(0, 1, (IMAGES, *image))
            values = (np.round(values * 64) / 64).astype(np.float32)
            self.inputs[image] = (values, self.store(values))
        return self.inputs[image]

    def add(self, operator, text, build, opsets=None, image=IMAGE, batch="N", flatten=True, kind="plain", note=""):
        """One case for each opset: `build(network)` gives the value whose flattened form is the output.

        `kind` is `plain`; `trap` where a reader may easily take another meaning; `batch` where the output of
        one image depends on the others or the output is not one row an image: it must be refused.
        """
        for opset in opsets if opsets is not None else versions(operator):
            name = f"{operator}-{opset}: {text}"
            try:
                self.one(name, operator, opset, text, build, image, batch, flatten, kind, note)
            except Exception as fault:  # reported at the end, nothing is left out without a word
                self.failed.append(f"{name}: {str(fault)[:300]}")

    def one(self, name, operator, opset, text, build, image, batch, flatten, kind, note):
        network = Network((operator, text), opset, image)
        value = build(network)
        if flatten:
            value = network.add("Flatten", value)
        model = network.graph(value, batch)
        # The output's type and shape, where they can be inferred.
        model = onnx.shape_inference.infer_shapes(model)
        del model.graph.value_info[:]
        values, place = self.images(image)
        outputs, refusals = {}, {}
        for evaluator, run in [("onnxruntime", by_runtime), ("reference", by_reference)]:
            try:
                outputs[evaluator] = np.asarray(run(model, values), np.float32)
            except Exception as fault:
                refusals[evaluator] = str(fault).strip().splitlines()[-1][:200] if str(fault) else repr(fault)
        assert outputs, f"no evaluator runs it: {refusals}"
        given = list(outputs)
        agree = True
        if len(given) == 2:
            first, second = outputs.values()
            agree = first.shape == second.shape and np.allclose(first, second, 1e-4, 1e-5, equal_nan=True)
        output = next(iter(outputs.values()))
        alone = alike(model, values, output, batch, given[0])
        assert alone == (kind != "batch"), f"kind {kind}, but rows are {'' if alone else 'not '}independent"
        if not model.graph.output[0].type.tensor_type.HasField("shape"):
            rows = "N" if batch == "N" and len(output) == IMAGES else len(output)
            result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, *output.shape[1:]])
            model.graph.output[0].CopyFrom(result)
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString()
        assert data[-1] == opset and model.ir_version == IR
        entry = {
            "operator": operator,
            "opsets": [opset],
            "attributes": text,
            "kind": kind,
            "image": list(image),
            "output": list(output.shape),
            "evaluators": given if agree else given[:1],
        }
        if not agree:
            entry["disagrees"] = given[1]
            print(f"DISAGREE {name}")
        if note:
            entry["note"] = note
        # Opsets that differ in their number only become one entry: the number is the last byte of the model.
        output = np.ascontiguousarray(output, "<f4")
        key = (data[:-1], output.tobytes(), repr({**entry, "opsets": 0}))
        if key in self.same:
            self.same[key]["opsets"].append(opset)
            return
        entry["model"] = [len(self.blob), len(data)]
        self.blob += data
        self.blob += bytes(-len(self.blob) % 4)
        entry["inputs"], entry["outputs"] = place, self.store(output)
        self.same[key] = entry
        self.index.append(entry)

    def close(self):
        names = [(entry["operator"], opset, entry["attributes"]) for entry in self.index for opset in entry["opsets"]]
        assert len(set(names)) == len(names), {name for name in names if names.count(name) > 1}
        lines = ",\n".join(json.dumps(entry) for entry in self.index)
        (HERE / "operators.json").write_text(f"[\n{lines}\n]\n")
        (HERE / "operators.bin").write_bytes(self.blob)
        by = {}
        for entry in self.index:
            key = "+".join(entry["evaluators"])
            by[key] = by.get(key, 0) + len(entry["opsets"])
        print(len(names), "cases in", len(self.index), "entries of", len({name[0] for name in names}), "operators")
        print(len(self.blob), "bytes;", by)
        print(*[f"NOT MADE {line}" for line in self.failed], sep="\n")


def alike(model, values, output, batch, evaluator):
    """Whether each image gives one row, and the same row whatever the other images and its place are."""
    if output.ndim != 2 or len(output) != IMAGES:
        return False
    run = by_runtime if evaluator == "onnxruntime" else by_reference
    for image in range(IMAGES):
        others = values.copy() + 1
        others[image] = values[image]
        found = np.asarray(run(model, others[image : image + 1] if batch == "N" else others))
        if batch == "N" and len(found) != 1:
            return False
        row = found[0 if batch == "N" else image]
        if not np.allclose(row, output[image], 1e-5, 1e-6):
            return False
    return np.allclose(run(model, np.roll(values, 1, axis=0)), np.roll(output, 1, axis=0), 1e-5, 1e-6)


def by_runtime(model, values):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": values})[0]


def by_reference(model, values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ReferenceEvaluator(model).run(None, {"x": values})[0]
