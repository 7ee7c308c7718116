"""Cases of reductions and of operators that move or repeat values."""

import numpy as np

from build import versions


def add(cases):
    reductions(cases)
    joins(cases)
    cuts(cases)
    pads(cases)
    reshapes(cases)
    squeezes(cases)
    transposes(cases)
    resizes(cases)


def reduce(n, operator, axes, value="x", **attributes):
    """The axes as an attribute or as an input, as the opset wants them."""
    as_input = n.opset >= (13 if operator == "ReduceSum" else 18)
    if axes is None:
        return n.add(operator, value, **attributes)
    if as_input:
        return n.add(operator, value, n.ints(axes), **attributes)
    return n.add(operator, value, axes=axes, **attributes)


def reductions(cases):
    def case(operator, text, axes, opsets=None, kind="plain", flatten=True, vector=False, note="", **attributes):
        def build(n):
            return reduce(n, operator, axes, n.flat() if vector else "x", **attributes)

        cases.add(operator, text, build, opsets, kind=kind, flatten=flatten, note=note)

    for operator in ("ReduceMean", "ReduceSum"):
        case(operator, "axes=2,3", [2, 3])
        case(operator, "axes=2,3 keepdims=1", [2, 3], keepdims=1)
        case(operator, "axes=2,3 keepdims=0", [2, 3], keepdims=0, flatten=False)
        case(operator, "axes=3,2", [3, 2])
        later = versions(operator, 11)
        case(operator, "axes=-1,-2", [-1, -2], later)
        case(operator, "axes=-2,-1 keepdims=0", [-2, -1], later, keepdims=0, flatten=False)
        case(operator, "axes=3", [3], kind="trap")
        case(operator, "axes=2", [2], kind="trap")
        case(operator, "axes=3 keepdims=0", [3], kind="trap", keepdims=0)
        case(operator, "axes=2 keepdims=0", [2], kind="trap", keepdims=0)
        case(operator, "axes=1", [1], kind="trap")
        case(operator, "axes=1 keepdims=0", [1], kind="trap", keepdims=0)
        case(operator, "axes=1,2,3", [1, 2, 3], kind="trap")
        case(operator, "axes=1,3", [1, 3], kind="trap")
        case(operator, "axes=1 of a vector", [1], kind="trap", vector=True, flatten=False)
        case(operator, "axes=0", [0], kind="batch")
        case(operator, "no axes: all of them, the batch too", None, kind="batch")
        case(operator, "no axes keepdims=0", None, kind="batch", keepdims=0, flatten=False)
        empty = versions(operator, 13 if operator == "ReduceSum" else 18)
        case(operator, "empty axes noop_with_empty_axes=1: nothing is reduced", [], empty, kind="trap",
             noop_with_empty_axes=1)
        case(operator, "no axes noop_with_empty_axes=1: nothing is reduced", None, empty, kind="trap",
             noop_with_empty_axes=1)
        case(operator, "empty axes noop_with_empty_axes=0: all, the batch too", [], empty, kind="batch",
             noop_with_empty_axes=0)
        if operator == "ReduceMean":
            def twice(n):
                return reduce(n, "ReduceMean", [2], reduce(n, "ReduceMean", [3], keepdims=0), keepdims=0)

            cases.add(operator, "axes=3 then axes=2, keepdims=0", twice, flatten=False)
    for operator in ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):
        case(operator, "axes=2,3", [2, 3])
    case("ReduceSumSquare", "axes=1", [1], [13, 18], kind="trap")
    cases.add("CumSum", "axis=3", lambda n: n.add("CumSum", "x", n.constant(3, np.int64)), kind="trap")


