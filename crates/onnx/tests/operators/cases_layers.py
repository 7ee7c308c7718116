"""Cases of layers with weights and of pools."""

from build import versions


def kernel(n, *shape):
    return n.numbers(*shape)


def add(cases):
    convolutions(cases)
    transposed(cases)
    dense(cases)
    normalizations(cases)
    pools(cases)


def convolutions(cases):
    def conv(text, shape=(3, 2, 3, 3), bias=True, **attributes):
        def build(n):
            inputs = ["x", n.numbers(*shape), *([n.numbers(shape[0])] if bias else [])]
            return n.add("Conv", *inputs, **attributes)

        cases.add("Conv", text, build)

    conv("defaults")
    conv("no bias", bias=False)
    conv("kernel_shape=3,3", kernel_shape=[3, 3])
    conv("1x1", (4, 2, 1, 1))
    conv("kernel 2x3", (3, 2, 2, 3))
    conv("pads=1,1,1,1", pads=[1, 1, 1, 1])
    conv("pads=1,0,0,2", pads=[1, 0, 0, 2])
    conv("pads=0,1,0,1", pads=[0, 1, 0, 1])
    conv("pads=3,3,3,3 wider than the kernel 2x2", (2, 2, 2, 2), pads=[3, 3, 3, 3])
    conv("strides=2,1", strides=[2, 1])
    conv("strides=2,3 pads=1,1,1,1", strides=[2, 3], pads=[1, 1, 1, 1])
    conv("strides=3,3 1x1", (2, 2, 1, 1), strides=[3, 3])
    conv("dilations=1,2", dilations=[1, 2])
    conv("dilations=2,2 pads=2,2,2,2", dilations=[2, 2], pads=[2, 2, 2, 2])
    conv("group=2", (4, 1, 3, 3), group=2)
    conv("group=2 depthwise", (2, 1, 3, 3), group=2, pads=[1, 1, 1, 1])
    for mode in ("VALID", "SAME_UPPER", "SAME_LOWER", "NOTSET"):
        conv(f"auto_pad={mode}", auto_pad=mode)
        conv(f"auto_pad={mode} strides=2,2", auto_pad=mode, strides=[2, 2])
    conv("auto_pad=SAME_UPPER kernel 2x2", (3, 2, 2, 2), auto_pad="SAME_UPPER")
    conv("auto_pad=SAME_LOWER kernel 2x2", (3, 2, 2, 2), auto_pad="SAME_LOWER")
    conv("auto_pad=SAME_UPPER kernel 2x2 strides=3,2", (3, 2, 2, 2), auto_pad="SAME_UPPER", strides=[3, 2])

    def scaled(n):
        weight = n.add("Mul", n.numbers(3, 2, 3, 3), n.constant(0.5))
        return n.add("Conv", "x", weight, n.add("Identity", n.numbers(3)))

    cases.add("Conv", "weights computed from constants", scaled, [13])

    def computed(n):
        weight = n.add("Slice", "x", n.ints([0]), n.ints([1]), n.ints([0]))
        return n.add("Conv", "x", weight)

    cases.add("Conv", "weights from the image", computed, [13], kind="batch")


