"""Cases of activations and arithmetic."""

import numpy as np

from build import versions


def add(cases):
    activations(cases)
    clips(cases)
    arithmetic(cases)
    powers(cases)
    casts(cases)
    conditions(cases)


def activations(cases):
    def plain(operator, text="defaults", oldest=7, **attributes):
        cases.add(operator, text, lambda n: n.add(operator, "x", **attributes), versions(operator, oldest))

    for operator in ("Relu", "Tanh", "Sigmoid", "Softplus", "Softsign", "HardSwish", "Mish", "Erf", "Exp", "Abs", "Sign",
                     "Floor", "Ceil", "Round", "Sin", "Cos", "Atan", "Neg", "Identity", "Sinh", "Cosh"):
        plain(operator)
    plain("LeakyRelu")
    plain("LeakyRelu", "alpha=0.2", alpha=0.2)
    plain("LeakyRelu", "alpha=-0.5", alpha=-0.5)
    plain("LeakyRelu", "alpha=0", alpha=0.0)
    plain("LeakyRelu", "alpha=1", alpha=1.0)
    plain("Elu")
    plain("Elu", "alpha=0.5", alpha=0.5)
    plain("Selu")
    plain("Selu", "alpha=1.5 gamma=1.2", alpha=1.5, gamma=1.2)
    plain("Celu")
    plain("Celu", "alpha=2", alpha=2.0)
    plain("ThresholdedRelu")
    plain("ThresholdedRelu", "alpha=0.5", alpha=0.5)
    plain("HardSigmoid")
    plain("HardSigmoid", "alpha=1/6 beta=0.5", alpha=1 / 6, beta=0.5)
    plain("Gelu")
    plain("Gelu", "approximate=tanh", approximate="tanh")
    plain("Shrink")
    plain("Shrink", "lambd=0.3 bias=0.1", lambd=0.3, bias=0.1)
    plain("Swish")
    plain("Swish", "alpha=1.5", alpha=1.5)
    for operator in ("Sqrt", "Log", "Reciprocal"):
        cases.add(operator, "of x*x+0.5", lambda n, operator=operator: n.add(operator, positive(n)))

    def slope(text, *shape, image=(2, 4, 5), kind="plain", vector=False):
        def build(n):
            return n.add("PRelu", n.flat() if vector else "x", n.numbers(*shape, low=0.1, high=0.4))

        cases.add("PRelu", text, build, image=image, kind=kind)

    slope("slope of one number", 1)
    slope("slope 2,1,1: per channel", 2, 1, 1)
    slope("slope 1,2,1,1", 1, 2, 1, 1)
    slope("slope 2,4,5: per element", 2, 4, 5)
    slope("slope 5: per column", 5, kind="trap")
    slope("slope 3 of 3 channels and 3 columns: per column", 3, image=(3, 2, 3), kind="trap")
    slope("slope 40 of a vector", 40, vector=True)

    # How exporters write activations that have no operator.
    def wide(operator, text, build, opsets):
        cases.add(operator, text, build, opsets)

    wide("Sigmoid", "SiLU: x*sigmoid(x)", lambda n: n.add("Mul", "x", n.add("Sigmoid", "x")), [9, 13, 21])
    wide("Sigmoid", "SiLU: sigmoid(x)*x", lambda n: n.add("Mul", n.add("Sigmoid", "x"), "x"), [13])
    wide("HardSigmoid", "HardSwish: x*hardsigmoid(x)",
         lambda n: n.add("Mul", "x", n.add("HardSigmoid", "x", alpha=1 / 6, beta=0.5)), [9, 13])
    wide("Softplus", "Mish: x*tanh(softplus(x))",
         lambda n: n.add("Mul", "x", n.add("Tanh", n.add("Softplus", "x"))), [9, 13])

    def gelu(n):
        inner = n.add("Add", n.add("Erf", n.add("Div", "x", n.constant(float(np.sqrt(2))))), n.constant(1))
        return n.add("Mul", n.add("Mul", "x", inner), n.constant(0.5))

    wide("Erf", "GELU: x*(1+erf(x/sqrt(2)))*0.5", gelu, [9, 13, 20])

    def gelu_tanh(n):
        cube = n.add("Mul", n.constant(0.044715), n.add("Pow", "x", n.constant(3)))
        inner = n.add("Mul", n.constant(float(np.sqrt(2 / np.pi))), n.add("Add", "x", cube))
        return n.add("Mul", n.add("Mul", n.constant(0.5), "x"), n.add("Add", n.constant(1), n.add("Tanh", inner)))

    wide("Tanh", "GELU: 0.5*x*(1+tanh(sqrt(2/pi)*(x+0.044715*x^3)))", gelu_tanh, [9, 13, 20])

    def hardswish(n):
        inner = n.add("Clip", n.add("Add", "x", n.constant(3)), n.constant(0), n.constant(6))
        return n.add("Div", n.add("Mul", "x", inner), n.constant(6))

    wide("Clip", "HardSwish: x*clip(x+3,0,6)/6", hardswish, [13])

    def prelu(n):
        below = n.add("Mul", n.numbers(2, 1, 1), n.add("Neg", n.add("Relu", n.add("Neg", "x"))))
        return n.add("Add", n.add("Relu", "x"), below)

    wide("Relu", "PReLU: relu(x)-alpha*relu(-x)", prelu, [13])