def joins(cases):
    def both(n):
        return n.add("Relu", "x"), n.add("Conv", "x", n.numbers(3, 2, 1, 1)), n.add("Conv", "x", n.numbers(2, 2, 1, 1))

    cases.add("Concat", "axis=1", lambda n: n.add("Concat", *both(n)[:2], axis=1))
    cases.add("Concat", "axis=1, the other order", lambda n: n.add("Concat", *both(n)[1::-1], axis=1))
    cases.add("Concat", "axis=-3", lambda n: n.add("Concat", *both(n)[:2], axis=-3), versions("Concat", 11))
    cases.add("Concat", "axis=2", lambda n: n.add("Concat", *both(n)[::2], axis=2), kind="trap")
    cases.add("Concat", "axis=3", lambda n: n.add("Concat", *both(n)[::2], axis=3), kind="trap")
    cases.add("Concat", "axis=-1", lambda n: n.add("Concat", *both(n)[::2], axis=-1), versions("Concat", 11), kind="trap")
    cases.add("Concat", "the same value twice, axis=1", lambda n: n.add("Concat", "x", "x", axis=1))
    cases.add("Concat", "one value, axis=1", lambda n: n.add("Concat", "x", axis=1))
    cases.add("Concat", "of vectors, axis=1",
              lambda n: n.add("Concat", n.flat(), n.flat(both(n)[1]), axis=1), flatten=False)
    cases.add("Concat", "axis=0", lambda n: n.add("Concat", "x", "x", axis=0), kind="batch")
    cases.add("Concat", "with constant channels, axis=1", lambda n: n.add("Concat", "x", n.numbers(3, 1, 4, 5), axis=1),
              [13], batch=3, kind="batch")
    cases.add("Tile", "repeats=1,2,1,1: channels twice", lambda n: n.add("Tile", "x", n.ints([1, 2, 1, 1])))
    cases.add("Tile", "repeats=1,1,2,3", lambda n: n.add("Tile", "x", n.ints([1, 1, 2, 3])), kind="trap")
    cases.add("Tile", "repeats=2,1,1,1", lambda n: n.add("Tile", "x", n.ints([2, 1, 1, 1])), kind="batch")
    cases.add("Tile", "repeats=1,1,1,1", lambda n: n.add("Tile", "x", n.ints([1, 1, 1, 1])))

    def upsampled(n):
        value = n.add("Reshape", "x", n.ints([-1, 2, 4, 1, 5, 1]))
        return n.add("Reshape", n.add("Tile", value, n.ints([1, 1, 1, 2, 1, 2])), n.ints([-1, 2, 8, 10]))

    cases.add("Tile", "nearest upsampling by Reshape and Tile", upsampled, [13], kind="trap")


