"""Trains patch5 on medical images of 28x28 or 64x64: a ReLU teacher, then from its weights a student with quadratics, exported as ONNX.

    pip install torch numpy onnx
    python recipes/patch5.py teacher --data data/blood-cells/blood_cells_64.npz --kind cells --out teacher.pt
    python recipes/patch5.py student --data data/blood-cells/blood_cells_64.npz --kind cells --teacher teacher.pt --out student.pt
    python recipes/patch5.py export --checkpoint student.pt --out patch5-blood-cells.onnx

The first layer takes patches of 4x4 (2x2 of small images), so that the first squares, the dearest of an encrypted evaluation, have few
elements. The weights are averaged over the last few hundred steps. Nothing is chosen on images: not the epoch, nor anything by `--test`.
"""

import argparse
import pathlib
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn


class Quadratic(nn.Module):
    """a x² + b x + c with coefficients for every channel or element; the teacher's ReLU fades out of it while `blend` < 1."""

    def __init__(self, shape):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(1, *shape)) for _ in range(3))
        self.blend, self.limit, self.penalty = 1.0, None, 0.0

    def forward(self, x):
        if self.limit is not None:
            # Image by image, so that one that leaves the range counts, however few of its elements do.
            beyond = F.relu(x.abs() - self.limit).square().flatten(1).sum(1, dtype=torch.float32)
            self.penalty = ((1 + beyond).sqrt() - 1).mean()
            x = x.clamp(-2 * self.limit, 2 * self.limit)
        a, b, c = (p.to(x.dtype) for p in (self.a, self.b, self.c))
        y = torch.addcmul(c, torch.addcmul(b, a, x), x)
        return y if self.blend == 1.0 else torch.lerp(F.relu(x), y, self.blend)

    def project(self):
        with torch.no_grad():
            self.a.clamp_(0.01, 1.0)
            self.b.clamp_(-1.0, 1.5)