def positive(n, value="x"):
    return n.add("Add", n.add("Mul", value, value), n.constant(0.5))


def clips(cases):
    attributes = [("min=0 max=6", {"min": 0.0, "max": 6.0}), ("min=-0.5", {"min": -0.5}), ("max=0.5", {"max": 0.5}),
                  ("defaults", {})]
    for text, given in attributes:
        cases.add("Clip", f"attributes {text}", lambda n, given=given: n.add("Clip", "x", **given), [7, 10])

    def inputs(text, low, high, opsets=None):
        def build(n):
            given = [n.constant(low) if low is not None else "", n.constant(high) if high is not None else ""]
            while given and given[-1] == "":
                given.pop()
            return n.add("Clip", "x", *given)

        cases.add("Clip", f"inputs {text}", build, opsets or versions("Clip", 11))

    inputs("min=0 max=6", 0, 6)
    inputs("min=0: ReLU", 0, None)
    inputs("max=0.5", None, 0.5)
    inputs("none", None, None)
    inputs("min=-1 max=1", -1, 1)
    inputs("min=1 max=-1: the larger is below", 1, -1, [13])


def arithmetic(cases):
    def two(operator, text, build, **options):
        cases.add(operator, text, build, **options)

    for operator in ("Add", "Sub", "Mul", "Div"):
        def number(n, *shape):
            return n.numbers(*shape, low=0.5, high=2.0)

        shapes = [("a scalar", ()), ("1", (1,)), ("2,1,1: per channel", (2, 1, 1)), ("1,2,1,1", (1, 2, 1, 1)),
                  ("2,4,5: per element", (2, 4, 5)), ("1,1,1,1", (1, 1, 1, 1)), ("1,4,5: per pixel", (1, 4, 5))]
        for text, shape in shapes:
            two(operator, f"constant {text} on the right",
                lambda n, o=operator, s=shape, f=number: n.add(o, "x", f(n, *s)))
        for text, shape in shapes[:5]:
            two(operator, f"constant {text} on the left",
                lambda n, o=operator, s=shape, f=number: n.add(o, f(n, *s), "x"))
        two(operator, "constant 5: per column", lambda n, o=operator, f=number: n.add(o, "x", f(n, 5)), kind="trap")
        two(operator, "constant 4,1: per row", lambda n, o=operator, f=number: n.add(o, "x", f(n, 4, 1)), kind="trap")
        two(operator, "constant 4,5: per pixel", lambda n, o=operator, f=number: n.add(o, "x", f(n, 4, 5)), kind="trap")
        two(operator, "constant 3 of 3 channels and 3 columns: per column",
            lambda n, o=operator, f=number: n.add(o, "x", f(n, 3)), image=(3, 2, 3), kind="trap")
        two(operator, "constant 3 on the left, 3 channels and 3 columns: per column",
            lambda n, o=operator, f=number: n.add(o, f(n, 3), "x"), image=(3, 2, 3), kind="trap")
        two(operator, "constant 3,1 of 3 channels and 3 rows: per row",
            lambda n, o=operator, f=number: n.add(o, "x", f(n, 3, 1)), image=(3, 3, 2), kind="trap")
        two(operator, "constant 2 next to a 1x1 map: it becomes 1x2",
            lambda n, o=operator, f=number: n.add(o, n.add("GlobalAveragePool", "x"), f(n, 2)), opsets=[13], kind="trap")
        two(operator, "constant 2,3,1,1 next to one channel: it becomes wider",
            lambda n, o=operator, f=number: n.add(o, "x", f(n, 1, 3, 1, 1)), opsets=[13], image=(1, 2, 3), kind="trap")
        two(operator, "constant per image", lambda n, o=operator, f=number: n.add(o, "x", f(n, 3, 1, 1, 1)), opsets=[13],
            kind="batch", batch=3)
        two(operator, "vector and 40", lambda n, o=operator, f=number: n.add(o, n.flat(), f(n, 40)), opsets=[7, 13])
        two(operator, "vector and 1,40", lambda n, o=operator, f=number: n.add(o, n.flat(), f(n, 1, 40)), opsets=[13])
        two(operator, "vector per image, 3,1",
            lambda n, o=operator, f=number: n.add(o, n.flat(), f(n, 3, 1)), opsets=[13], kind="batch", batch=3)
        two(operator, "two branches",
            lambda n, o=operator: n.add(o, n.add("Conv", "x", n.numbers(2, 2, 1, 1)), branch(n)), opsets=[7, 13, 14])
        two(operator, "map and its mean per channel",
            lambda n, o=operator: n.add(o, "x", shifted(n)), opsets=[13], kind="trap")
        two(operator, "mean per channel and the map",
            lambda n, o=operator: n.add(o, shifted(n), "x"), opsets=[13], kind="trap")
        two(operator, "the same value twice", lambda n, o=operator: n.add(o, positive(n), positive(n)), opsets=[13])
        two(operator, "a branch and its half",
            lambda n, o=operator: n.add(o, positive(n), n.add("Mul", positive(n), n.constant(0.5))), opsets=[13])

    two("Sub", "constant - x", lambda n: n.add("Sub", n.constant(1.5), "x"), kind="trap")
    two("Sub", "x - constant", lambda n: n.add("Sub", "x", n.constant(1.5)))
    two("Sub", "x - x", lambda n: n.add("Sub", "x", "x"), opsets=[13], note="all zeros")
    two("Add", "x + x", lambda n: n.add("Add", "x", "x"))
    two("Mul", "x * x: the square", lambda n: n.add("Mul", "x", "x"))
    two("Mul", "by 0", lambda n: n.add("Mul", "x", n.constant(0)), opsets=[13], note="all zeros")
    two("Mul", "by -1", lambda n: n.add("Mul", "x", n.constant(-1)), opsets=[13])
    two("Mul", "quadratic x*(a*x+b)+c", quadratic, opsets=[7, 13, 14])
    two("Mul", "x*x*x", lambda n: n.add("Mul", n.add("Mul", "x", "x"), "x"), opsets=[13], note="degree 3")
    two("Mul", "two branches of one image",
        lambda n: n.add("Mul", "x", n.add("Conv", "x", n.numbers(2, 2, 1, 1))), opsets=[13],
        note="a product of two values")
    two("Mul", "squeeze and excite", excite, opsets=[13], note="a product of two values")
    two("Div", "x / 2", lambda n: n.add("Div", "x", n.constant(2)))
    two("Div", "2 / (x*x+0.5)", lambda n: n.add("Div", n.constant(2), positive(n)), kind="trap")
    two("Div", "x / (x*x+0.5)", lambda n: n.add("Div", "x", positive(n)), opsets=[13], kind="trap")
    two("Neg", "of x*x", lambda n: n.add("Neg", n.add("Mul", "x", "x")), opsets=[13])

    for operator in ("Sum", "Mean"):
        two(operator, "one input", lambda n, o=operator: n.add(o, "x"))
        two(operator, "two inputs", lambda n, o=operator: n.add(o, "x", branch(n)))
        two(operator, "three inputs",
            lambda n, o=operator: n.add(o, "x", n.add("Relu", "x"), n.add("Conv", "x", n.numbers(2, 2, 1, 1))))
        two(operator, "the same input twice", lambda n, o=operator: n.add(o, "x", "x"))
        two(operator, "with a constant per channel", lambda n, o=operator: n.add(o, n.numbers(2, 1, 1), "x"),
            opsets=versions(operator, 8))
        two(operator, "with a constant per column", lambda n, o=operator: n.add(o, "x", n.numbers(5)),
            opsets=versions(operator, 8), kind="trap")
    for operator in ("Max", "Min"):
        two(operator, "with the constant 0", lambda n, o=operator: n.add(o, "x", n.constant(0)),
            opsets=versions(operator, 8))
        two(operator, "with the constant 0 of dimension 1", lambda n, o=operator: n.add(o, n.constant([0]), "x"),
            opsets=versions(operator, 8))
        two(operator, "of two branches", lambda n, o=operator: n.add(o, "x", branch(n)))
        two(operator, "one input", lambda n, o=operator: n.add(o, "x"))
    two("Mod", "fmod=1 by 0.75", lambda n: n.add("Mod", "x", n.constant(0.75), fmod=1))