def cuts(cases):
    image = (4, 4, 5)

    def split(text, build, opsets, kind="plain", image=image):
        cases.add("Split", text, build, opsets, image=image, kind=kind)

    def parts(n, sizes, outputs, value="x", **attributes):
        if sizes is None:
            if n.opset >= 18:
                attributes["num_outputs"] = outputs
            return n.add("Split", value, outputs=outputs, **attributes)
        if n.opset >= 13:
            return n.add("Split", value, n.ints(sizes), outputs=outputs, **attributes)
        return n.add("Split", value, outputs=outputs, split=sizes, **attributes)

    every = versions("Split")

    def joined(n, found):
        return n.add("Concat", *found[::-1], axis=1)

    split("axis=1 in two equal parts, joined in the other order", lambda n: joined(n, parts(n, None, 2, axis=1)), every)
    split("axis=1 in 1 and 3, joined in the other order", lambda n: joined(n, parts(n, [1, 3], 2, axis=1)), every)
    split("axis=1, only the second part", lambda n: n.add("Relu", parts(n, [1, 3], 2, axis=1)[1]), every)
    split("axis=2, the first part", lambda n: n.add("Relu", parts(n, [3, 1], 2, axis=2)[0]), every, kind="trap")
    split("axis=-3 in two equal parts", lambda n: joined(n, parts(n, None, 2, axis=-3)), versions("Split", 11))
    split("default axis: the batch", lambda n: n.add("Relu", parts(n, [1, 2], 2)[1]), every, kind="batch")
    split("num_outputs=3 of 4 channels: the last is smaller", lambda n: joined(n, parts(n, None, 3, axis=1)),
          versions("Split", 18))
    split("of a vector", lambda n: n.add("Relu", parts(n, [30, 50], 2, n.flat(), axis=1)[1]), every)

    def cut(text, starts, ends, axes=None, steps=None, opsets=None, kind="plain", value=None, dtype=np.int64):
        def build(n):
            source = n.flat() if value else "x"
            if n.opset < 10:
                given = {} if axes is None else {"axes": axes}
                return n.add("Slice", source, starts=starts, ends=ends, **given)
            inputs = [n.constant(starts, dtype), n.constant(ends, dtype)]
            if axes is not None:
                inputs.append(n.constant(axes, dtype))
            elif steps is not None:
                inputs.append("")
            if steps is not None:
                inputs.append(n.constant(steps, dtype))
            return n.add("Slice", source, *inputs)

        cases.add("Slice", text, build, opsets, image=image, kind=kind)

    far = np.iinfo(np.int64).max
    cut("axes=1 from 1 to 3", [1], [3], [1])
    cut("axes=2,3 crop", [1, 0], [3, 4], [2, 3])
    cut("axes=3 from 1 to the largest integer", [1], [far], [3])
    cut("axes=2,3 from -3,-4 to -1,-1", [-3, -4], [-1, -1], [2, 3])
    cut("axes=2 from 0 to 100", [0], [100], [2])
    cut("no axes, four starts", [0, 1, 1, 0], [far, 3, 4, 3], opsets=None, kind="trap")
    cut("no axes, one start: the batch", [1], [3], kind="batch")
    cut("axes=0 from 0 to the largest integer", [0], [far], [0])
    cut("axes=-1 from 1 to 4", [1], [4], [-1], opsets=versions("Slice", 11))
    later = versions("Slice", 10)
    cut("steps=2,2 of axes 2,3", [0, 0], [far, far], [2, 3], [2, 2], later)
    cut("steps=1", [0], [2], [1], [1], later)
    cut("steps=-1 of axes 3: mirrored", [-1], [-far], [3], [-1], later, kind="trap")
    cut("steps=-1 of axes 1: channels in the other order", [-1], [-far], [1], [-1], later, kind="trap")
    cut("int32 inputs", [1], [3], [1], None, later, dtype=np.int32)
    cut("of a vector", [10], [50], [1], value="flat")

    def focus(n):
        found = []
        for row, column in [(0, 0), (1, 0), (0, 1), (1, 1)]:
            found.append(n.add("Slice", "x", n.ints([row, column]), n.ints([far, far]), n.ints([2, 3]), n.ints([2, 2])))
        return n.add("Concat", *found, axis=1)

    cases.add("Slice", "four slices with steps of 2, joined (YOLO's focus)", focus, [11, 13], image=(2, 4, 6))


def pads(cases):
    def pad(text, sizes, mode=None, value=None, opsets=None, kind="plain", axes=None):
        def build(n):
            given = {} if mode is None else {"mode": mode}
            if n.opset < 11:
                return n.add("Pad", "x", pads=sizes, **given, **({} if value is None else {"value": value}))
            inputs = [n.ints(sizes)]
            if value is not None:
                inputs.append(n.constant(value))
            if axes is not None:
                inputs += [""] * (2 - len(inputs)) + [n.ints(axes)]
            return n.add("Pad", "x", *inputs, **given)

        cases.add("Pad", text, build, opsets, kind=kind)

    every = [7, 11, 13, 18, 19, 21, 23, 24]
    pad("defaults, 1 on each side", [0, 0, 1, 1, 0, 0, 1, 1], opsets=every)
    pad("asymmetric 0,1,2,0", [0, 0, 0, 1, 0, 0, 2, 0], opsets=every)
    pad("value 0 given", [0, 0, 1, 1, 0, 0, 1, 1], "constant", 0.0, every)
    pad("value 1.5", [0, 0, 1, 1, 0, 0, 1, 1], "constant", 1.5, every, kind="trap")
    pad("mode=reflect", [0, 0, 1, 2, 0, 0, 2, 1], "reflect", opsets=every, kind="trap")
    pad("mode=edge", [0, 0, 1, 2, 0, 0, 2, 1], "edge", opsets=every, kind="trap")
    pad("mode=wrap", [0, 0, 1, 2, 0, 0, 2, 1], "wrap", opsets=[19, 21, 23, 24], kind="trap")
    pad("all zeros: nothing", [0] * 8, opsets=every)
    pad("negative: a crop", [0, 0, -1, -1, 0, 0, 0, -1], opsets=every, kind="trap")
    pad("channels", [0, 1, 0, 0, 0, 2, 0, 0], opsets=every, kind="trap")
    pad("the batch", [1, 0, 0, 0, 0, 0, 0, 0], opsets=[11, 13], kind="batch")
    pad("axes=2,3 as an input", [1, 0, 0, 2], opsets=[18, 19, 21, 24], axes=[2, 3])
    pad("axes=-1,-2 as an input", [1, 0, 0, 2], opsets=[18, 19, 21, 24], axes=[-1, -2], kind="trap")

    def before(operator, text, **attributes):
        def build(n):
            padded = n.add("Pad", "x", n.ints([0, 0, 1, 0, 0, 0, 1, 2]))
            if operator == "Conv":
                return n.add("Conv", padded, n.numbers(3, 2, 3, 3), n.numbers(3), **attributes)
            return n.add(operator, padded, kernel_shape=[2, 2], **attributes)

        cases.add("Pad", text, build, [11, 13, 21])

    before("Conv", "zeros before Conv")
    before("Conv", "zeros before Conv with pads=0,1,0,1", pads=[0, 1, 0, 1])
    before("AveragePool", "zeros before AveragePool")
    before("AveragePool", "zeros before AveragePool with pads=1,1,1,1", pads=[1, 1, 1, 1])
    before("MaxPool", "zeros before MaxPool: they count")

    def activated(n):
        padded = n.add("Pad", "x", n.ints([0, 0, 1, 0, 0, 0, 1, 2]), n.constant(1.0))
        return n.add("Conv", n.add("Relu", padded), n.numbers(3, 2, 3, 3))

    cases.add("Pad", "ones before ReLU and Conv", activated, [13], kind="trap")


