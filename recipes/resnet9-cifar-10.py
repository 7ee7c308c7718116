"""Trains resnet9 on CIFAR-10: a GELU teacher, then from its weights a student with quadratics, exported as ONNX.

    pip install torch numpy onnx
    python recipes/resnet9-cifar-10.py teacher --data data/cifar-10 --out teacher.pt
    python recipes/resnet9-cifar-10.py student --data data/cifar-10 --teacher teacher.pt --out student.pt
    python recipes/resnet9-cifar-10.py export --checkpoint student.pt --out resnet9-cifar-10.onnx

Why PyTorch: bfloat16 on the processor's own instructions trains this network several times as fast as this repository's trainer. The
first layer is a fixed whitening of 2x2 patches; filters are trained by orthogonalized momentum (Muon), after Keller Jordan, "94% on
CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498). Both trainings resume from `--out` when they are started again. Test images
are looked at once, after the last epoch. What came of it: docs/notes/deep-networks.md.
"""

import argparse
import pathlib
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn

HELD_OUT = 1000
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Polynomial(torch.autograd.Function):
    """a x² + b x + c, in one pass each way; sums over the batch are matrix products, which accumulate in single precision."""

    @staticmethod
    def forward(ctx, x, a, b, c):
        ctx.save_for_backward(x, a, b)
        return torch.addcmul(c, torch.addcmul(b, a, x), x)

    @staticmethod
    def backward(ctx, g):
        x, a, b = ctx.saved_tensors
        gx = g * x

        def total(t):
            n, c, h, w = t.shape
            sums = (t.new_ones(1, n) @ t.permute(0, 2, 3, 1).reshape(n, -1)).reshape(1, h, w, c).permute(0, 3, 1, 2)
            return sums if a.shape[2:] == t.shape[2:] else sums.sum((2, 3), keepdim=True)

        return g * torch.addcmul(b, a, x, value=2), total(gx * x), total(gx), total(g)


class Quadratic(nn.Module):
    """a x² + b x + c with its own coefficients for every channel, or every element; a GELU fades out of it while `blend` < 1."""

    def __init__(self, shape):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(1, *shape)) for _ in range(3))
        self.blend, self.limit, self.penalty = 1.0, None, 0.0

    def forward(self, x):
        if self.limit is not None:
            # Image by image, so that one that leaves the range counts, however few of its elements do.
            beyond = F.relu(x.abs() - self.limit).square().flatten(1).sum(1, dtype=torch.float32)
            self.penalty = ((1 + beyond).sqrt() - 1).mean()
            # Else the squares of few images would make up the statistics of the batch.
            x = x.clamp(-2 * self.limit, 2 * self.limit)
        a, b, c = (p.to(x.dtype) for p in (self.a, self.b, self.c))
        y = Polynomial.apply(x, a, b, c) if self.training else (a * x + b) * x + c
        return y if self.blend == 1.0 else torch.lerp(F.gelu(x), y, self.blend)

    def project(self):
        with torch.no_grad():
            self.a.clamp_(0.01, 1.0)
            self.b.clamp_(-1.0, 1.5)


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


