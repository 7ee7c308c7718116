"""Writes the thirty networks of PyTorch's two exporters: `python generate_torch.py`.

Made with Python 3.11, torch 2.15.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.
`tc-*` come from the compiling exporter (dynamo=True, the default), `tt-*` from the tracing one (dynamo=False).
"""

import sys

import torch
from torch import nn
from torch.nn import functional as F

import common
import torch_parts
from torch_nets import (
    DenseLayer,
    Difference,
    HalfWeights,
    Inverted,
    Net,
    QuantizedConv,
    Residual,
    Transposed,
    TwoOutputs,
    conv_bn,
)
from torch_parts import Quadratic, Shuffle, Square

LOGITS, LOG, SOFT, SIGMOID = ["logits"], ["log-softmax"], ["softmax"], ["sigmoid"]
NETWORKS = []


def network(name, image, tags, ends=LOGITS, polynomial=False, **options):
    def register(build):
        NETWORKS.append((name, build, image, ends, polynomial, tags.split(", "), options))
        return build

    return register


# The compiling exporter.


@network("tc-lenet-square", (1, 16, 16), "x**2, AveragePool, Flatten, external data", polynomial=True)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2), Square(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 3), Square(), nn.AvgPool2d(2)
    )
    return Net(features, 54, 10, "flatten")


@network("tc-resnet-relu", (3, 12, 12), "BatchNorm, residual sum, 1x1 shortcut with stride, external data")
def _():
    features = nn.Sequential(conv_bn(3, 4), Residual(4, 4), Residual(4, 8, 2))
    return Net(features, 8, 5)


@network("tc-mobilenet-relu6", (3, 16, 16), "depthwise, ReLU6, mean over [2, 3], external data")
def _():
    features = nn.Sequential(conv_bn(3, 6, act=nn.ReLU6, stride=2), Inverted(6, 6), Inverted(6, 10, 2))
    return Net(features, 10, 7, "mean")


@network(
    "tc-quadratic-channel", (1, 8, 8), "quadratic per channel, BatchNorm, residual sum", polynomial=True,
    opset_version=20, external_data=False,
)
def _():
    def act():
        return Quadratic(6, 1, 1)

    features = nn.Sequential(conv_bn(1, 6, act=act), Residual(6, 6, act=act), nn.AvgPool2d(4))
    return Net(features, 24, 4, "flatten")


@network("tc-densenet", (1, 12, 12), "BatchNorm before ReLU, Concat, AveragePool with stride", external_data=False)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        DenseLayer(4, 3),
        DenseLayer(7, 3),
        nn.BatchNorm2d(10),
        nn.ReLU(),
        nn.Conv2d(10, 5, 1, bias=False),
        nn.AvgPool2d(2, 2),
        DenseLayer(5, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
    )
    return Net(features, 8, 6)


@network(
    "tc-dilated-silu", (1, 15, 15), "dilated convolution, SiLU, AveragePool with ceil_mode, softmax", SOFT,
    opset_version=22, external_data=False,
)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 5, 3, dilation=2, padding=2), nn.SiLU(), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(5, 6, 3, dilation=(1, 2)), nn.SiLU(), nn.AvgPool2d(2, ceil_mode=True),
    )
    return Net(features, 36, 5, "flatten", "softmax")


@network("tc-shuffle-gelu", (3, 8, 8), "grouped convolution, channel shuffle, GELU", external_data=False)
def _():
    features = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 8, 3, padding=1, groups=4), Shuffle(4),
        nn.GELU(approximate="tanh"), nn.Conv2d(8, 8, 3, 2, 1, groups=2),
    )
    return Net(features, 8, 4, "mean")


@network(
    "tc-binary-sigmoid", (1, 8, 8), "x**2, one sigmoid output", SIGMOID, True, external_data=False, dynamic=True
)
def _():
    features = nn.Sequential(nn.Conv2d(1, 4, 3), Square(), nn.Conv2d(4, 6, 3, 2), Square())
    return Net(features, 24, 1, "flatten", "sigmoid")