def network(activation, channels, side, classes, widths, overlap=False):
    patch = 4 if side > 32 else 2
    stem = (2 * patch, patch, patch // 2) if overlap else (patch, patch, 0)
    sizes = [side // patch] * 2
    sizes += [(sizes[1] + 2 - 4) // 2 + 1] * 2
    sizes += [(sizes[3] + 2 - 4) // 2 + 1]

    def act(width, size):
        return {
            "relu": lambda: nn.ReLU(),
            "channel": lambda: Quadratic((width, 1, 1)),
            "element": lambda: Quadratic((width, size, size)),
        }[activation]()

    def unit(inputs, outputs, size, kernel, stride, padding):
        norm = nn.BatchNorm2d(outputs)
        norm.weight.requires_grad_(False)
        return [nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), norm, act(outputs, size)]

    a, b, c, d, e = widths
    return nn.Sequential(
        *unit(channels, a, sizes[0], *stem),
        *unit(a, b, sizes[1], 3, 1, 1),
        *unit(b, c, sizes[2], 4, 2, 1),
        *unit(c, d, sizes[3], 3, 1, 1),
        *unit(d, e, sizes[4], 4, 2, 1),
        nn.AvgPool2d(sizes[4]),
        nn.Flatten(),
        nn.Linear(e, classes),
    )


def quadratics(net):
    return [m for m in net.modules() if isinstance(m, Quadratic)]


def fit(student, teacher, x):
    """Sets every quadratic to the least-squares fit of the teacher's activation on what that activation gets, channel by channel."""
    seen = []
    hooks = [m.register_forward_hook(lambda _, i, o: seen.append((i[0], o))) for m in teacher.modules() if isinstance(m, nn.ReLU)]
    teacher.eval()
    with torch.no_grad():
        teacher(x)
    for hook in hooks:
        hook.remove()
    for (x, y), quadratic in zip(seen, quadratics(student)):
        x, y = (t.transpose(0, 1).flatten(1).double() for t in (x, y))
        powers = torch.stack((x.square(), x, torch.ones_like(x)), 2)
        solution = torch.linalg.solve(powers.mT @ powers, powers.mT @ y[:, :, None])[:, :, 0].float()
        with torch.no_grad():
            for p, values in zip((quadratic.a, quadratic.b, quadratic.c), solution.T):
                p.copy_(values.view(1, -1, 1, 1).expand_as(p))
        quadratic.project()


def read(path):
    arrays = numpy.load(path)
    parts = {}
    for part in ("train", "val", "test"):
        images = torch.from_numpy(arrays[f"{part}_images"])
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
        parts[part] = images.contiguous(), torch.from_numpy(arrays[f"{part}_labels"].astype(numpy.int64)).flatten()
    return parts


def augmented(images, kind, generator):
    """Random reflections, turns, sizes, places and contrasts, as far as the kind of image allows; pixels in [0, 1]."""
    count, channels = images.shape[:2]

    def spread(low, high, *shape):
        return low + (high - low) * torch.rand(shape or (count,), generator=generator)

    cells = kind == "cells"
    angle = spread(-3.1416, 3.1416) if cells else spread(-0.2, 0.2)
    size = spread(0.85, 1.15) if cells else spread(0.8, 1.1)
    mirror = 1.0 - 2.0 * (torch.rand(count, generator=generator) < 0.5).float()
    reach = 0.08 if cells else 0.12
    matrix = torch.stack(
        (
            torch.stack((mirror * size * angle.cos(), -size * angle.sin(), spread(-reach, reach)), 1),
            torch.stack((mirror * size * angle.sin(), size * angle.cos(), spread(-reach, reach)), 1),
        ),
        1,
    )
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    x = F.grid_sample(images.float() / 255, grid, padding_mode="reflection" if cells else "border", align_corners=False)
    strength = 0.15 if cells else 0.25
    gain = spread(1 - strength, 1 + strength, count, channels if cells else 1, 1, 1)
    shift = spread(-strength / 3, strength / 3, count, channels if cells else 1, 1, 1)
    if not cells:
        x = x.clamp_min(1e-3).pow(spread(-0.4, 0.4, count, 1, 1, 1).exp())
    return ((x - 0.5) * gain + 0.5 + shift).clamp(0, 1)


def logits_of(net, images, views=1):
    net.eval()
    with torch.no_grad():
        out = torch.cat([net(part.float().div(255)).float() for part in images.split(250)])
        if views == 2:
            out = (out + torch.cat([net(part.flip(3).float().div(255)).float() for part in images.split(250)])) / 2
        return out


def area(score, positive):
    """Area under the ROC curve; ties count half."""
    order = score.double()
    p, n = order[positive], order[~positive]
    return ((p[:, None] > n).double().mean() + (p[:, None] == n).double().mean() / 2).item()


def report(name, logits, labels):
    largest = logits.abs().amax(1)
    right = logits.argmax(1) == labels
    classes = labels.unique()
    balanced = torch.stack([right[labels == c].float().mean() for c in classes]).mean()
    text = f"{name} {right.float().mean():.4f} balanced {balanced:.4f}"
    if len(classes) == 2:
        text += f" auc {area(logits[:, 1] - logits[:, 0], labels == 1):.4f}"
    return f"{text} largest logit {largest.median():.1f} median, {largest.max():.1f}"


def train(options, parts, net, teacher):
    images, labels = parts["train"]
    generator = torch.Generator().manual_seed(options.seed)
    deviation = images.float().div(255).std((0, 2, 3))
    if teacher is not None:
        fit(net, teacher, images[:300].float().div(255))
    else:
        # Normalizing pixels is left to the first layer.
        with torch.no_grad():
            net[0].weight.div_(deviation.view(1, -1, 1, 1))
    coefficients = [p for q in quadratics(net) for p in q.parameters()]
    others = [p for p in net.parameters() if p.requires_grad and not any(p is q for q in coefficients)]
    groups = [{"params": others, "weight_decay": options.decay, "peak": options.rate}]
    if coefficients:
        groups.append({"params": coefficients, "weight_decay": 0.0, "peak": options.rate})
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99))
    steps = len(images) // options.batch
    total = options.epochs * steps
    average = {k: v.clone() for k, v in net.state_dict().items()}
    for epoch in range(options.epochs):
        began, losses, penalties = time.time(), 0.0, 0.0
        net.train()
        shuffled = torch.randperm(len(images), generator=generator)
        for step, part in enumerate(shuffled[: steps * options.batch].split(options.batch)):
            at = epoch * steps + step
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * min(1.0, (at + 1) / (2 * steps)) * (1 - at / total)
            for q in quadratics(net):
                q.blend, q.limit = min(1.0, at / (options.blend * steps)), options.range_limit
            x = augmented(images[part], options.kind, generator)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bfloat):
                logits = net(x).float()
                if teacher is not None:
                    with torch.no_grad():
                        target = F.softmax(teacher(x).float() / options.temperature, 1)
            loss = F.cross_entropy(logits, labels[part], label_smoothing=options.smoothing)
            if teacher is not None:
                soft = F.kl_div(F.log_softmax(logits / options.temperature, 1), target, reduction="batchmean")
                loss = (1 - options.distill) * loss + options.distill * options.temperature**2 * soft
            penalty = sum((q.penalty for q in quadratics(net)), torch.zeros(()))
            optimizer.zero_grad()
            (loss + options.range_penalty * penalty).backward()
            if not torch.isfinite(loss):
                raise SystemExit(f"the loss is {loss.item()} in epoch {epoch + 1}")
            nn.utils.clip_grad_norm_(others, 2.0)
            optimizer.step()
            for q in quadratics(net):
                q.project()
            keep = min(options.average, (at + 1) / (at + 10))
            for k, v in net.state_dict().items():
                if v.is_floating_point():
                    average[k].lerp_(v, 1 - keep)
                else:
                    average[k].copy_(v)
            losses, penalties = losses + loss.item(), penalties + penalty.item()
        for q in quadratics(net):
            q.limit = None
        if epoch % 5 == 4 or epoch == options.epochs - 1:
            val = report("validation", logits_of(net, parts["val"][0]), parts["val"][1])
            print(f"epoch {epoch + 1}: loss {losses / steps:.4f} penalty {penalties / steps:.3f} {val}, {time.time() - began:.1f} s", flush=True)
    net.load_state_dict(average)
    for q in quadratics(net):
        q.blend = 1.0
    print(report("averaged: validation", logits_of(net, parts["val"][0]), parts["val"][1]))
    print(report("averaged: training", logits_of(net, images), labels))
    if options.test:
        for views in (1, 2):
            print(report(f"test, {views} view(s)", logits_of(net, parts["test"][0], views), parts["test"][1]))
    torch.save({"net": net.state_dict(), "activation": options.activation, "shape": options.shape}, options.out)