def branch(n):
    return n.add("Conv", "x", n.numbers(2, 2, 3, 3), n.constant([4.0, 5.0]), pads=[1, 1, 1, 1])


def shifted(n):
    return n.add("Add", n.add("GlobalAveragePool", "x"), n.constant(2.0))


def quadratic(n):
    inner = n.add("Add", n.add("Mul", n.numbers(2, 1, 1), "x"), n.numbers(2, 1, 1))
    return n.add("Add", n.add("Mul", "x", inner), n.numbers(2, 1, 1))


def excite(n):
    gate = n.add("Sigmoid", n.add("Conv", n.add("GlobalAveragePool", "x"), n.numbers(2, 2, 1, 1)))
    return n.add("Mul", "x", gate)


def powers(cases):
    def power(text, exponent, dtype=np.float32, opsets=None, kind="plain", base="x", image=(2, 4, 5), **options):
        def build(n):
            value = positive(n) if base == "positive" else base
            return n.add("Pow", value, n.constant(exponent, dtype))

        cases.add("Pow", text, build, opsets, kind=kind, image=image, **options)

    power("2.0", 2.0)
    power("2.0 of dimension 1", [2.0])
    power("1.0", 1.0)
    power("0.0", 0.0)
    power("3.0", 3.0)
    later = versions("Pow", 12)
    for dtype in (np.int64, np.int32):
        for exponent in (2, 1, 3):
            power(f"{exponent} as {np.dtype(dtype)}", exponent, dtype, later)
    power("2.0 as float64", 2.0, np.float64, later)
    power("0.5", 0.5, base="positive")
    power("-1.0", -1.0, base="positive", kind="trap")
    power("-2 as int64", -2, np.int64, later, base="positive", kind="trap")
    power("1,2 per channel", [[[1.0]], [[2.0]]], opsets=[7, 13], kind="trap")
    power("2,2 per channel", [[[2.0]], [[2.0]]], opsets=[13])
    power("1,2,1,2,2 per column", [1.0, 2.0, 1.0, 2.0, 2.0], opsets=[13], kind="trap")
    power("2,2,1 of 3 channels and 3 columns", [2.0, 2.0, 1.0], opsets=[13], kind="trap", image=(3, 2, 3))
    cases.add("Pow", "2 to the x", lambda n: n.add("Pow", n.constant(2), "x"), kind="trap")
    cases.add("Pow", "x to the x*x", lambda n: n.add("Pow", positive(n), "x"), [13], kind="trap")
    cases.add("Pow", "square of a quadratic: degree 4",
              lambda n: n.add("Pow", n.add("Mul", "x", "x"), n.constant(2)), [13], note="degree 4")


