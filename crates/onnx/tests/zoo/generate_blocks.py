"""Writes the usual blocks of torchvision and timm into `blocks`: `python generate_blocks.py`.

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2, timm 1.0.31, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0.
The classes are those of the libraries with narrow widths, between a 1x1 convolution and a mean with a dense head.
Each block is exported by both exporters: `NAME.compiling` and `NAME.tracing`. `refused` says why a block cannot be
computed under encryption, whatever an importer reads.
"""

import sys
from functools import partial

import timm
import timm.layers
import timm.models._efficientnet_blocks as timm_blocks
import timm.models.convnext as timm_convnext
import timm.models.densenet as timm_densenet
import timm.models.regnet as timm_regnet
import timm.models.resnet as timm_resnet
import timm.models.vgg as timm_vgg
import timm.models.vision_transformer as timm_vit
import torch
import torchvision
from torch import nn
from torchvision.models import convnext, densenet, efficientnet, mobilenetv2, mobilenetv3, regnet, shufflenetv2
from torchvision.models import squeezenet, swin_transformer, vgg, vision_transformer
from torchvision.models.googlenet import Inception
from torchvision.models.resnet import BasicBlock, Bottleneck

import common
import torch_parts
from torch_nets import Net

GATE = "the product of a map and a gate computed from it (squeeze and excite)"
NORM = "layer normalization divides by what it measures on the image"
ATTENTION = "attention multiplies two values and has a softmax inside"
BLOCKS = []


def block(name, wide, tags, refused=None, image=(3, 8, 8), stem=8):
    def register(build):
        BLOCKS.append((name, build, wide, tags.split(", "), refused, image, stem))
        return build

    return register


def down(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class Tokens(nn.Module):
    """Pixels as tokens for transformer blocks, and their mean as a 1x1 map."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        x = self.body(x.flatten(2).transpose(1, 2))
        return x.mean(1)[:, :, None, None]


class Last(nn.Module):
    """Blocks that want NHWC."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@block("tv-resnet-basic", 12, "ResNet BasicBlock, with and without stride")
def _():
    return nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 12, 2, down(8, 12, 2)))


@block("tv-resnet-bottleneck", 16, "ResNet Bottleneck with stride")
def _():
    return nn.Sequential(Bottleneck(8, 4, 2, down(8, 16, 2)), Bottleneck(16, 4))


@block("tv-resnext", 16, "ResNeXt Bottleneck, grouped")
def _():
    return Bottleneck(8, 4, 1, down(8, 16, 1), groups=4, base_width=64)


@block("tv-resnet-dilated", 8, "ResNet Bottleneck with dilation, MaxPool with padding")
def _():
    return nn.Sequential(nn.MaxPool2d(3, 2, 1), Bottleneck(8, 2, dilation=2))


@block("tv-vgg", 12, "VGG with BatchNorm and MaxPool", stem=3)
def _():
    return vgg.make_layers([8, "M", 12, 12, "M"], batch_norm=True)


@block("tv-mobilenetv2", 12, "MobileNetV2 InvertedResidual, depthwise, ReLU6")
def _():
    return nn.Sequential(mobilenetv2.InvertedResidual(8, 8, 1, 2), mobilenetv2.InvertedResidual(8, 12, 2, 2))


def v3(use_se):
    config = partial(mobilenetv3.InvertedResidualConfig, use_se=use_se, activation="HS", dilation=1, width_mult=1.0)
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
    return nn.Sequential(
        mobilenetv3.InvertedResidual(config(8, 3, 16, 8, stride=1), norm),
        mobilenetv3.InvertedResidual(config(8, 5, 16, 16, stride=2), norm),
    )


@block("tv-mobilenetv3-se", 16, "MobileNetV3 InvertedResidual, HardSwish, squeeze and excite", GATE)
def _():
    return v3(True)


@block("tv-mobilenetv3", 16, "MobileNetV3 InvertedResidual, HardSwish, no squeeze and excite")
def _():
    return v3(False)


@block("tv-densenet", 10, "DenseNet block and transition")
def _():
    return nn.Sequential(
        densenet._DenseBlock(3, 8, 2, 4, 0.0), densenet._Transition(20, 10), nn.BatchNorm2d(10), nn.ReLU()
    )


@block("tv-convnext", 8, "ConvNeXt CNBlock", NORM)
def _():
    return nn.Sequential(convnext.CNBlock(8, 0.5, 0.0))


def mbconv(kind, config):
    return kind(config(2, 3, 1, 8, 8, 1), 0.0, nn.BatchNorm2d)


@block("tv-efficientnet-mbconv", 8, "EfficientNet MBConv, SiLU, squeeze and excite", GATE)
def _():
    return mbconv(efficientnet.MBConv, efficientnet.MBConvConfig)


@block("tv-efficientnet-fused", 8, "EfficientNetV2 FusedMBConv, SiLU")
def _():
    return mbconv(efficientnet.FusedMBConv, efficientnet.FusedMBConvConfig)


def regnet_block(ratio):
    return regnet.ResBottleneckBlock(8, 12, 2, nn.BatchNorm2d, nn.ReLU, 4, 1.0, ratio)


@block("tv-regnetx", 12, "RegNetX ResBottleneckBlock, grouped")
def _():
    return regnet_block(None)


@block("tv-regnety", 12, "RegNetY ResBottleneckBlock, squeeze and excite", GATE)
def _():
    return regnet_block(0.25)