def reshapes(cases):
    image = (2, 4, 6)

    def to(text, target, opsets=None, kind="plain", batch="N", flatten=True, image=image, then=None, **attributes):
        def build(n):
            value = n.add("Reshape", "x", n.ints(target), **attributes)
            return then(n, value) if then else value

        cases.add("Reshape", text, build, opsets, image=image, kind=kind, batch=batch, flatten=flatten)

    to("0,-1", [0, -1], flatten=False)
    to("-1,48", [-1, 48], flatten=False)
    to("0,48", [0, 48], flatten=False)
    to("3,48 of a fixed batch", [3, 48], batch=3, flatten=False)
    to("3,-1 of a fixed batch", [3, -1], batch=3, flatten=False)
    to("0,0,0,0: nothing", [0, 0, 0, 0])
    to("0,0,-1: rows and columns joined", [0, 0, -1])
    to("0,2,-1 then 0,0,4,6: there and back", [0, 2, -1], then=lambda n, v: n.add("Reshape", v, n.ints([0, 0, 4, 6])))
    to("0,-1,6: channels and rows joined", [0, -1, 6], kind="trap")
    to("0,4,2,6: channels and rows exchanged in name only", [0, 4, 2, 6], kind="trap")
    to("0,4,2,6 then a mean over 2,3", [0, 4, 2, 6], kind="trap", then=lambda n, v: n.add("GlobalAveragePool", v))
    to("0,48,1,1: a vector as a 1x1 map", [0, 48, 1, 1], then=lambda n, v: n.add("Conv", v, n.numbers(3, 48, 1, 1)))
    to("0,1,1,48 then Conv", [0, 1, 1, 48], kind="trap", then=lambda n, v: n.add("Conv", v, n.numbers(2, 1, 1, 3)))
    to("0,1,8,6: channels below each other", [0, 1, 8, 6], kind="trap",
       then=lambda n, v: n.add("Conv", v, n.numbers(2, 1, 3, 3)))
    to("-1,24: two rows an image", [-1, 24], kind="batch", flatten=False)
    to("-1: all images in one row", [-1], kind="batch", flatten=False)
    to("1,-1: all images in one row", [1, -1], kind="batch", flatten=False)
    to("allowzero=1 with -1,48", [-1, 48], versions("Reshape", 14), flatten=False, allowzero=1)
    to("allowzero=0 with 0,-1", [0, -1], versions("Reshape", 14), flatten=False, allowzero=0)

    def of_vector(n):
        vector = n.add("Gemm", n.flat(), n.numbers(48, 12), n.numbers(12))
        return n.add("Conv", n.add("Reshape", vector, n.ints([-1, 3, 2, 2])), n.numbers(2, 3, 2, 2))

    cases.add("Reshape", "a vector to a map 3x2x2", of_vector, [7, 13], image=image)

    def shuffled(n):
        value = n.add("Reshape", "x", n.ints([0, 2, 3, 4, 5]))
        return n.add("Reshape", n.add("Transpose", value, perm=[0, 2, 1, 3, 4]), n.ints([0, -1, 4, 5]))

    cases.add("Reshape", "channel shuffle", shuffled, [7, 13], image=(6, 4, 5))

    def sizes(n):
        shape = n.add("Shape", "x")
        batch = n.add("Unsqueeze", n.add("Gather", shape, n.constant(0, np.int64)), n.ints([0]))
        return n.add("Reshape", "x", n.add("Concat", batch, n.ints([-1]), axis=0))

    cases.add("Reshape", "view(x.size(0), -1)", sizes, [13, 21], flatten=False)

    def flat(text, axis, opsets=None, kind="plain", then=None):
        def build(n):
            value = n.add("Flatten", "x", axis=axis)
            return then(n, value) if then else value

        cases.add("Flatten", text, build, opsets, kind=kind, flatten=False)

    flat("axis=1", 1)
    flat("axis=-3", -3, versions("Flatten", 11))
    flat("axis=2, back to one row an image", 2, then=lambda n, v: n.add("Reshape", v, n.ints([-1, 40])))
    flat("axis=2: a row per channel", 2, kind="batch")
    flat("axis=3", 3, kind="batch")
    flat("axis=4: a row per pixel", 4, kind="batch")
    flat("axis=0: all images in one row", 0, kind="batch")
    flat("axis=0, back to one row an image", 0, kind="trap", then=lambda n, v: n.add("Reshape", v, n.ints([-1, 40])))
    flat("axis=-1", -1, versions("Flatten", 11), kind="batch")
    cases.add("Flatten", "defaults", lambda n: n.add("Flatten", "x"), flatten=False)
    cases.add("Flatten", "of a vector", lambda n: n.add("Flatten", n.flat()), flatten=False)