def loaded(path):
    state = torch.load(path)
    net = network(state["activation"], *state["shape"])
    net.load_state_dict(state["net"])
    return net.eval(), state["shape"]


def fused(net):
    """The network with every batch normalization taken into the convolution before it."""
    for i in range(len(net) - 1):
        if isinstance(net[i + 1], nn.BatchNorm2d):
            net[i] = nn.utils.fusion.fuse_conv_bn_eval(net[i], net[i + 1])
            net[i + 1] = nn.Identity()
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("teacher", "student"):
        p = verbs.add_parser(verb)
        teacher = verb == "teacher"
        p.add_argument("--data", type=pathlib.Path, required=True, help="an .npz in MedMNIST's layout, 64x64")
        p.add_argument("--kind", choices=("cells", "chest"), required=True, help="what changes of an image keep its meaning")
        p.add_argument("--out", type=pathlib.Path, required=True)
        p.add_argument("--seed", type=int, default=1)
        p.add_argument("--batch", type=int, default=64)
        p.add_argument("--epochs", type=int, default=60)
        p.add_argument("--rate", type=float, default=2e-3 if teacher else 1e-3)
        p.add_argument("--decay", type=float, default=0.05)
        p.add_argument("--smoothing", type=float, default=0.1)
        p.add_argument("--average", type=float, default=0.995)
        p.add_argument("--bfloat", action="store_true", help="half precision, for processors that have it")
        p.add_argument("--test", action="store_true", help="print the accuracy on test images after the last epoch")
        p.set_defaults(blend=1.0, range_limit=4.0, range_penalty=0.0)
        if teacher:
            p.set_defaults(activation="relu")
            p.add_argument("--widths", type=int, nargs=5, default=(24, 48, 96, 96, 160))
            p.add_argument("--overlap", action="store_true", help="patches twice as wide and high, at the same distance")
        else:
            p.add_argument("--teacher", type=pathlib.Path, required=True)
            p.add_argument("--activation", choices=("channel", "element"), default="element")
            p.add_argument("--distill", type=float, default=0.7)
            p.add_argument("--temperature", type=float, default=2.0)
            p.add_argument("--range-penalty", type=float, default=0.1)
    p = verbs.add_parser("export")
    p.add_argument("--checkpoint", type=pathlib.Path, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    if options.verb == "export":
        net, shape = loaded(options.checkpoint)
        net = fused(net)
        for p in net.parameters():
            # Half precision loses nothing that integer weights keep, and halves the model file.
            p.data = p.data.half().float()
        # The softmax says what the outputs are: with it, import needs no --scores.
        net = nn.Sequential(net, nn.Softmax(1))
        torch.onnx.export(net, torch.zeros(1, shape[0], shape[1], shape[1]), options.out, dynamo=False)
        return
    torch.manual_seed(options.seed)
    parts = read(options.data)
    if options.verb == "teacher":
        options.shape = (*parts["train"][0].shape[1:3], int(parts["train"][1].max()) + 1, tuple(options.widths), options.overlap)
        train(options, parts, network(options.activation, *options.shape), None)
    else:
        teacher, options.shape = loaded(options.teacher)
        net = network(options.activation, *options.shape)
        net.load_state_dict(teacher.state_dict(), strict=False)
        train(options, parts, net, teacher)


if __name__ == "__main__":
    main()
