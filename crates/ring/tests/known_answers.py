"""Computes the known answers of ntt.rs and sample.rs from the definitions, without the crate's code.

Run: pip install blake3 && python known_answers.py
"""

from blake3 import blake3


def is_prime(n):
    if n < 2:
        return False
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    for p in bases:
        if n % p == 0:
            return n == p
    s, d = 0, n - 1
    while d % 2 == 0:
        s, d = s + 1, d // 2
    for a in bases:
        x = pow(a, d, n)
        if x in (1, n - 1):
            continue
        for _ in range(s - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def prime_below(limit, degree):
    step = 4 * degree
    q = (limit - 2) // step * step + 1
    while not is_prime(q):
        q -= step
    return q


def square_root(n, p):
    """Tonelli-Shanks with the smallest non-residue."""
    m, odd = 0, p - 1
    while odd % 2 == 0:
        m, odd = m + 1, odd // 2
    z = 2
    while pow(z, (p - 1) // 2, p) != p - 1:
        z += 1
    c, t, r = pow(z, odd, p), pow(n, odd, p), pow(n, (odd + 1) // 2, p)
    while t != 1:
        i, x = 0, t
        while x != 1:
            x, i = x * x % p, i + 1
        b = pow(c, 1 << (m - i - 1), p)
        m, c, t, r = i, b * b % p, t * b * b % p, r * b % p
    return r


def transform(a, q):
    """Values at psi^(2 r(t) + 1) / zeta, term by term."""
    n = len(a)
    log = n.bit_length() - 1
    psi = q - 1
    for _ in range(log):
        psi = square_root(psi, q)
    zeta = square_root(psi, q)
    zeta = min(zeta, q - zeta)
    values = []
    for t in range(n):
        r = int(format(t, f"0{log}b")[::-1], 2)
        x = pow(psi, 2 * r + 1, q) * pow(zeta, -1, q) % q
        y = pow(x, -1, q)
        values.append((a[0] + sum(a[k] * (pow(x, k, q) + pow(y, k, q)) for k in range(1, n))) % q)
    return values


SEGMENT = 64


def uniform(seed, index, limb, purpose, q, count):
    bits = q.bit_length()
    width = (bits + 7) // 8
    result = []
    for segment in range(-(-count // SEGMENT)):
        place = bytes([purpose]) + limb.to_bytes(4, "little") + segment.to_bytes(4, "little")

        def stream(context, message, start, numbers):
            hasher = blake3(context + message, key=seed)
            data = hasher.digest(length=numbers * width, seek=start * width)
            cut = (int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width))
            return [c & ((1 << bits) - 1) for c in cut]

        candidates = stream(b"sordino ring uniform residues v2", place, index * SEGMENT, SEGMENT)
        replacements = stream(
            b"sordino ring uniform replacements v2", place + index.to_bytes(8, "little"), 0, 8 * SEGMENT
        )
        accepted = iter([v for v in replacements if v < q])
        result += [v if v < q else next(accepted) for v in candidates]
    return result[:count]


for bits in (20, 32, 50):
    q = prime_below(1 << bits, 16)
    print("transform of 1, 2, ..., 16 mod", q, transform([k + 1 for k in range(16)], q))

for q, index, limb, purpose in (
    (4294967291, 0, 0, 1),
    (4294967311, 3, 2, 1),
    (1125899906842597, 1 << 40, 5, 2),
    (65537, 7, 1, 255),
):
    v = uniform(bytes(range(32)), index, limb, purpose, q, 5000)
    digest = blake3(b"".join(x.to_bytes(8, "little") for x in v)).hexdigest()
    print("uniform mod", q, (index, limb, purpose), "first four", v[:4], "digest of 5000", digest)