def axes_of(n, operator, value, axes):
    if axes is None:
        return n.add(operator, value)
    if n.opset >= 13:
        return n.add(operator, value, n.ints(axes))
    return n.add(operator, value, axes=axes)


def squeezes(cases):
    def pooled(n):
        return n.add("GlobalAveragePool", "x")

    def squeeze(text, axes, opsets=None, image=(2, 4, 5), source=pooled, flatten=False, kind="plain", batch="N"):
        cases.add("Squeeze", text, lambda n: axes_of(n, "Squeeze", source(n), axes), opsets, image=image,
                  flatten=flatten, kind=kind, batch=batch)

    squeeze("axes=2,3 of a 1x1 map", [2, 3])
    squeeze("axes=3,2 of a 1x1 map", [3, 2])
    squeeze("axes=-1,-2 of a 1x1 map", [-1, -2], versions("Squeeze", 11))
    squeeze("no axes, batch of 3", None, batch=3)
    squeeze("axes=3 then the rest is 1", [3], flatten=True)
    squeeze("axes=2 of a map of one row", [2], source=lambda n: reduce(n, "ReduceMean", [2]), flatten=True, kind="trap")
    squeeze("axes=1 of one channel", [1], image=(1, 4, 5), source=lambda n: n.add("Relu", "x"), flatten=True,
            kind="trap")

    def two(n):
        return axes_of(n, "Squeeze", axes_of(n, "Squeeze", pooled(n), [3]), [2])

    cases.add("Squeeze", "axes=3 then axes=2", two, flatten=False)

    def unsqueezed(n):
        vector = n.add("Gemm", n.flat(), n.numbers(40, 6), n.numbers(6))
        return n.add("Conv", axes_of(n, "Unsqueeze", vector, [2, 3]), n.numbers(3, 6, 1, 1))

    cases.add("Unsqueeze", "axes=2,3 of a vector, then Conv", unsqueezed)

    def line(n):
        vector = n.add("Gemm", n.flat(), n.numbers(40, 6), n.numbers(6))
        return n.add("Conv", axes_of(n, "Unsqueeze", vector, [1, 2]), n.numbers(3, 1, 1, 2))

    cases.add("Unsqueeze", "axes=1,2 of a vector, then Conv along it", line, kind="trap")
    cases.add("Unsqueeze", "of coefficients: axes=1,2",
              lambda n: n.add("Mul", "x", axes_of(n, "Unsqueeze", n.numbers(2), [1, 2])))
    cases.add("Unsqueeze", "of coefficients: axes=0,2: per row",
              lambda n: n.add("Mul", "x", axes_of(n, "Unsqueeze", n.numbers(4), [0, 2])), kind="trap")