def casts(cases):
    def cast(text, to, opsets=None, kind="trap", note="", **attributes):
        def build(n):
            return n.add("Cast", n.add("Cast", n.add("Mul", "x", n.constant(3)), to=to, **attributes), to=1)

        cases.add("Cast", text, build, opsets, kind=kind, note=note)

    cast("to float", 1, kind="plain")
    cast("to double and back", 11, kind="plain")
    cast("to half and back", 10, kind="plain", note="rounds to 11 bits")
    cast("to bfloat16 and back", 16, versions("Cast", 13), note="rounds to 8 bits")
    cast("to int64 and back: truncates", 7)
    cast("to int32 and back: truncates", 6)
    cast("to bool and back: is not zero", 9)
    cases.add("Cast", "to uint8 of x*x*9 and back: truncates",
              lambda n: n.add("Cast", n.add("Cast", n.add("Mul", n.add("Mul", "x", "x"), n.constant(9)), to=2), to=1),
              [13], kind="trap")

    def weights(dtype):
        def build(n):
            weight = n.constant(np.arange(1, 7).reshape(3, 2, 1, 1) - 3, dtype)
            return n.add("Conv", "x", n.add("Cast", weight, to=1))

        return build

    for dtype in (np.float16, np.float64, np.int8, np.int16, np.int32, np.int64):
        cases.add("Cast", f"weights of {np.dtype(dtype)} to float", weights(dtype), [9, 13, 21])
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64, np.bool_):
        def build(n, dtype=dtype):
            weight = n.constant((np.arange(6) % 4).reshape(3, 2, 1, 1), dtype)
            return n.add("Conv", "x", n.add("Cast", weight, to=1))

        cases.add("Cast", f"weights of {np.dtype(dtype)} to float", build, [13])
    cases.add("CastLike", "like a float", lambda n: n.add("CastLike", "x", n.constant(0)))
    cases.add("CastLike", "like an int64, back by Cast: truncates",
              lambda n: n.add("Cast", n.add("CastLike", "x", n.ints([0])), to=1), kind="trap")


