#!/usr/bin/env python3
"""What the primal attack costs at every row of the security table, and at the parameters of plan files.

    python3 bench/checks/attack_cost.py [PLAN ...]

An estimate of its own, in forty lines and with Python alone, of the attack that decides most rows: the secret and the errors as the
one short vector of a lattice (Bai and Galbraith's embedding, secret scaled to the size of the errors), found by BKZ. It is no replacement
for the lattice estimator that the published table was made with: other attacks (dual, hybrid) may cost a few bits less, and cost models
differ by as much. It would find a row that was copied wrongly, and a plan that is far from what it claims.

References: Alkim, Ducas, Pöppelmann, Schwabe, "Post-quantum key exchange: a new hope", USENIX Security 2016, section 6.3 (condition);
Chen, thesis, 2013 (root Hermite factor); Becker, Ducas, Gama, Laarhoven, SODA 2016 (sieving, 2^0.292 beta) with the constants of
Albrecht, Player, Scott, "On the concrete hardness of learning with errors", 2015: 0.292 beta + 16.4 + log2(8 d).
"""

import json
import math
import struct
import sys

# log2 of the ring degree, largest log2(QP): Bossuat et al., 2024 (ePrint 2024/463), table 5.2, uniform ternary, 128 bits, classical.
ROWS = [(12, 106), (13, 214), (14, 430), (15, 868)]
ERROR = 3.2
SECRET = math.sqrt(2 / 3)


def log2_root_hermite(beta):
    return math.log2((math.pi * beta) ** (1 / beta) * beta / (2 * math.pi * math.e)) / (2 * (beta - 1))


def surplus(n, log2_q, beta, m):
    """log2 of how far the projected short vector is below the last profile vector that BKZ reaches; positive: it is found."""
    d = n + m + 1
    log2_volume = m * log2_q + n * math.log2(ERROR / SECRET)
    reached = (2 * beta - d - 1) * log2_root_hermite(beta) + log2_volume / d
    return reached - (math.log2(ERROR) + math.log2(beta) / 2)


def best(n, log2_q, beta):
    """The largest surplus over the number of samples, and that number; concave in it."""
    low, high = 1, 4 * n
    while high - low > 2:
        left, right = low + (high - low) // 3, high - (high - low) // 3
        if surplus(n, log2_q, beta, left) < surplus(n, log2_q, beta, right):
            low = left
        else:
            high = right
    return max((surplus(n, log2_q, beta, m), m) for m in range(low, high + 1))


def attack(n, log2_q):
    """The smallest block size that succeeds, the lattice's dimension, log2 of the cost."""
    low, high = 60, 4 * n
    while low < high:
        middle = (low + high) // 2
        if best(n, log2_q, middle)[0] >= 0:
            high = middle
        else:
            low = middle + 1
    d = n + best(n, log2_q, low)[1] + 1
    return low, d, 0.292 * low + 16.4 + math.log2(8 * d)


def plan_parameters(path):
    with open(path, "rb") as file:
        header = file.read(56)
        if header[:8] != b"SORDINO\0":
            raise SystemExit(f"{path}: no Sordino file")
        (length,) = struct.unpack_from("<I", header, 12)
        parameters = json.loads(file.read(length))["parameters"]
    moduli = parameters["primes"] + parameters.get("special_primes", [])
    return parameters["ring_degree"], sum(math.log2(q) for q in moduli)


def main():
    failed = False
    print(f"{'N':>6} {'log2 QP':>8} {'block':>6} {'dimension':>9} {'log2 cost':>9}")
    cases = [(f"row {1 << n}", 1 << n, bound) for n, bound in ROWS]
    cases += [(path, *plan_parameters(path)) for path in sys.argv[1:]]
    for name, n, log2_q in cases:
        beta, d, cost = attack(n, log2_q)
        failed |= cost < 128
        print(f"{n:>6} {log2_q:>8.2f} {beta:>6} {d:>9} {cost:>9.1f}  {name}")
    if failed:
        sys.exit("below 128 bits: see the lines above")


if __name__ == "__main__":
    main()
