"""Small blocks of the zoo's PyTorch networks, written as people write them."""

import torch
from torch import nn
from torch.nn import functional as F

from torch_parts import Quadratic, Square


def conv_bn(inputs, outputs, kernel=3, act=nn.ReLU, **options):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options),
        nn.BatchNorm2d(outputs),
        act(),
    )


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride=1, act=nn.ReLU):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1, self.act2 = act(), act()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        out = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(out + self.shortcut(x))


class Inverted(nn.Module):
    """MobileNetV2's inverted residual."""

    def __init__(self, inputs, outputs, stride=1, expand=2, act=nn.ReLU6):
        super().__init__()
        wide = inputs * expand
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            conv_bn(inputs, wide, 1, act),
            conv_bn(wide, wide, 3, act, stride=stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth, act=nn.ReLU):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.act = act()
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(self.act(self.norm(x)))], 1)


class Net(nn.Module):
    """Features, then one of the usual ways to a vector, then the head."""

    def __init__(self, features, wide, classes, pool="adaptive", end=None):
        super().__init__()
        self.features = features
        self.pool, self.end = pool, end
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(wide, classes)

    def forward(self, x):
        x = self.features(x)
        if self.pool == "adaptive":
            x = torch.flatten(self.gap(x), 1)
        elif self.pool == "mean":
            x = x.mean([2, 3])
        elif self.pool == "mean-twice":
            x = x.mean(3).mean(2)
        elif self.pool == "squeeze":
            x = self.gap(x).squeeze(-1).squeeze(-1)
        elif self.pool == "view":
            x = x.view(x.size(0), -1)
        elif self.pool == "reshape":
            x = x.reshape(-1, self.head.in_features)
        elif self.pool == "flatten":
            x = torch.flatten(x, 1)
        x = self.head(self.drop(x))
        if self.end == "sigmoid":
            return torch.sigmoid(x)
        if self.end == "softmax":
            return F.softmax(x, dim=1)
        if self.end == "log-softmax":
            return F.log_softmax(x, dim=-1)
        if self.end == "squeeze":
            return x.squeeze(1)
        return x


class Difference(nn.Module):
    """Differences and scaled sums of branches; the head is a 1x1 convolution, squeezed."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.left = nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(4, 4, (4, 2)))
        self.right = nn.Conv2d(4, 4, 1)
        self.act1 = Quadratic(4, 1, 1, form="factored")
        self.act2 = Quadratic(1, form="product")
        self.down = nn.Conv2d(4, 6, 3, 2, 1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = self.act1(self.stem(x))
        x = 0.75 * self.left(x) - self.right(x) * 0.5
        x = self.act2(self.down(x) / 2)
        x = 1.5 - x
        x = F.adaptive_avg_pool2d(x, 1)
        return self.head(x).squeeze(-1).squeeze(-1)


class TwoOutputs(nn.Module):
    """Logits and the vector before them, as networks for retrieval give."""

    def __init__(self, act, end=None):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3, 2, 1), act, nn.Conv2d(6, 8, 3, 2, 1), nn.Flatten(), nn.Linear(32, 8), nn.Sigmoid()
        )
        self.head = nn.Linear(8, 3)
        self.other = nn.Linear(8, 2)
        self.end = end

    def forward(self, x):
        vector = self.body(x)
        logits = self.head(vector)
        if self.end == "heads":
            return logits, torch.softmax(self.other(vector), 1)
        return logits, vector


class HalfWeights(nn.Module):
    """Weights stored in half precision and cast where they are used."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, 2, 1)
        self.conv2 = nn.Conv2d(6, 8, 3, 2, 1)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.conv.weight.float(), self.conv.bias.float(), 2, 1))
        x = F.relu(F.conv2d(x, self.conv2.weight.float(), self.conv2.bias.float(), 2, 1))
        if self.head.weight.dtype == torch.float:
            return self.head(x.flatten(1))
        return F.linear(x.flatten(1), self.head.weight.float(), self.head.bias.float())


class QuantizedConv(nn.Conv2d):
    """Weights through quantize and dequantize, per output channel, as after quantization-aware training."""

    def forward(self, x):
        weight = self.weight.detach()
        scale = weight.abs().amax((1, 2, 3)) / 127
        zero = torch.zeros_like(scale, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(weight, self.scale if hasattr(self, "scale") else scale,
                                                        zero, 0, -128, 127)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)

    def freeze(self):
        self.register_buffer("scale", self.weight.detach().abs().amax((1, 2, 3)) / 127)


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(1, 6, 3, stride=2),
            Square(),
            nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1),
            Square(),
            nn.AvgPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(64, 4)

    def forward(self, x):
        return F.log_softmax(self.head(self.body(x)), dim=1)