def transposed(cases):
    def conv(text, shape=(2, 3, 3, 3), bias=True, **attributes):
        def build(n):
            outputs = shape[1] * attributes.get("group", 1)
            inputs = ["x", n.numbers(*shape), *([n.numbers(outputs)] if bias else [])]
            return n.add("ConvTranspose", *inputs, **attributes)

        cases.add("ConvTranspose", text, build)

    conv("defaults")
    conv("no bias", bias=False)
    conv("strides=2,2", strides=[2, 2])
    conv("strides=2,2 pads=1,1,1,1 output_padding=1,1", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    conv("pads=1,0,0,2", pads=[1, 0, 0, 2])
    conv("strides=2,1 kernel 2x3", (2, 3, 2, 3), strides=[2, 1])
    conv("dilations=2,1", dilations=[2, 1])
    conv("group=2", (2, 2, 3, 3), group=2)
    conv("output_shape=8,10 strides=2,2", strides=[2, 2], output_shape=[8, 10])
    conv("auto_pad=SAME_UPPER strides=2,2", strides=[2, 2], auto_pad="SAME_UPPER")
    conv("auto_pad=SAME_LOWER strides=2,2", strides=[2, 2], auto_pad="SAME_LOWER")
    conv("strides=2,2 kernel 2x2 (learned upsampling)", (2, 3, 2, 2), strides=[2, 2])


def dense(cases):
    def gemm(text, weight, bias=None, opsets=None, kind="plain", batch="N", **attributes):
        def build(n):
            inputs = [n.flat(), n.numbers(*weight)]
            if bias is not None:
                inputs.append(n.numbers(*bias))
            return n.add("Gemm", *inputs, **attributes)

        cases.add("Gemm", text, build, opsets, kind=kind, batch=batch, flatten=False)

    gemm("defaults", (40, 3), (3,))
    gemm("transB=1", (3, 40), (3,), transB=1)
    gemm("alpha=0.5 beta=0.25 transB=1", (3, 40), (3,), transB=1, alpha=0.5, beta=0.25)
    gemm("alpha=2", (40, 3), (3,), alpha=2.0)
    gemm("beta=0", (40, 3), (3,), beta=0.0)
    gemm("C of one number", (40, 3), (1,))
    gemm("C a scalar", (40, 3), ())
    gemm("C of dimensions 1,3", (40, 3), (1, 3))
    gemm("no C", (40, 3), None, versions("Gemm", 11))
    gemm("C a column per image", (40, 3), (3, 1), kind="batch", batch=3)
    gemm("C a matrix per image", (40, 3), (3, 3), kind="batch", batch=3)
    gemm("transA=1", (3, 40), (40,), kind="batch", batch=3, transA=1)

    def left(n):
        product = n.add("Gemm", n.numbers(3, 40), n.flat(), n.numbers(3, 1), transB=1)
        return n.add("Transpose", product, perm=[1, 0])

    cases.add("Gemm", "constant on the left, transB=1, turned back", left, flatten=False, kind="trap")

    def turned(n):
        column = n.add("Transpose", n.flat())
        return n.add("Gemm", column, n.numbers(40, 3), n.numbers(3), transA=1)

    cases.add("Gemm", "transA=1 of a turned vector", turned, flatten=False, kind="trap")

    def equal_sides(n):
        weight = n.numbers(4, 4)
        return n.add("Gemm", n.add("Gemm", n.flat(), weight, n.numbers(4)), weight, n.numbers(4), transB=1)

    cases.add("Gemm", "square weights, transB=0 then 1", equal_sides, image=(1, 2, 2), flatten=False, kind="trap")

    def product(text, build, **options):
        cases.add("MatMul", text, build, **options)

    product("vector by matrix", lambda n: n.add("MatMul", n.flat(), n.numbers(40, 3)), flatten=False)
    product("map by matrix: acts on the width", lambda n: n.add("MatMul", "x", n.numbers(5, 3)), kind="trap")
    product("map by square matrix", lambda n: n.add("MatMul", "x", n.numbers(3, 3)), image=(3, 3, 3), kind="trap")
    product("matrix by map: acts on the height", lambda n: n.add("MatMul", n.numbers(3, 4), "x"), kind="trap")
    product("map by one matrix per channel", lambda n: n.add("MatMul", "x", n.numbers(2, 5, 3)), kind="trap")
    product(
        "vector by vector",
        lambda n: n.add("Reshape", n.add("MatMul", n.flat(), n.numbers(40)), n.ints([-1, 1])),
        flatten=False,
        kind="trap",
    )
    product(
        "constant on the left, turned back",
        lambda n: n.add("Transpose", n.add("MatMul", n.numbers(3, 40), n.add("Transpose", n.flat()))),
        flatten=False,
        kind="trap",
    )
    product(
        "two values",
        lambda n: n.add("MatMul", "x", n.add("Transpose", "x", perm=[0, 1, 3, 2])),
        kind="trap",
        note="a product of two values",
    )


def normalizations(cases):
    def norm(text, opsets=None, vector=False, shape=None, image=(2, 4, 5), kind="plain", **attributes):
        def build(n):
            source, wide = (n.flat(), 40) if vector else ("x", image[0])
            sides = shape or (wide,)
            scale, bias = n.numbers(*sides), n.numbers(*sides)
            mean, variance = n.numbers(*sides), n.numbers(*sides, low=0.2, high=2.0)
            return n.add("BatchNormalization", source, scale, bias, mean, variance, **attributes)

        cases.add("BatchNormalization", text, build, opsets, image=image, kind=kind)

    norm("defaults")
    norm("epsilon=0.1", epsilon=0.1)
    norm("epsilon=0", epsilon=0.0)
    norm("momentum=0.5", momentum=0.5)
    norm("of a vector", vector=True)
    norm("spatial=1", [7, 8], spatial=1)
    norm("spatial=0: statistics per element", [7, 8], shape=(2, 4, 5), kind="trap", spatial=0)
    norm("channels as many as columns", image=(3, 2, 3), kind="trap")

    def training(n):
        numbers = [n.numbers(2), n.numbers(2), n.numbers(2), n.numbers(2, low=0.2, high=2.0)]
        return n.add("BatchNormalization", "x", *numbers, outputs=3, training_mode=1)[0]

    cases.add("BatchNormalization", "training_mode=1", training, versions("BatchNormalization", 14), kind="batch")
    cases.add(
        "InstanceNormalization", "defaults",
        lambda n: n.add("InstanceNormalization", "x", n.numbers(2), n.numbers(2)), note="depends on the image",
    )
    cases.add(
        "LayerNormalization", "defaults",
        lambda n: n.add("LayerNormalization", "x", n.numbers(5), n.numbers(5)), note="depends on the image",
    )
    cases.add(
        "GroupNormalization", "num_groups=1",
        lambda n: n.add("GroupNormalization", "x", n.numbers(2), n.numbers(2), num_groups=1), [21],
        note="depends on the image",
    )
    cases.add(
        "RMSNormalization", "defaults", lambda n: n.add("RMSNormalization", "x", n.numbers(5)),
        note="depends on the image",
    )
    cases.add("LRN", "size=3", lambda n: n.add("LRN", "x", size=3), note="depends on the image")
    cases.add("LpNormalization", "axis=1", lambda n: n.add("LpNormalization", "x", axis=1), note="depends on the image")
    cases.add(
        "MeanVarianceNormalization", "axes=2,3",
        lambda n: n.add("MeanVarianceNormalization", "x", axes=[2, 3]), note="depends on the image",
    )


def pools(cases):
    def pool(operator, text, kernel=(2, 2), oldest=7, **attributes):
        def build(n):
            return n.add(operator, "x", kernel_shape=list(kernel), **attributes)

        cases.add(operator, text, build, versions(operator, oldest))

    for operator in ("AveragePool", "MaxPool"):
        def add(text, operator=operator, **options):
            pool(operator, text, **options)

        add("defaults: strides of 1")
        add("strides=2,2", strides=[2, 2])
        add("strides=1,2 kernel 3x2", kernel=(3, 2), strides=[1, 2])
        add("kernel of the whole map", kernel=(4, 5))
        add("pads=1,1,1,1", kernel=(3, 3), pads=[1, 1, 1, 1])
        add("pads=1,1,1,1 strides=2,2", kernel=(3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
        add("pads=0,1,1,0", pads=[0, 1, 1, 0])
        for mode in ("VALID", "SAME_UPPER", "SAME_LOWER"):
            add(f"auto_pad={mode}", auto_pad=mode)
            add(f"auto_pad={mode} strides=2,2", auto_pad=mode, strides=[2, 2])
            add(f"auto_pad={mode} kernel 3x3 strides=2,2", kernel=(3, 3), auto_pad=mode, strides=[2, 2])
        add("ceil_mode=0 strides=2,2", oldest=10, ceil_mode=0, strides=[2, 2])
        add("ceil_mode=1 strides=2,2", oldest=10, ceil_mode=1, strides=[2, 2])
        add("ceil_mode=1 strides=3,3", oldest=10, ceil_mode=1, strides=[3, 3])
        add("ceil_mode=1 pads=1,1,1,1 strides=2,2 kernel 3x3", kernel=(3, 3), oldest=10, ceil_mode=1,
            pads=[1, 1, 1, 1], strides=[2, 2])
        add("dilations=2,1", oldest=19 if operator == "AveragePool" else 10, dilations=[2, 1])
        add("dilations=1,2 pads=1,1,1,1", oldest=19 if operator == "AveragePool" else 10, dilations=[1, 2],
            pads=[1, 1, 1, 1])

    def average(text, kernel=(3, 3), oldest=7, **attributes):
        pool("AveragePool", text, kernel, oldest, count_include_pad=1, **attributes)

    average("count_include_pad=1")
    average("count_include_pad=1 pads=1,1,1,1", pads=[1, 1, 1, 1])
    average("count_include_pad=1 pads=1,0,0,2 strides=2,2", pads=[1, 0, 0, 2], strides=[2, 2])
    average("count_include_pad=1 auto_pad=SAME_UPPER strides=2,2", auto_pad="SAME_UPPER", strides=[2, 2])
    average("count_include_pad=1 ceil_mode=1 strides=2,2", (2, 2), 10, ceil_mode=1, strides=[2, 2])
    average("count_include_pad=1 ceil_mode=1 pads=1,1,1,1 strides=2,2", (3, 3), 10, ceil_mode=1, pads=[1, 1, 1, 1],
            strides=[2, 2])
    pool("MaxPool", "storage_order=1", oldest=8, storage_order=1)

    def indices(n):
        return n.add("Cast", n.add("MaxPool", "x", outputs=2, kernel_shape=[2, 2])[1], to=1)

    cases.add("MaxPool", "the second output, indices", indices, versions("MaxPool", 8), batch=3, kind="batch")
    for operator in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        cases.add(operator, "defaults", lambda n, operator=operator: n.add(operator, "x"))
        cases.add(operator, "1x1 map", lambda n, operator=operator: n.add(operator, "x"), image=(4, 1, 1))
    cases.add("LpPool", "p=2", lambda n: n.add("LpPool", "x", kernel_shape=[2, 2], p=2))
    cases.add("LpPool", "p=1", lambda n: n.add("LpPool", "x", kernel_shape=[2, 2], p=1))