def network(activation):
    """The layers; `activation` is gelu, channel or element."""

    def act(channels, size):
        return {
            "gelu": lambda: nn.GELU(),
            "channel": lambda: Quadratic((channels, 1, 1)),
            "element": lambda: Quadratic((channels, size, size)),
        }[activation]()

    def unit(inputs, outputs, size, halve=False):
        # Four by four at stride two holds every three by three convolution that is followed by average pooling.
        convolution = nn.Conv2d(inputs, outputs, 4 if halve else 3, 2 if halve else 1, 1, bias=False)
        if not halve:
            nn.init.dirac_(convolution.weight[:inputs])
        else:
            with torch.no_grad():
                convolution.weight.zero_()
                convolution.weight[torch.arange(inputs), torch.arange(inputs), 1:3, 1:3] = 0.25
                convolution.weight[inputs:].copy_(torch.randn_like(convolution.weight[inputs:]) / (16 * inputs) ** 0.5)
        norm = nn.BatchNorm2d(outputs)
        norm.weight.requires_grad_(False)
        return [convolution, norm, act(outputs, size)]

    stem = nn.Conv2d(3, 24, 2)
    stem.weight.requires_grad_(False)
    return nn.Sequential(
        stem,
        act(24, 31),
        *unit(24, 64, 15, halve=True),
        *unit(64, 64, 15),
        *unit(64, 256, 7, halve=True),
        *unit(256, 256, 7),
        *unit(256, 256, 3, halve=True),
        Residual(nn.Sequential(*unit(256, 256, 3), *unit(256, 256, 3))),
        nn.AvgPool2d(3),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def whiten(stem, images):
    """Sets the first layer to the principal directions of 2x2 patches, each to unit variance, and their opposites."""
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    patches = F.unfold((images.float() / 255 - mean) / deviation, 2).transpose(1, 2).reshape(-1, 12).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + 1e-2).sqrt()).T.flip(0).float().view(12, 3, 2, 2)
    filters = torch.cat((filters, -filters)) / deviation
    with torch.no_grad():
        stem.weight.copy_(filters)
        stem.bias.copy_(-(filters * mean).sum((1, 2, 3)))


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose step is made orthogonal, on filters of fixed norm (Jordan et al. 2024)."""

    def __init__(self, parameters, momentum):
        super().__init__(parameters, {"lr": 0.0, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(group["momentum"]).add_(p.grad)
                step = p.grad.add(velocity, alpha=group["momentum"]).flatten(1)
                p.mul_(len(p) ** 0.5 / p.norm())
                p.add_(orthogonal(step).view(p.shape), alpha=-group["lr"])


def orthogonal(matrix, iterations=4):
    """About the nearest semi-orthogonal matrix, by an odd polynomial that takes singular values towards one."""
    x = (matrix / (matrix.norm() + 1e-7)).bfloat16()
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.float()


def fit(student, teacher, images, device):
    """Sets every quadratic to the least-squares fit of GELU on what the teacher's activation of that channel gets."""
    gelus = [m for m in teacher.modules() if isinstance(m, nn.GELU)]
    for gelu, quadratic in zip(gelus, quadratics(student)):
        seen = []
        hook = gelu.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float()))
        logits_of(teacher, images, device)
        hook.remove()
        x = torch.cat(seen).transpose(0, 1).flatten(1).double()
        powers = torch.stack((x.square(), x, torch.ones_like(x)), 2)
        solution = torch.linalg.solve(powers.mT @ powers, powers.mT @ F.gelu(x)[:, :, None])[:, :, 0].float()
        with torch.no_grad():
            for p, values in zip((quadratic.a, quadratic.b, quadratic.c), solution.T):
                p.copy_(values.view(1, -1, 1, 1).expand_as(p))
        quadratic.project()


def quadratics(net):
    return [m for m in net.modules() if isinstance(m, Quadratic)]


def read(folder, names):
    records = numpy.concatenate([numpy.fromfile(folder / name, numpy.uint8).reshape(-1, 3073) for name in names])
    return torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(records[:, 0].astype(numpy.int64))


def augmented(images, flip, options, generator):
    """Reflection where asked, random shifts, and for some images contrast beyond the camera's; pixels in [0, 1]."""
    count, reach = len(images), options.shift
    rows = torch.randint(0, 2 * reach + 1, (count, 1), generator=generator) + torch.arange(32)
    columns = torch.randint(0, 2 * reach + 1, (count, 1), generator=generator) + torch.arange(32)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    at = torch.arange(count)[:, None, None]
    padded = F.pad(images.float(), (reach,) * 4, mode="reflect").permute(0, 2, 3, 1)
    x = (padded[at, rows[:, :, None], columns[:, None, :]] / 255).permute(0, 3, 1, 2)
    if options.stretch > 0:
        chosen = torch.rand(count, generator=generator) < options.stretch
        gain = (1.2 * torch.rand((count, 1, 1, 1), generator=generator)).exp()
        shift = 0.4 * torch.rand((count, 1, 1, 1), generator=generator) - 0.2
        x[chosen] = ((x - 0.5) * gain + 0.5 + shift)[chosen].clamp(0, 1)
    return x


