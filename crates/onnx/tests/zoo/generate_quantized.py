"""Writes `blocks/quantized.*`: a network of the zoo, quantized by ONNX Runtime: `python generate_quantized.py`.

Made with Python 3.11, onnx 1.23.2, onnxruntime 1.32.0. Weights and values go through QuantizeLinear and
DequantizeLinear, so a reader that computes in floats gives nearly the same outputs; `tolerance` says how nearly.
"""

import numpy as np
import onnx.version_converter
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

import common

SOURCE, IMAGE = "tt-vgg-bn", (3, 16, 16)


class Images(CalibrationDataReader):
    def __init__(self):
        self.batches = iter(np.split(common.images(7, 64, *IMAGE), 8))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"input": batch}


def main():
    folder = common.HERE / "blocks"
    zoo = common.Zoo(folder, "onnxruntime", f"onnxruntime {onnxruntime.__version__} (quantize_static)")
    inputs = common.images(8, 4, *IMAGE)
    for per_channel in (False, True):
        name = "quantized.channels" if per_channel else "quantized"
        # Below opset 13 ONNX Runtime writes scales per channel that the opset does not have.
        source = onnx.version_converter.convert_version(onnx.load(common.HERE / f"{SOURCE}.onnx"), 13)
        quantize_static(source, str(zoo.path(name)), Images(), QuantFormat.QDQ,
                        per_channel=per_channel)
        tags = ["QuantizeLinear and DequantizeLinear on weights and values", f"of {SOURCE}"]
        zoo.add(name, inputs, IMAGE, "NCHW", ["logits"], False, tags, tolerance=0.1)
        floats = onnxruntime.InferenceSession(str(common.HERE / f"{SOURCE}.onnx")).run(None, {"input": inputs})[0]
        found = np.fromfile(folder / f"{name}.f32", "<f4")[inputs.size :]
        error = abs(found - floats.ravel()).max() / abs(floats).max()
        print(f"{name}: {error:.3f} of the largest away from the network in floats")
        assert error < 0.1
    zoo.close()


if __name__ == "__main__":
    main()