@network("tc-upsample", (1, 8, 8), "nearest upsampling, LeakyReLU, GlobalAveragePool", external_data=False)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.LeakyReLU(0.1), nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3, padding=1),
        nn.LeakyReLU(0.2),
    )
    return Net(features, 6, 4)


@network("tc-padded-pools", (3, 16, 16), "MaxPool with padding, AveragePool without count_include_pad, HardSwish")
def _():
    features = nn.Sequential(
        conv_bn(3, 6, act=nn.Hardswish), nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 6, 3, padding=1), nn.Hardswish(),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    )
    return Net(features, 96, 5, "flatten")


@network("tc-half-weights", (1, 8, 8), "fp16 weights with Cast, ReLU, external data", cast=lambda m: m.half(),
         optimize=False)
def _():
    return HalfWeights()


@network("tc-dynamic-batch", (1, 10, 10), "symbolic batch, view, x**2, stride 2, padded AveragePool", polynomial=True,
         dynamic=True, external_data=False)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, bias=False), Square(), nn.AvgPool2d(3, 1, 1), nn.Conv2d(4, 8, 3, padding=1),
        Square(),
    )
    return Net(features, 128, 6, "view")


@network("tc-two-outputs", (1, 8, 8), "two outputs, Tanh, Sigmoid", ["logits", "hidden"], external_data=False)
def _():
    return TwoOutputs(nn.Tanh())


@network("tc-difference", (1, 8, 8),
         "difference and scaled sum of branches, ZeroPad2d, quadratics, 1x1 head, Squeeze", polynomial=True,
         external_data=False)
def _():
    return Difference()


@network("tc-mlp-elu", (1, 8, 8), "MLP, BatchNorm after dense, ELU, Dropout, log-softmax", LOG, dynamic=True)
def _():
    features = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ELU(), nn.Dropout(0.5), nn.Linear(16, 12), nn.ELU(0.5)
    )
    return Net(features, 12, 10, None, "log-softmax")


# The tracing exporter.


@network("tt-lenet-max", (1, 16, 16), "ReLU, MaxPool, view", opset_version=9)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.MaxPool2d(2)
    )
    return Net(features, 32, 10, "reshape")


@network("tt-square-pad", (1, 10, 10), "x**2, AveragePool with count_include_pad", polynomial=True, opset_version=10,
         dynamic=True)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), Square(), nn.AvgPool2d(3, 2, 1), nn.Conv2d(4, 6, 3), Square()
    )
    return Net(features, 54, 5, "view")


@network("tt-vgg-bn", (3, 16, 16), "BatchNorm, ReLU, MaxPool, Dropout", opset_version=11, dynamic=True)
def _():
    features = nn.Sequential(
        conv_bn(3, 4), conv_bn(4, 4), nn.MaxPool2d(2, 2), conv_bn(4, 8), nn.MaxPool2d(2, 2), nn.Dropout2d(0.1)
    )
    return Net(features, 128, 10, "flatten")


@network("tt-resnet-unfolded", (3, 8, 8), "BatchNorm kept, no constant folding, mean over one axis after another",
         opset_version=12, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE)
def _():
    features = nn.Sequential(conv_bn(3, 4), Residual(4, 4), Residual(4, 6, 2))
    return Net(features, 6, 3, "mean-twice")


@network("tt-quadratic-element", (1, 8, 8), "quadratic per element, one per layer", polynomial=True, opset_version=13,
         dynamic=True)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 3), Quadratic(4, 6, 6, form="product"), nn.AvgPool2d(2), nn.Conv2d(4, 8, 3),
        Quadratic(form="factored"),
    )
    return Net(features, 8, 4, "flatten")


@network("tt-inverted-hardswish", (3, 12, 12), "depthwise, HardSwish, residual sum, symbolic batch", opset_version=14,
         dynamic=True)