def logits_of(net, images, device):
    net.eval()
    with torch.no_grad():
        return torch.cat([net(part.float().div(255).to(device)).float().cpu() for part in images.split(500)])


def report(name, logits, labels):
    largest = logits.abs().amax(1).sort().values
    right = (logits.argmax(1) == labels).float().mean()
    return f"{name} {right:.4f}, largest logit of an image: median {largest[len(largest) // 2]:.1f}, at most {largest[-1]:.4g}"


def train(options, net, teacher):
    device = options.device
    images, labels = read(options.data, [f"data_batch_{i}.bin" for i in range(1, 6)])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held, kept = order[:HELD_OUT], order[HELD_OUT:]
    generator = torch.Generator().manual_seed(options.seed)
    if teacher is None:
        whiten(net[0], images[kept[:5000]])
    else:
        fit(net, teacher, images[kept[:200]], device)
    net = net.to(device, memory_format=torch.channels_last)
    coefficients = [p for q in quadratics(net) for p in q.parameters()]
    filters = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d) and m.weight.requires_grad]
    others = [p for p in net.parameters() if p.requires_grad and not any(p is q for q in filters + coefficients)]
    optimizers = [
        (Muon(filters, momentum=0.8), options.rate),
        (torch.optim.Adam(others, betas=(0.9, 0.99)), options.rate / 10),
    ]
    if coefficients:
        optimizers.append((torch.optim.Adam(coefficients, eps=1e-6, betas=(0.9, 0.99)), options.rate / 40))
    steps = len(kept) // options.batch
    flips = torch.rand(len(images), generator=torch.Generator().manual_seed(options.seed)) < 0.5
    first = 0
    if options.out.exists():
        state = torch.load(options.out)
        net.load_state_dict(state["net"])
        for (optimizer, _), saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        generator.set_state(state["generator"])
        first = state["epoch"]
    for epoch in range(first, options.epochs):
        began, losses, penalties, right = time.time(), 0.0, 0.0, 0
        net.train()
        shuffled = kept[torch.randperm(len(kept), generator=generator)]
        for step, part in enumerate(shuffled[: steps * options.batch].split(options.batch)):
            progress = (epoch * steps + step) / (options.epochs * steps)
            warm = min(1.0, (epoch * steps + step + 1) / (options.warmup * steps))
            for optimizer, peak in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = peak * warm * (1 - progress)
            for q in quadratics(net):
                q.blend = min(1.0, progress * options.epochs / options.blend)
                q.limit = options.range_limit
            x = augmented(images[part], flips[part] ^ (epoch % 2 == 1), options, generator)
            x = x.to(device, memory_format=torch.channels_last)
            y = labels[part].to(device)
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = net(x).float()
                if teacher is not None:
                    with torch.no_grad():
                        target = F.softmax(teacher(x).float() / options.temperature, 1)
            loss = F.cross_entropy(logits, y, label_smoothing=options.smoothing)
            if teacher is not None:
                soft = F.kl_div(F.log_softmax(logits / options.temperature, 1), target, reduction="batchmean")
                loss = (1 - options.distill) * loss + options.distill * options.temperature**2 * soft
            penalty = sum((q.penalty for q in quadratics(net)), torch.zeros(()))
            (loss + options.range_penalty * penalty).backward()
            if not torch.isfinite(loss):
                raise SystemExit(f"the loss is {loss.item()} in epoch {epoch + 1}")
            for optimizer, _ in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            for q in quadratics(net):
                q.project()
            losses, penalties = losses + loss.item(), penalties + penalty.item()
            right += (logits.argmax(1) == y).sum().item()
        for q in quadratics(net):
            q.blend, q.limit = min(1.0, (epoch + 1) / options.blend), None
        print(
            f"epoch {epoch + 1}/{options.epochs}: loss {losses / steps:.4f}, range penalty {penalties / steps:.3f}, "
            f"training {right / steps / options.batch:.4f}, "
            f"{report('held out', logits_of(net, images[held], device), labels[held])}, {time.time() - began:.0f} s",
            flush=True,
        )
        state = {
            "net": net.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer, _ in optimizers],
            "generator": generator.get_state(),
            "epoch": epoch + 1,
            "activation": options.activation,
        }
        torch.save(state, f"{options.out}.part")
        pathlib.Path(f"{options.out}.part").rename(options.out)
    print(report("training images:", logits_of(net, images, device), labels))
    test, labels = read(options.data, ["test_batch.bin"])
    print(report("test images:", logits_of(net, test, device), labels))


