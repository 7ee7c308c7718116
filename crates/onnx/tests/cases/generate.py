"""Writes NAME.f32 beside each network: three images as its input wants them, then ONNX Runtime's output for each.

onnx 1.23, onnxruntime 1.32; the networks are public fault reports built again, see README.md.
"""
import glob
import numpy
import onnx
import onnxruntime


def repaired(path):
    """The network with what ONNX Runtime refuses set right, the meaning unchanged."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.name in ("tm", "ratio"):
            # The numbers of Dropout must be scalars.
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.reshape(()), tensor.name))
        if tensor.name == "sh":
            # Shapes must be int64.
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(numpy.int64), tensor.name))
    return model.SerializeToString()



for path in sorted(glob.glob("*.onnx")):
    name = path.removesuffix(".onnx")
    try:
        session = onnxruntime.InferenceSession(repaired(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        print(name, "not run:", str(error)[:100])
        continue
    first = session.get_inputs()[0]
    sides = [side if isinstance(side, int) else 1 for side in first.shape]
    random = numpy.random.default_rng(20)
    images, outputs = [], []
    for _ in range(3):
        if first.type == "tensor(uint8)":
            image = random.integers(0, 256, sides).astype(numpy.uint8)
        else:
            image = random.uniform(0, 1, sides).astype(numpy.float32)
        feed = {first.name: image}
        for other in session.get_inputs()[1:]:
            feed[other.name] = numpy.array(False)
        images.append(image.astype(numpy.float32).ravel())
        outputs.append(numpy.asarray(session.run(None, feed)[0], numpy.float32).ravel())
    numpy.concatenate(images + outputs).astype("<f4").tofile(name + ".f32")
    print(name, images[0].size, outputs[0].size)
