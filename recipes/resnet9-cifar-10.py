"""Trains resnet9 on CIFAR-10: a ReLU teacher, then from its weights a student with quadratics, exported as ONNX.

    pip install torch numpy onnx
    python recipes/resnet9-cifar-10.py teacher --data data/cifar-10 --out teacher.pt
    python recipes/resnet9-cifar-10.py student --data data/cifar-10 --teacher teacher.pt --out student.pt
    python recipes/resnet9-cifar-10.py export --checkpoint student.pt --out resnet9.onnx

Why PyTorch: bfloat16 on the processor's own instructions trains this network 2.4 times as fast as this repository's trainer. Both
trainings resume from `--out` when they are started again. Test images are looked at once, after the last epoch. What came of it, and why
no model of it is committed yet: docs/notes/deep-networks.md.
"""

import argparse
import copy
import math
import pathlib
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn

# The least-squares fit of ReLU by a quadratic under a normal distribution.
CURVATURE, SLOPE, OFFSET = 0.19947114, 0.5, 0.19947114
HELD_OUT = 1000


class Quadratic(nn.Module):
    """a x² + b x + c with its own coefficients for every channel, or every element; a ReLU fades out of it while `blend` < 1."""

    def __init__(self, shape):
        super().__init__()
        self.a = nn.Parameter(torch.full((1, *shape), CURVATURE))
        self.b = nn.Parameter(torch.full((1, *shape), SLOPE))
        self.c = nn.Parameter(torch.full((1, *shape), OFFSET))
        self.blend, self.limit, self.penalty = 1.0, None, 0.0

    def forward(self, x):
        if self.limit is not None:
            self.penalty = F.relu(x.abs() - self.limit).square().mean(dtype=torch.float32)
        y = (self.a * x + self.b) * x + self.c
        return y if self.blend == 1.0 else torch.lerp(F.relu(x).to(y.dtype), y, self.blend)

    def project(self):
        with torch.no_grad():
            self.a.clamp_(0.05, 1.0)
            self.b.clamp_(-1.0, 1.0)


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