def loaded(path):
    state = torch.load(path)
    net = network(state["activation"])
    net.load_state_dict(state["net"])
    return net.eval()


def fused(net):
    """The network with every batch normalization taken into the convolution before it."""
    for module in net.modules():
        if isinstance(module, nn.Sequential):
            for i in range(len(module) - 1):
                if isinstance(module[i + 1], nn.BatchNorm2d):
                    module[i] = nn.utils.fusion.fuse_conv_bn_eval(module[i], module[i + 1])
                    module[i + 1] = nn.Identity()
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("teacher", "student"):
        p = verbs.add_parser(verb)
        p.add_argument("--data", type=pathlib.Path, required=True, help="folder of CIFAR-10's binary files")
        p.add_argument("--out", type=pathlib.Path, required=True, help="checkpoint, written after every epoch")
        p.add_argument("--seed", type=int, default=1)
        p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        teacher = verb == "teacher"
        p.add_argument("--batch", type=int, default=500 if teacher else 250)
        p.add_argument("--epochs", type=int, default=10 if teacher else 15)
        p.add_argument("--rate", type=float, default=0.12 if teacher else 0.05, help="of filters; others follow it")
        p.add_argument("--warmup", type=float, default=0.5 if teacher else 1.0)
        p.add_argument("--smoothing", type=float, default=0.2 if teacher else 0.1)
        p.add_argument("--shift", type=int, default=3)
        p.add_argument("--stretch", type=float, default=0.0 if teacher else 0.05, help="share of images with contrast stretched")
        p.set_defaults(activation="gelu", blend=1.0, range_limit=4.0, range_penalty=0.0)
        if not teacher:
            p.add_argument("--teacher", type=pathlib.Path, required=True)
            p.add_argument("--activation", choices=("channel", "element"), default="element")
            p.add_argument("--distill", type=float, default=0.7, help="weight of the teacher against the labels")
            p.add_argument("--temperature", type=float, default=2.0)
            p.add_argument("--range-penalty", type=float, default=0.1)
    p = verbs.add_parser("export")
    p.add_argument("--checkpoint", type=pathlib.Path, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()

    if options.verb == "export":
        net = fused(loaded(options.checkpoint))
        for p in net.parameters():
            # Half precision loses nothing that integer weights keep, and halves the model file.
            p.data = p.data.half().float()
        torch.onnx.export(net, torch.zeros(1, 3, 32, 32), options.out, dynamo=False)
    elif options.verb == "teacher":
        torch.manual_seed(options.seed)
        train(options, network("gelu"), None)
    else:
        torch.manual_seed(options.seed)
        teacher = loaded(options.teacher).to(options.device, memory_format=torch.channels_last)
        net = network(options.activation)
        net.load_state_dict(teacher.state_dict(), strict=False)
        train(options, net, teacher)


if __name__ == "__main__":
    main()