def transposes(cases):
    def turn(text, perm, then=None, kind="trap", opsets=(7, 13, 21), **options):
        def build(n):
            value = n.add("Transpose", "x", **({} if perm is None else {"perm": perm}))
            return then(n, value) if then else value

        cases.add("Transpose", text, build, list(opsets), kind=kind, **options)

    turn("perm=0,1,2,3: nothing", [0, 1, 2, 3], kind="plain")
    turn("perm=0,2,3,1 then Flatten: NHWC order", [0, 2, 3, 1])
    turn("perm=0,1,3,2: rows and columns exchanged", [0, 1, 3, 2])
    turn("perm=0,3,1,2: NHWC input", [0, 3, 1, 2], lambda n, v: n.add("Conv", v, n.numbers(3, 5, 2, 1)),
         image=(2, 4, 5))
    turn("perm=0,2,3,1 and back", [0, 2, 3, 1], lambda n, v: n.add("Transpose", v, perm=[0, 3, 1, 2]))
    turn("perm=0,2,3,1, ReLU, and back", [0, 2, 3, 1],
         lambda n, v: n.add("Transpose", n.add("Relu", v), perm=[0, 3, 1, 2]))
    turn("perm=0,2,3,1, times channels, and back", [0, 2, 3, 1],
         lambda n, v: n.add("Transpose", n.add("Mul", v, n.numbers(2)), perm=[0, 3, 1, 2]))
    turn("perm=0,2,3,1 then MatMul over channels", [0, 2, 3, 1], lambda n, v: n.add("MatMul", v, n.numbers(2, 3)))
    turn("perm=0,2,3,1 then mean over 1,2", [0, 2, 3, 1], lambda n, v: reduce(n, "ReduceMean", [1, 2], v, keepdims=0),
         flatten=False)
    turn("perm=1,0,2,3: images and channels exchanged", [1, 0, 2, 3], kind="batch", opsets=(13,))
    turn("no perm: reversed", None, kind="batch", opsets=(7, 13))
    turn("perm=0,1,3,2 of a square map", [0, 1, 3, 2], image=(2, 4, 4))

    def weights(n):
        return n.add("Gemm", n.flat(), n.add("Transpose", n.numbers(3, 40), perm=[1, 0]), n.numbers(3))

    cases.add("Transpose", "of weights", weights, [7, 13], flatten=False)
    cases.add("Transpose", "of convolution weights",
              lambda n: n.add("Conv", "x", n.add("Transpose", n.numbers(3, 2, 2, 3), perm=[3, 2, 0, 1])), [7, 13])
    for mode in ("DCR", "CRD"):
        cases.add("DepthToSpace", f"blocksize=2 mode={mode}",
                  lambda n, mode=mode: n.add("DepthToSpace", "x", blocksize=2, mode=mode),
                  versions("DepthToSpace", 11), image=(8, 2, 3))
    cases.add("DepthToSpace", "blocksize=2", lambda n: n.add("DepthToSpace", "x", blocksize=2), image=(8, 2, 3))
    cases.add("SpaceToDepth", "blocksize=2", lambda n: n.add("SpaceToDepth", "x", blocksize=2), image=(2, 4, 6))


