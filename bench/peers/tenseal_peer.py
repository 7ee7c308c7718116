"""The network with TenSEAL (SEAL underneath), a ciphertext a feature.

A `ckks_tensor` with `batch=True` is TenSEAL's own element-wise packing; `mm` with a plain matrix is its layer, which rescales. Symmetric encryption, whose
ciphertexts are sent with a seed. Threads are TenSEAL's own.
"""

import numpy as np
import tenseal as ts

import peer

# Three rescales of 30 bits, the first modulus and SEAL's special one.
RING, MODULI, SCALE_BITS = 8192, [40, 30, 30, 30, 40], 30


def plain(values, shape):
    return ts.plain_tensor(np.asarray(values).flatten().tolist(), shape)


def work(network, pixels, threads, clock):
    def keys():
        # Refused by SEAL if it were below 128 bits.
        context = ts.context(
            ts.SCHEME_TYPE.CKKS,
            RING,
            coeff_mod_bit_sizes=MODULI,
            encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
            n_threads=threads,
        )
        context.global_scale = 2.0**SCALE_BITS
        return context

    context = clock.phase("keygen", keys)
    count, features = pixels.shape
    hidden, classes = len(network.b1), len(network.b2)
    assert count <= RING // 2, f"{RING // 2} images fill a ciphertext"
    images = plain(pixels, [count, 1, features])
    inputs = clock.phase("encrypt", lambda: ts.ckks_tensor(context, images, batch=True))
    weights = [plain(network.w1.T, [features, hidden]), plain(network.w2.T, [hidden, classes])]
    biases = [plain(network.b1, [1, hidden]), plain(network.b2, [1, classes])]
    shift = plain(network.shift, [1, hidden])

    def evaluate():
        x = inputs.mm(weights[0]) + biases[0]
        return (x * (x + shift)).mm(weights[1]) + biases[1]

    outputs = clock.phase("evaluate", evaluate)
    logits = clock.phase("decrypt", lambda: np.array(outputs.decrypt().tolist()))
    record = {
        "system": f"TenSEAL {ts.__version__}",
        "ring_degree": RING,
        "slots": RING // 2,
        "log2_qp": float(sum(MODULI)),
        "security": "128 bits, checked by the library",
        "upload_bytes": len(inputs.serialize()),
        "reply_bytes": len(outputs.serialize()),
    }
    return logits.reshape(count, classes), record


if __name__ == "__main__":
    peer.run(work)