def network(activation):
    """The layers; `activation` is relu, channel or element."""

    def unit(inputs, outputs, size, kernel=3, stride=1):
        act = {
            "relu": lambda: nn.ReLU(),
            "channel": lambda: Quadratic((outputs, 1, 1)),
            "element": lambda: Quadratic((outputs, size, size)),
        }[activation]()
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), act]

    return nn.Sequential(
        *unit(3, 32, 32),
        *unit(32, 64, 16, kernel=4, stride=2),
        *unit(64, 128, 8, kernel=4, stride=2),
        Residual(nn.Sequential(*unit(128, 128, 8), *unit(128, 128, 8))),
        *unit(128, 256, 4, kernel=4, stride=2),
        Residual(nn.Sequential(*unit(256, 256, 4), *unit(256, 256, 4))),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def quadratics(net):
    return [m for m in net.modules() if isinstance(m, Quadratic)]


def read(folder, names):
    records = numpy.concatenate([numpy.fromfile(folder / name, numpy.uint8).reshape(-1, 3073) for name in names])
    return torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(records[:, 0].astype(numpy.int64))


def augmented(images, generator):
    """Random shifts by up to four pixels, zeros shifted in, and random reflection; pixels in [0, 1]."""
    count = len(images)
    padded = F.pad(images, (4, 4, 4, 4))
    rows = torch.randint(0, 9, (count, 1), generator=generator) + torch.arange(32)
    columns = torch.randint(0, 9, (count, 1), generator=generator) + torch.arange(32)
    flip = torch.rand((count, 1), generator=generator) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    at = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[at, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float() / 255


def accuracy(net, images, labels, device):
    net.eval()
    right = 0
    with torch.no_grad():
        for part in torch.arange(len(images)).split(500):
            logits = net(images[part].float().div(255).to(device))
            right += (logits.argmax(1).cpu() == labels[part]).sum().item()
    return right / len(images)


def train(options, net, teacher):
    device = options.device
    images, labels = read(options.data, [f"data_batch_{i}.bin" for i in range(1, 6)])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held, kept = order[:HELD_OUT], order[HELD_OUT:]
    generator = torch.Generator().manual_seed(options.seed)
    net = net.to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(net).eval()
    coefficients = [p for q in quadratics(net) for p in q.parameters()]
    decayed = [p for p in net.parameters() if p.dim() > 1 and not any(p is c for c in coefficients)]
    plain = [p for p in net.parameters() if p.dim() == 1]
    sgd = torch.optim.SGD(
        [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain}], lr=0.1, momentum=0.9, nesterov=True
    )
    optimizers = [(sgd, options.rate)]
    if coefficients:
        optimizers.append((torch.optim.Adam(coefficients, eps=1e-5), options.rate / 50))
    steps = len(kept) // options.batch
    first = 0
    if options.out.exists():
        state = torch.load(options.out)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        for (optimizer, _), saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        generator.set_state(state["generator"])
        first = state["epoch"]
    for epoch in range(first, options.epochs):
        began, losses, penalties = time.time(), 0.0, 0.0
        net.train()
        shuffled = kept[torch.randperm(len(kept), generator=generator)]
        for step, part in enumerate(shuffled[: steps * options.batch].split(options.batch)):
            progress = (epoch * steps + step) / (options.epochs * steps)
            warm = min(1.0, progress * options.epochs / options.warmup)
            for optimizer, peak in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = peak * warm * 0.5 * (1 + math.cos(math.pi * progress))
            for q in quadratics(net):
                q.blend = min(1.0, progress * options.epochs / options.blend)
                q.limit = options.range_limit
            x = augmented(images[part], generator).to(device, memory_format=torch.channels_last)
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
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            for optimizer, _ in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            for q in quadratics(net):
                q.project()
            losses, penalties = losses + loss.item(), penalties + penalty.item()
            decay = min(0.998, (1 + epoch * steps + step) / (10 + epoch * steps + step))
            with torch.no_grad():
                for a, b in zip(average.state_dict().values(), net.state_dict().values()):
                    a.lerp_(b, 1 - decay) if a.is_floating_point() else a.copy_(b)
        for q in quadratics(average):
            q.blend = min(1.0, (epoch + 1) / options.blend)
        print(
            f"epoch {epoch + 1}/{options.epochs}: loss {losses / steps:.4f}, range penalty {penalties / steps:.5f}, "
            f"held out {accuracy(average, images[held], labels[held], device):.4f}, {time.time() - began:.0f} s",
            flush=True,
        )
        state = {
            "net": net.state_dict(),
            "average": average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer, _ in optimizers],
            "generator": generator.get_state(),
            "epoch": epoch + 1,
            "activation": options.activation,
        }
        torch.save(state, f"{options.out}.part")
        pathlib.Path(f"{options.out}.part").rename(options.out)
    print(f"test images: {accuracy(average, *read(options.data, ['test_batch.bin']), device):.4f}")


def loaded(path):
    state = torch.load(path)
    net = network(state["activation"])
    net.load_state_dict(state["average"])
    return net.eval()


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
        p.add_argument("--batch", type=int, default=256 if teacher else 128)
        p.add_argument("--epochs", type=int, default=20 if teacher else 16)
        p.add_argument("--rate", type=float, default=0.2 if teacher else 0.06)
        p.add_argument("--warmup", type=float, default=2.0)
        p.add_argument("--weight-decay", type=float, default=5e-4)
        p.add_argument("--smoothing", type=float, default=0.05)
        p.set_defaults(activation="relu", blend=2.0, range_limit=3.0, range_penalty=0.5)
        if not teacher:
            p.add_argument("--teacher", type=pathlib.Path, required=True)
            p.add_argument("--activation", choices=("channel", "element"), default="element")
            p.add_argument("--distill", type=float, default=0.7, help="weight of the teacher against the labels")
            p.add_argument("--temperature", type=float, default=2.0)
            p.add_argument("--range-penalty", type=float, default=0.5)
    p = verbs.add_parser("export")
    p.add_argument("--checkpoint", type=pathlib.Path, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()

    if options.verb == "export":
        net = loaded(options.checkpoint)
        torch.onnx.export(net, torch.zeros(1, 3, 32, 32), options.out, dynamo=False)
    elif options.verb == "teacher":
        torch.manual_seed(options.seed)
        train(options, network("relu"), None)
    else:
        torch.manual_seed(options.seed)
        teacher = loaded(options.teacher).to(options.device, memory_format=torch.channels_last)
        net = network(options.activation)
        net.load_state_dict(teacher.state_dict(), strict=False)
        train(options, net, teacher)


if __name__ == "__main__":
    main()