def resizes(cases):
    def resize(text, opsets, scales=None, sizes=None, kind="plain", axes=None, batch="N", **attributes):
        def build(n):
            given = dict(attributes)
            if axes is not None:
                given["axes"] = axes
            if n.opset == 10:
                return n.add("Resize", "x", n.constant(scales), **given)
            if n.opset == 11:
                roi = n.constant(np.zeros(0, np.float32))
                if sizes is not None:
                    return n.add("Resize", "x", roi, n.constant(np.zeros(0, np.float32)), n.ints(sizes), **given)
                return n.add("Resize", "x", roi, n.constant(scales), **given)
            # From opset 13 on `roi` may be left out by an empty name.
            if sizes is not None:
                return n.add("Resize", "x", "", "", n.ints(sizes), **given)
            return n.add("Resize", "x", "", n.constant(scales), **given)

        cases.add("Resize", text, build, opsets, kind=kind, batch=batch)

    later = [11, 13, 18, 19]
    two = [1, 1, 2, 2]
    resize("scales=1,1,2,2", [10, *later], two)
    resize("scales=1,1,2,2 mode=nearest", [10, *later], two, mode="nearest")
    resize("scales=1,1,3,2", [10, 13, 19], [1, 1, 3, 2])
    resize("scales=1,1,2,2 asymmetric floor (PyTorch)", later, two, mode="nearest",
           coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    resize("scales=1,1,2,2 asymmetric ceil", later, two, mode="nearest", kind="trap",
           coordinate_transformation_mode="asymmetric", nearest_mode="ceil")
    resize("scales=1,1,2,2 half_pixel round_prefer_ceil", later, two, mode="nearest", kind="trap",
           coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_ceil")
    resize("scales=1,1,2,2 align_corners", later, two, mode="nearest", kind="trap",
           coordinate_transformation_mode="align_corners")
    resize("scales=1,1,3,3 half_pixel floor", later, [1, 1, 3, 3], mode="nearest", kind="trap",
           coordinate_transformation_mode="half_pixel", nearest_mode="floor")
    resize("scales=1,1,1.5,1.4", later, [1, 1, 1.5, 1.4], kind="trap")
    resize("scales=1,1,0.5,0.6: smaller", later, [1, 1, 0.5, 0.6], kind="trap")
    resize("scales=1,2,1,1: channels", [13, 19], [1, 2, 1, 1], kind="trap")
    resize("scales=1,1,1,1: nothing", later, [1, 1, 1, 1])
    resize("sizes=3,2,8,10 of a batch of 3", later, None, [3, 2, 8, 10], kind="trap", batch=3,
           coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    resize("sizes=8,10 of axes 2,3", [18, 19], None, [8, 10], axes=[2, 3],
           coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    resize("mode=linear scales=1,1,2,2", [10, *later], two, mode="linear", kind="trap")
    resize("mode=linear align_corners", later, two, mode="linear", coordinate_transformation_mode="align_corners",
           kind="trap")
    resize("mode=cubic", [13], two, mode="cubic", kind="trap")
    cases.add("Upsample", "attribute scales=1,1,2,2",
              lambda n: n.add("Upsample", "x", scales=[1.0, 1.0, 2.0, 2.0]), [7, 8])
    cases.add("Upsample", "attribute mode=linear",
              lambda n: n.add("Upsample", "x", scales=[1.0, 1.0, 2.0, 2.0], mode="linear"), [7], kind="trap")
    cases.add("Upsample", "input scales=1,1,2,3", lambda n: n.add("Upsample", "x", n.constant([1, 1, 2, 3])), [9])
    cases.add("Upsample", "input scales, mode=linear",
              lambda n: n.add("Upsample", "x", n.constant(two), mode="linear"), [9], kind="trap")
    cases.add("Expand", "1x1 map to 4x5",
              lambda n: n.add("Expand", n.add("GlobalAveragePool", "x"), n.ints([1, 1, 4, 5])), kind="trap")
    cases.add("Expand", "to 1,1,1,1: nothing", lambda n: n.add("Expand", "x", n.ints([1, 1, 1, 1])))
    cases.add("Expand", "of a constant", lambda n: n.add("Add", "x", n.add("Expand", n.numbers(2, 1, 1), n.ints([2, 4, 5]))))
    cases.add("Expand", "one channel to three", lambda n: n.add("Expand", "x", n.ints([1, 3, 1, 1])), image=(1, 2, 3),
              kind="trap")
