"""Cases of constants and shapes, of picked values, of dropout, of ends and of quantized weights."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from build import versions


def add(cases):
    constants(cases)
    shapes(cases)
    gathers(cases)
    dropouts(cases)
    ends(cases)
    quantized(cases)


def constants(cases):
    def used(text, opsets, **attribute):
        cases.add("Constant", text, lambda n: n.add("Mul", "x", n.add("Constant", **attribute)), opsets)

    def tensor(values, dtype):
        return numpy_helper.from_array(np.asarray(values, dtype))

    used("value: float", versions("Constant"), value=tensor([[[0.5]], [[2.0]]], np.float32))
    used("value: a scalar", [7, 13], value=tensor(0.5, np.float32))
    used("value_float", versions("Constant", 12), value_float=0.75)
    used("value_floats", versions("Constant", 12), value_floats=[0.75, 1.5, 0.5, 2.0, 1.0])

    def casted(text, opsets, **attribute):
        def build(n):
            return n.add("Mul", "x", n.add("Cast", n.add("Constant", **attribute), to=1))

        cases.add("Constant", text, build, opsets)

    casted("value_int", versions("Constant", 12), value_int=3)
    casted("value_ints", versions("Constant", 12), value_ints=[3, 1, 2, 5, 4])
    for dtype in (np.float16, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64, np.bool_):
        casted(f"value: {np.dtype(dtype)}", [9, 13], value=tensor([[[1]], [[3]]], dtype))
    for kind in ("BFLOAT16", "FLOAT16"):
        raw = helper.make_tensor("", getattr(TensorProto, kind), [2, 1, 1], [0.5, 1.75])
        casted(f"value: {kind} in int32_data", [13, 21], value=raw)
    plain = helper.make_tensor("", TensorProto.FLOAT, [2, 1, 1], [0.5, 1.75])
    used("value: float in float_data", [9, 13], value=plain)

    def sparse(n):
        values = helper.make_tensor("s", TensorProto.FLOAT, [2], [0.5, 1.5])
        places = helper.make_tensor("i", TensorProto.INT64, [2], [0, 3])
        return n.add("Mul", "x", n.add("Constant", sparse_value=helper.make_sparse_tensor(values, places, [5])))

    cases.add("Constant", "sparse_value", sparse, versions("Constant", 11))
    cases.add("ConstantOfShape", "value=0.5",
              lambda n: n.add("Add", "x", n.add("ConstantOfShape", n.ints([2, 1, 1]), value=tensor([0.5], np.float32))))
    cases.add("ConstantOfShape", "defaults: zeros",
              lambda n: n.add("Add", "x", n.add("ConstantOfShape", n.ints([2, 4, 5]))))

    def as_pads(n):
        zeros = n.add("ConstantOfShape", n.ints([4]), value=tensor([0], np.int64))
        return n.add("Pad", "x", n.add("Concat", zeros, n.ints([0, 0, 1, 1]), axis=0))

    cases.add("ConstantOfShape", "pads of int64 zeros", as_pads, [11, 13, 21])

    def of_image(n):
        zeros = n.add("ConstantOfShape", n.add("Shape", "x"), value=tensor([2.0], np.float32))
        return n.add("Mul", "x", zeros)

    cases.add("ConstantOfShape", "of the image's shape", of_image, [13])


def shapes(cases):
    def reshape(text, build, opsets, operator="Shape"):
        cases.add(operator, text, lambda n: n.add("Reshape", "x", build(n)), opsets, flatten=False)

    def picked(n, index):
        return n.add("Gather", n.add("Shape", "x"), n.ints([index]))

    reshape("of the image, first side and -1", lambda n: n.add("Concat", picked(n, 0), n.ints([-1]), axis=0),
            [7, 13, 15, 19, 21, 23, 24])
    reshape("start=0 end=1 and -1",
            lambda n: n.add("Concat", n.add("Shape", "x", start=0, end=1), n.ints([-1]), axis=0), [15, 19, 21, 23, 24])
    reshape("end=-3 and -1",
            lambda n: n.add("Concat", n.add("Shape", "x", end=-3), n.ints([-1]), axis=0), [15, 21])

    def product(n):
        sides = n.add("Shape", "x", start=1)
        return n.add("Concat", n.ints([-1]), n.add("ReduceProd", sides, keepdims=1), axis=0)

    reshape("start=1, product of the sides", product, [15, 21])

    def computed(n):
        side = n.add("Mul", n.add("Mul", picked(n, 1), picked(n, 2)), picked(n, 3))
        return n.add("Concat", n.ints([-1]), side, axis=0)

    reshape("channels times rows times columns", computed, [9, 13])

    def sliced(n):
        sides = n.add("Slice", n.add("Shape", "x"), n.ints([1]), n.ints([4]))
        cast = n.add("Cast", n.add("ReduceProd", n.add("Cast", sides, to=1), keepdims=1), to=7)
        return n.add("Concat", n.ints([-1]), cast, axis=0)

    reshape("Slice, Cast to float, product, Cast back", sliced, [11, 13])
    reshape("int32 by Cast (tf2onnx)",
            lambda n: n.add("Cast", n.add("Concat", n.add("Slice", n.add("Cast", n.add("Shape", "x"), to=6), n.ints([0]),
                                                         n.ints([1])), n.constant([40], np.int32), axis=0), to=7),
            [11, 13])

    def halves(n):
        half = n.add("Div", picked(n, 1), n.ints([2]))
        return n.add("Slice", "x", n.ints([0]), half, n.ints([1]))

    cases.add("Shape", "half of the channels by Div, for Slice", halves, [11, 13], image=(4, 2, 3))

    def scaled(n):
        numbers = n.add("Reshape", n.add("Shape", "x"), n.ints([4, 1, 1, 1]))
        area = n.add("Gather", numbers, n.constant(3, np.int64))
        return n.add("Div", "x", n.add("Cast", area, to=1))

    cases.add("Shape", "columns as a number to divide by", scaled, [13])
    cases.add("Size", "of a constant, as a factor",
              lambda n: n.add("Mul", "x", n.add("Cast", n.add("Size", n.numbers(3, 2)), to=1)), [7, 13, 21])

    def ranged(n):
        numbers = n.add("Range", n.constant(0, np.int64), n.constant(5, np.int64), n.constant(1, np.int64))
        return n.add("Mul", "x", n.add("Cast", numbers, to=1))

    cases.add("Range", "0 to 5 by 1 as numbers per column", ranged, [11, 13, 21])
    cases.add("Range", "1.0 to 0.0 by -0.25",
              lambda n: n.add("Add", "x", n.add("Reshape", n.add("Range", n.constant(1), n.constant(0), n.constant(-0.25)),
                                                  n.ints([4, 1]))), [11, 13])


def gathers(cases):
    def gather(text, axis, indices, opsets=(7, 11, 13), kind="plain", **options):
        def build(n):
            return n.add("Gather", "x", n.constant(indices, np.int64), axis=axis)

        cases.add("Gather", text, build, list(opsets), kind=kind, **options)

    gather("axis=1 indices 1,0: channels in the other order", 1, [1, 0])
    gather("axis=1 indices 0,0", 1, [0, 0])
    gather("axis=1 a scalar: one axis less", 1, 1, kind="trap")
    gather("axis=2 indices 0,2", 2, [0, 2], kind="trap")
    gather("axis=3 index 4 a scalar", 3, 4, kind="trap")
    gather("axis=1 index -1", 1, [-1], (11, 13))
    gather("axis=-1 indices 3,1", -1, [3, 1], (11, 13), kind="trap")
    gather("axis=0 index 0: the first image", 0, [0], (13,), kind="batch")
    cases.add("Gather", "default axis of a constant",
              lambda n: n.add("Mul", "x", n.add("Gather", n.numbers(4, 2, 1, 1), n.constant(2, np.int64))), [7, 11, 13])
    cases.add("Gather", "of a vector",
              lambda n: n.add("Gather", n.flat(), n.ints([3, 1, 39]), axis=1), [7, 13], flatten=False)
    cases.add("Einsum", "nchw,oc->nohw", lambda n: n.add("Einsum", "x", n.numbers(3, 2), equation="nchw,oc->nohw"))


def dropouts(cases):
    def drop(text, opsets, kind="plain", note="", build=None):
        cases.add("Dropout", text, build, opsets, kind=kind, note=note)

    drop("defaults", versions("Dropout"), build=lambda n: n.add("Dropout", "x"))
    drop("ratio=0.3 as attribute", [7, 10], build=lambda n: n.add("Dropout", "x", ratio=0.3))
    drop("ratio=0.3 as input", versions("Dropout", 12), build=lambda n: n.add("Dropout", "x", n.constant(0.3)))
    drop("training_mode=false", versions("Dropout", 12),
         build=lambda n: n.add("Dropout", "x", n.constant(0.3), n.constant(False, np.bool_)))
    drop("training_mode=true ratio=0", versions("Dropout", 12), kind="trap",
         build=lambda n: n.add("Dropout", "x", n.constant(0.0), n.constant(True, np.bool_)))
    drop("mask as an unused output", [7, 10, 12, 13], build=lambda n: n.add("Dropout", "x", outputs=2)[0])


def ends(cases):
    def end(operator, text, axis, opsets=None, vector=True, kind="plain", image=(2, 4, 5), flatten=False):
        def build(n):
            value = n.add("Gemm", n.flat(), n.numbers(40, 4), n.numbers(4)) if vector else "x"
            return n.add(operator, value, **({} if axis is None else {"axis": axis}))

        cases.add(operator, text, build, opsets, kind=kind, image=image, flatten=flatten)

    for operator in ("Softmax", "LogSoftmax", "Hardmax"):
        end(operator, "defaults, of a vector", None)
        end(operator, "axis=1, of a vector", 1)
        end(operator, "axis=-1, of a vector", -1, versions(operator, 11))
        end(operator, "axis=0, of a vector", 0, kind="batch")
        end(operator, "defaults, of a map: all of it below opset 13, each row from 13 on", None, vector=False,
            kind="trap", flatten=True)
        end(operator, "axis=1, of a map: all of it below opset 13, over channels from 13 on", 1, vector=False,
            kind="trap", flatten=True)
        end(operator, "axis=3, of a map", 3, vector=False, kind="trap", flatten=True)
        end(operator, "axis=2, of a map", 2, vector=False, kind="trap", flatten=True)

    def pooled(n):
        return n.flat(n.add("Softmax", n.add("GlobalAveragePool", "x"), axis=1))

    cases.add("Softmax", "axis=1, of a 1x1 map, then Flatten", pooled, [7, 11, 13], flatten=False)

    def logits(n, wide):
        return n.add("Gemm", n.flat(), n.numbers(40, wide), n.numbers(wide))

    cases.add("Sigmoid", "as end, one logit", lambda n: n.add("Sigmoid", logits(n, 1)), flatten=False)
    cases.add("Sigmoid", "as end, four logits (labels)", lambda n: n.add("Sigmoid", logits(n, 4)), flatten=False)
    cases.add("Tanh", "as end", lambda n: n.add("Tanh", logits(n, 3)), [7, 13], flatten=False, kind="trap")
    cases.add("Relu", "as end", lambda n: n.add("Relu", logits(n, 3)), [7, 13], flatten=False, kind="trap")
    cases.add("Softmax", "twice", lambda n: n.add("Softmax", n.add("Softmax", logits(n, 3))), [13], flatten=False,
              kind="trap")
    cases.add("Softmax", "then times 2", lambda n: n.add("Mul", n.add("Softmax", logits(n, 3)), n.constant(2)), [13],
              flatten=False, kind="trap")
    cases.add("Softmax", "then Dense", lambda n: n.add("MatMul", n.add("Softmax", logits(n, 3)), n.numbers(3, 2)), [13],
              flatten=False, kind="trap")
    cases.add("Softmax", "of twice the logits (temperature)",
              lambda n: n.add("Softmax", n.add("Div", logits(n, 3), n.constant(0.5))), [13], flatten=False)
    cases.add("Softmax", "of the negated logits", lambda n: n.add("Softmax", n.add("Neg", logits(n, 3))), [13],
              flatten=False)
    cases.add("Log", "of Softmax", lambda n: n.add("Log", n.add("Softmax", logits(n, 3))), [13], flatten=False,
              kind="trap")
    cases.add("ArgMax", "axis=1 keepdims=1 as a number",
              lambda n: n.add("Cast", n.add("ArgMax", logits(n, 4), axis=1, keepdims=1), to=1), flatten=False, kind="trap")

    def both(n):
        one = n.add("Sigmoid", logits(n, 1))
        return n.add("Concat", n.add("Sub", n.constant(1), one), one, axis=1)

    cases.add("Sigmoid", "both probabilities of a binary classifier: 1-p and p", both, [13], flatten=False, kind="trap")


def quantized(cases):
    def weights(text, axis, zero, opsets, dtype=np.int8):
        def build(n):
            low = 0 if dtype == np.uint8 else -100
            stored = n.constant(n.random.integers(low, low + 200, (3, 2, 2, 2)).astype(dtype))
            count = [1, 3, 2][["tensor", 0, 1].index(axis)]
            scale = n.random.uniform(0.005, 0.02, count).astype(np.float32)
            zeros = np.full(count, zero, dtype)
            if axis == "tensor":
                return n.add("Conv", "x", n.add("DequantizeLinear", stored, n.constant(scale[0]), n.constant(zeros[0])))
            return n.add("Conv", "x", n.add("DequantizeLinear", stored, n.constant(scale), n.constant(zeros), axis=axis))

        cases.add("DequantizeLinear", text, build, opsets)

    weights("weights, one scale", "tensor", 0, [10, 13, 19, 21, 23, 24])
    weights("weights, one scale, zero point 3", "tensor", 3, [10, 13, 19, 21, 23, 24])
    weights("uint8 weights, zero point 128", "tensor", 128, [10, 13, 21], np.uint8)
    weights("weights, a scale per output channel, axis=0", 0, 0, [13, 19, 21, 23, 24])
    weights("weights, a scale per input channel, axis=1", 1, 2, [13, 19, 21])

    def no_zero(n):
        stored = n.constant(n.random.integers(-100, 100, (3, 2, 2, 2)).astype(np.int8))
        return n.add("Conv", "x", n.add("DequantizeLinear", stored, n.constant(np.float32(0.01))))

    cases.add("DequantizeLinear", "weights without zero point", no_zero, [10, 13, 21])

    def bias(n):
        stored = n.constant(n.random.integers(-1000, 1000, 3).astype(np.int32))
        return n.add("Conv", "x", n.numbers(3, 2, 2, 2), n.add("DequantizeLinear", stored, n.constant(np.float32(0.001))))

    cases.add("DequantizeLinear", "a bias of int32", bias, [10, 13, 21])

    def there_and_back(n):
        scale = n.constant(np.float32(0.02))
        zero = n.constant(np.int8(0))
        return n.add("Conv", "x", n.add("DequantizeLinear", n.add("QuantizeLinear", n.numbers(3, 2, 2, 2), scale, zero),
                                        scale, zero))

    cases.add("QuantizeLinear", "weights there and back: rounded, saturated", there_and_back, [10, 13, 19, 21, 23, 24])

    def per_channel(n):
        scale = n.constant(np.array([0.02, 0.01, 0.005], np.float32))
        zero = n.constant(np.zeros(3, np.int8))
        stored = n.add("QuantizeLinear", n.numbers(3, 2, 2, 2), scale, zero, axis=0)
        return n.add("Conv", "x", n.add("DequantizeLinear", stored, scale, zero, axis=0))

    cases.add("QuantizeLinear", "weights per channel there and back", per_channel, [13, 19, 21])

    def activation(n):
        scale, zero = n.constant(np.float32(0.05)), n.constant(np.uint8(128))
        return n.add("DequantizeLinear", n.add("QuantizeLinear", "x", scale, zero), scale, zero)

    cases.add("QuantizeLinear", "a computed value there and back", activation, [10, 13, 19, 21], kind="trap",
              note="rounds to steps of 0.05")

    def blocked(n):
        stored = n.constant(n.random.integers(-100, 100, (40, 4)).astype(np.int8))
        scale = n.constant(n.random.uniform(0.005, 0.02, (2, 4)).astype(np.float32))
        return n.add("MatMul", n.flat(), n.add("DequantizeLinear", stored, scale, axis=0, block_size=20))

    cases.add("DequantizeLinear", "weights in blocks of 20", blocked, [21, 23], flatten=False, kind="trap")