def _():
    features = nn.Sequential(
        conv_bn(3, 4, act=nn.Hardswish, stride=2), Inverted(4, 4, act=nn.Hardswish), Inverted(4, 8, 2)
    )
    return Net(features, 8, 6)


@network("tt-shuffle-square", (3, 8, 8), "grouped convolution, channel shuffle, x**2", polynomial=True,
         opset_version=15)
def _():
    features = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, groups=3), Shuffle(3), Square(), nn.Conv2d(6, 6, 3, 2, 1, groups=2), Square()
    )
    return Net(features, 6, 4, "squeeze")


@network("tt-densenet-elu", (1, 8, 8), "Concat, ELU, GlobalAveragePool, softmax", SOFT, opset_version=16, dynamic=True)
def _():
    features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), DenseLayer(4, 4, nn.ELU), DenseLayer(8, 4, nn.ELU))
    return Net(features, 12, 5, "adaptive", "softmax")


@network("tt-prelu-ceil", (1, 11, 11), "PReLU, LeakyReLU, MaxPool with ceil_mode", opset_version=17)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.PReLU(4), nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(4, 6, 3), nn.LeakyReLU(),
        nn.MaxPool2d(2, ceil_mode=True), nn.PReLU(),
    )
    return Net(features, 24, 5, "flatten")


@network("tt-binary-logit", (1, 8, 8), "one logit without sigmoid, quadratic per channel, BatchNorm", ["logit"], True,
         opset_version=18, dynamic=True)
def _():
    features = nn.Sequential(
        conv_bn(1, 4, act=lambda: Quadratic(4, 1, 1), stride=2), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4),
        Quadratic(1),
    )
    return Net(features, 64, 1, "flatten")


@network("tt-gelu", (1, 8, 8), "GELU by Erf, asymmetric kernel and stride", opset_version=19, dynamic=True)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 6, (3, 5), stride=(1, 2), padding=(1, 2)), nn.GELU(), nn.Conv2d(6, 6, (1, 3)), nn.GELU()
    )
    return Net(features, 6, 4)


@network("tt-upsample-silu", (1, 8, 8), "SiLU, nearest upsampling, dilated convolution", opset_version=20)
def _():
    features = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.SiLU(), nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(4, 6, 3, padding=2, dilation=2), nn.SiLU(),
    )
    return Net(features, 6, 4, "mean")


@network("tt-qdq-weights", (3, 8, 8), "QuantizeLinear and DequantizeLinear on weights, per channel, ReLU",
         opset_version=13, cast=lambda m: [p.freeze() for p in m.modules() if isinstance(p, QuantizedConv)])
def _():
    features = nn.Sequential(
        QuantizedConv(3, 6, 3, padding=1), nn.ReLU(), QuantizedConv(6, 8, 3, stride=2, padding=1), nn.ReLU()
    )
    return Net(features, 8, 4)


@network("tt-two-heads", (1, 8, 8), "two outputs, ReLU, Sigmoid inside", ["logits", "softmax"], opset_version=17,
         dynamic=True)
def _():
    return TwoOutputs(nn.ReLU(), "heads")


@network("tt-transposed", (1, 8, 8), "transposed convolution, ZeroPad2d, x**2, log-softmax", LOG, True,
         opset_version=11)
def _():
    return Transposed()


def main():
    version = torch.__version__.split("+")[0]
    for prefix, exporter in [("tc-", "torch-compiling"), ("tt-", "torch-tracing")]:
        zoo = common.Zoo(common.HERE, exporter, f"torch {version}")
        for name, build, image, ends, polynomial, tags, options in NETWORKS:
            if name.startswith(prefix) and (len(sys.argv) < 2 or name in sys.argv[1:]):
                torch.manual_seed(torch_parts.seeded(name))
                model = build()
                torch_parts.export(zoo, name, model, model.head, image, ends, polynomial, tags,
                                   dynamo=prefix == "tc-", **options)
        zoo.close()


if __name__ == "__main__":
    main()
