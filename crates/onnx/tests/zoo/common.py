"""What the generators of the zoo share: seeded images, the reference outputs and the index file.

Needs onnx, onnxruntime and numpy. Nothing here knows which operators the importer reads.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

HERE = Path(__file__).resolve().parent
IMAGES = 8


def images(seed, count, channels, height, width):
    """Smooth blobs on a slope with some noise: multiples of 1/255 in [0, 1], as [count, C, H, W]."""
    random = np.random.default_rng(seed)
    rows, columns = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    result = np.zeros((count, channels, height, width))
    for image in result:
        blobs = [(random.uniform(0, 1, 2), random.uniform(0.1, 0.3)) for _ in range(3)]
        for plane in image:
            slope = random.uniform(-0.4, 0.4, 2)
            plane += 0.2 + slope[0] * rows + slope[1] * columns + random.normal(0, 0.05, plane.shape)
            for (row, column), size in blobs:
                distance = (rows - row) ** 2 + (columns - column) ** 2
                plane += random.uniform(-0.3, 0.9) * np.exp(-distance / (2 * size**2))
    return (np.round(np.clip(result, 0, 1) * 255) / 255).astype(np.float32)


def strip(path):
    """Removes stack traces and comments, which name files of the machine that exported."""
    model = onnx.load(path, load_external_data=False)

    def clean(item):
        item.doc_string = ""
        if hasattr(item, "metadata_props"):
            del item.metadata_props[:]

    def graph(of):
        clean(of)
        for item in [*of.node, *of.initializer, *of.input, *of.output, *of.value_info]:
            clean(item)
        for node in of.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    graph(attribute.g)

    clean(model)
    graph(model.graph)
    for function in model.functions:
        clean(function)
        for node in function.node:
            clean(node)
    onnx.save(model, path)


class Zoo:
    """Collects the entries of one generator and merges them into the index."""

    def __init__(self, folder, exporter, version):
        self.folder, self.exporter, self.version = folder, exporter, version
        self.entries = []

    def path(self, name):
        return self.folder / f"{name}.onnx"

    def add(self, name, inputs, image, layout, ends, polynomial, tags, **more):
        """Checks one exported file, runs it on `inputs` (as the file wants them) and notes it."""
        path = self.path(name)
        strip(path)
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        [source] = session.get_inputs()
        outputs, batch = [], len(inputs)
        if isinstance(source.shape[0], int):
            # The batch is fixed in the file: one run for each image or group.
            step = source.shape[0]
            runs = [session.run(None, {source.name: inputs[i : i + step]}) for i in range(0, batch, step)]
        else:
            runs = [session.run(None, {source.name: inputs})]
        values = [inputs.astype("<f4").tobytes()]
        for index, (info, end) in enumerate(zip(session.get_outputs(), ends, strict=True)):
            parts = [run[index] for run in runs]
            if info.type.startswith("seq"):
                # A list of dictionaries from class to probability.
                parts = [np.array([[row[key] for key in sorted(row)] for row in part]) for part in parts]
            value = np.concatenate(parts).astype("<f4")
            assert len(value) == batch and np.isfinite(value).all(), (name, value)
            spread = value.std(axis=0).max()
            assert spread > 1e-3, f"{name}: the output does not depend on the image ({spread})"
            outputs.append(
                {"name": info.name, "shape": list(value.shape[1:]), "type": info.type, "end": end}
            )
            values.append(value.tobytes())
            if index == 0:
                first = value.reshape(batch, -1)
        (self.folder / f"{name}.f32").write_bytes(b"".join(values))
        model = onnx.load(path, load_external_data=False)
        opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        data = path.with_name(path.name + ".data")
        entry = {
            "name": name,
            "exporter": self.exporter,
            "version": self.version,
            "opset": opset,
            "external_data": data.exists(),
            "input": source.name,
            "input_type": source.type,
            "input_shape": [item if isinstance(item, int) else None for item in source.shape],
            "layout": layout,
            "image": list(image),
            "images": batch,
            "outputs": outputs,
            "polynomial": polynomial,
            "operators": sorted({f"{node.domain}.{node.op_type}".lstrip(".") for node in model.graph.node}),
            "tags": tags,
            **more,
        }
        self.entries.append(entry)
        size = path.stat().st_size + (data.stat().st_size if data.exists() else 0)
        print(f"{name}: opset {opset}, {size} B, largest {abs(first).max():.3g}", end=", ")
        print(f"answers {[int(row.argmax()) for row in first]}", *entry["operators"])

    def close(self):
        """Replaces the entries of this exporter in the index."""
        index = self.folder / "zoo.json"
        old = json.loads(index.read_text()) if index.exists() else []
        names = {entry["name"] for entry in self.entries}
        kept = [entry for entry in old if entry["name"] not in names]
        entries = sorted(kept + self.entries, key=lambda entry: entry["name"])
        lines = ",\n".join(json.dumps(entry) for entry in entries)
        index.write_text(f"[\n{lines}\n]\n")


def table(folder=HERE):
    """The table of the README: one line for each network."""
    last = "polynomial" if folder == HERE else "expected to be refused because of"
    lines = [f"| name | made by | opset | what is in it | {last} |", "| --- | --- | --- | --- | --- |"]
    for entry in json.loads((folder / "zoo.json").read_text()):
        version = entry["version"].split(", ")[0]
        if entry["exporter"].startswith("torch"):
            version += f", {entry['exporter'].removeprefix('torch-')} exporter"
        cells = [entry["name"], version, str(entry["opset"]), ", ".join(entry["tags"])]
        cells.append(entry.get("refused", "yes" if entry["polynomial"] else ""))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(HERE / "blocks" if "blocks" in sys.argv else HERE))