def conditions(cases):
    def leaky(n):
        return n.add("Where", n.add("Greater", "x", n.constant(0)), "x", n.add("Mul", "x", n.constant(0.1)))

    cases.add("Where", "x > 0 ? x : 0.1 x: LeakyReLU", leaky, versions("Where", 9))

    def masked(n):
        mask = n.constant(np.arange(40).reshape(2, 4, 5) % 3 == 0, np.bool_)
        return n.add("Where", mask, "x", n.constant(0.25))

    cases.add("Where", "a constant mask per element", masked)

    def folded(n):
        same = n.add("Equal", n.ints([1, 2]), n.ints([1, 3]))
        chosen = n.add("Where", same, n.ints([-1, -1]), n.ints([0, 40]))
        return n.add("Reshape", "x", chosen)

    cases.add("Where", "of shapes: Reshape to -1,40", folded, versions("Where", 11))
    cases.add("Equal", "x = 0 as a number", lambda n: n.add("Cast", n.add("Equal", n.add("Relu", "x"), n.constant(0)), to=1),
              versions("Equal", 11), kind="trap")
    cases.add("Greater", "x > 0 as a number", lambda n: n.add("Cast", n.add("Greater", "x", n.constant(0)), to=1),
              versions("Greater", 9), kind="trap")
    cases.add("Not", "of x > 0 as a number",
              lambda n: n.add("Cast", n.add("Not", n.add("Less", "x", n.constant(0))), to=1), [13], kind="trap")

    def step(n):
        return n.add("Mul", "x", n.add("Cast", n.add("Greater", "x", n.constant(0)), to=1))

    cases.add("Greater", "x * (x > 0): ReLU", step, [13])
