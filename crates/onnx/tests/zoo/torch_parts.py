"""Parts that the PyTorch generators share: quadratics, calibration, export by either exporter."""

import numpy as np
import torch
from torch import nn

import common


class Square(nn.Module):
    def forward(self, x):
        return x**2


class Quadratic(nn.Module):
    """a x^2 + b x + c with coefficients per layer (), channel (C, 1, 1) or element (C, H, W)."""

    def __init__(self, *shape, form="power"):
        super().__init__()
        self.form = form
        self.a = nn.Parameter(0.1 + 0.05 * torch.rand(shape))
        self.b = nn.Parameter(0.5 + 0.2 * torch.rand(shape))
        self.c = nn.Parameter(0.1 * torch.randn(shape))

    def forward(self, x):
        if self.form == "power":
            return self.a * x**2 + self.b * x + self.c
        if self.form == "product":
            return self.a * x * x + self.b * x + self.c
        return x * (self.a * x + self.b) + self.c


class Shuffle(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        n, c, h, w = x.shape
        x = x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2)
        return x.reshape(n, c, h, w)


def seeded(name):
    return sum(ord(letter) * (index + 1) for index, letter in enumerate(name))


def calibrate(model, head, image, seed):
    """Batch normalization gets the statistics of random images, `head` logits of a useful size."""
    batch = torch.from_numpy(common.images(seed + 1, 64, *image))
    norms = [part for part in model.modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.6, 1.4)
            nn.init.normal_(norm.bias, 0.0, 0.2)
        norm.momentum = None
    model.train()
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    with torch.no_grad():
        model(batch)
        model.eval()
        seen = []
        hook = head.register_forward_hook(lambda _m, _i, out: seen.append(out))
        model(batch)
        hook.remove()
        logits = seen[0].transpose(0, 1).flatten(1)
        factor = 2.0 / logits.std(dim=1).clamp_min(1e-4)
        middle = logits.mean(dim=1)
        head.weight *= factor.reshape(-1, *[1] * (head.weight.dim() - 1))
        old = head.bias if head.bias is not None else 0.0
        if head.bias is not None:
            head.bias.copy_((old - middle) * factor + 0.3 * torch.randn(len(middle)))


def export(zoo, name, model, head, image, ends, polynomial, tags, dynamo, dynamic=False, cast=None,
           images=common.IMAGES, more=None, **options):
    seed = seeded(name)
    calibrate(model, head, image, seed)
    if cast is not None:
        cast(model)
    example = torch.from_numpy(common.images(seed + 2, 2 if dynamic else 1, *image))
    path = zoo.path(name)
    if dynamo:
        if dynamic:
            options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(model, (example,), str(path), dynamo=True, verbose=False, **options)
    else:
        if dynamic:
            outputs = [f"output{i}" for i in range(len(ends))]
            options |= {
                "input_names": ["input"],
                "output_names": outputs,
                "dynamic_axes": {key: {0: "batch"} for key in ["input", *outputs]},
            }
        torch.onnx.export(model, example, str(path), dynamo=False, **options)
    inputs = common.images(seed, images, *image)
    zoo.add(name, inputs, image, "NCHW", ends, polynomial, tags, **(more or {}))
    with torch.no_grad():
        found = model(torch.from_numpy(inputs))
    first = found if isinstance(found, torch.Tensor) else found[0]
    stored = np.fromfile(zoo.folder / f"{name}.f32", "<f4")[inputs.size :][: first.numel()]
    error = abs(stored - first.float().numpy().ravel()).max() / max(1e-3, abs(stored).max())
    assert error < 1e-4, f"{name}: PyTorch and ONNX Runtime differ by {error}"