@block("tv-shufflenetv2", 16, "ShuffleNetV2 InvertedResidual: Split, Concat, channel shuffle")
def _():
    return nn.Sequential(shufflenetv2.InvertedResidual(8, 8, 1), shufflenetv2.InvertedResidual(8, 16, 2))


@block("tv-squeezenet", 16, "SqueezeNet Fire, Concat, MaxPool with ceil_mode", image=(3, 9, 9))
def _():
    return nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), squeezenet.Fire(8, 4, 8, 8))


@block("tv-inception", 20, "GoogLeNet Inception, four branches, MaxPool with ceil_mode")
def _():
    return Inception(8, 4, 4, 8, 2, 4, 4)


@block("tv-vit", 8, "ViT EncoderBlock", ATTENTION, image=(3, 4, 4))
def _():
    return Tokens(vision_transformer.EncoderBlock(2, 8, 16, 0.0, 0.0, partial(nn.LayerNorm, eps=1e-6)))


@block("tv-swin", 8, "Swin block with windows of 4", ATTENTION)
def _():
    return Last(swin_transformer.SwinTransformerBlock(8, 2, [4, 4], [0, 0]))


# timm.


@block("timm-resnet-basic", 12, "ResNet BasicBlock")
def _():
    return nn.Sequential(
        timm_resnet.BasicBlock(8, 8), timm_resnet.BasicBlock(8, 12, 2, timm_resnet.downsample_conv(8, 12, 1, 2))
    )


@block("timm-resnet-d", 12, "ResNet-D BasicBlock: average pool with ceil_mode before the shortcut", image=(3, 9, 9))
def _():
    return timm_resnet.BasicBlock(8, 12, 2, timm_resnet.downsample_avg(8, 12, 1, 2))


@block("timm-resnet-bottleneck", 16, "ResNet Bottleneck")
def _():
    return timm_resnet.Bottleneck(8, 4, 2, timm_resnet.downsample_conv(8, 16, 1, 2))


@block("timm-seresnet", 8, "SE-ResNet BasicBlock", GATE)
def _():
    return timm_resnet.BasicBlock(8, 8, attn_layer=partial(timm.layers.SEModule, rd_channels=4))


@block("timm-vgg", 8, "VGG with BatchNorm", stem=3)
def _():
    model = timm_vgg.VGG([8, "M", 8, "M"], num_classes=0, norm_layer=nn.BatchNorm2d, in_chans=3)
    return model.features


@block("timm-densenet", 14, "DenseNet layer")
def _():
    return nn.Sequential(timm_densenet.DenseBlock(2, 8, growth_rate=3, bn_size=2), nn.BatchNorm2d(14), nn.ReLU())


@block("timm-mobilenetv2", 12, "depthwise separable and inverted residual of the EfficientNet family, ReLU6")
def _():
    relu6 = nn.ReLU6
    return nn.Sequential(
        timm_blocks.DepthwiseSeparableConv(8, 8, act_layer=relu6),
        timm_blocks.InvertedResidual(8, 12, stride=2, exp_ratio=2.0, act_layer=relu6),
    )


@block("timm-mobilenet-same", 12, "inverted residual with TensorFlow's padding (tf_* models), SiLU", image=(3, 9, 9))
def _():
    return timm_blocks.InvertedResidual(8, 12, stride=2, exp_ratio=2.0, act_layer=nn.SiLU, pad_type="same")


@block("timm-efficientnet-se", 8, "EfficientNet inverted residual, SiLU, squeeze and excite", GATE)
def _():
    gate = partial(timm_blocks.SqueezeExcite, rd_ratio=0.25)
    return timm_blocks.InvertedResidual(8, 8, exp_ratio=2.0, act_layer=nn.SiLU, se_layer=gate)


@block("timm-convnext", 8, "ConvNeXt block", NORM)
def _():
    return timm_convnext.ConvNeXtBlock(8, ls_init_value=0.5)


@block("timm-convnext-batchnorm", 8, "ConvNeXt-like block with BatchNorm, 7x7 depthwise, GELU, layer scale")
def _():
    return timm_convnext.ConvNeXtBlock(8, ls_init_value=0.5, conv_mlp=True, norm_layer=nn.BatchNorm2d)


@block("timm-regnet", 12, "RegNet bottleneck, grouped")
def _():
    return timm_regnet.Bottleneck(8, 12, 2, group_size=4, se_ratio=0.0)


@block("timm-vit", 8, "ViT block", ATTENTION, image=(3, 4, 4))
def _():
    return Tokens(timm_vit.Block(8, 2, 2.0))


def main():
    version = f"torch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}"
    version += f", timm {timm.__version__}"
    folder = common.HERE / "blocks"
    folder.mkdir(exist_ok=True)
    for suffix in ("compiling", "tracing"):
        zoo = common.Zoo(folder, f"torch-{suffix}", version)
        for name, build, wide, tags, refused, image, stem in BLOCKS:
            if len(sys.argv) > 1 and name not in sys.argv[1:]:
                continue
            torch.manual_seed(torch_parts.seeded(name))
            features = nn.Sequential(*([nn.Conv2d(3, stem, 1)] if stem != 3 else []), build())
            model = Net(features, wide, 4)
            options = {"external_data": False} if suffix == "compiling" else {"opset_version": 17}
            more = {"refused": refused} if refused else {}
            torch_parts.export(zoo, f"{name}.{suffix}", model, model.head, image, ["logits"], False, tags,
                               suffix == "compiling", images=4, more=more, **options)
        zoo.close()


if __name__ == "__main__":
    main()
