"""The network with OpenFHE, a ciphertext a feature.

Layers are `EvalLinearWSum`, the library's own sum of ciphertexts times numbers, which rescales; an activation is one product that is never
relinearized. Neurons are split over processes of one thread each: OpenMP inside of operations of this size gains nothing (measured).
"""

import multiprocessing
import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import openfhe as fhe

import peer

# First modulus 40 bits, three rescales of 30: no shorter chain fits, since the weighted sum always rescales.
DEPTH, SCALE_BITS, FIRST_BITS, RING = 3, 30, 40, 8192


def context():
    parameters = fhe.CCParamsCKKSRNS()
    parameters.SetMultiplicativeDepth(DEPTH)
    parameters.SetScalingModSize(SCALE_BITS)
    parameters.SetFirstModSize(FIRST_BITS)
    parameters.SetScalingTechnique(fhe.FIXEDMANUAL)
    parameters.SetSecurityLevel(fhe.HEStd_128_classic)
    # Refused by the library if it were below 128 bits.
    parameters.SetRingDim(RING)
    parameters.SetBatchSize(RING // 2)
    # No special modulus: nothing is relinearized.
    parameters.SetKeySwitchTechnique(fhe.BV)
    parameters.SetMaxRelinSkDeg(2)
    context = fhe.GenCryptoContext(parameters)
    for feature in (fhe.PKE, fhe.KEYSWITCH, fhe.LEVELEDSHE, fhe.ADVANCEDSHE):
        context.Enable(feature)
    return context


def evaluate(context, network, inputs, neurons):
    """Logits without bias, as far as these neurons add to them."""
    squares = []
    for neuron in neurons:
        x = context.EvalLinearWSum(inputs, [float(w) for w in network.w1[neuron]])
        x = context.EvalAdd(x, float(network.b1[neuron]))
        shifted = context.EvalAdd(x, float(network.shift[neuron]))
        squares.append(context.Rescale(context.EvalMultNoRelin(x, shifted)))
    weights = network.w2[:, neurons]
    return [context.EvalLinearWSum(squares, [float(w) for w in row]) for row in weights]


def work(network, pixels, threads, clock):
    crypto = context()
    keys = clock.phase("keygen", crypto.KeyGen)
    count = len(pixels)
    assert count <= RING // 2, f"{RING // 2} images fill a ciphertext"

    def encrypt():
        columns = (crypto.MakeCKKSPackedPlaintext(column.tolist()) for column in pixels.T)
        return [crypto.Encrypt(keys.publicKey, plaintext) for plaintext in columns]

    inputs = clock.phase("encrypt", encrypt)
    hidden = len(network.b1)
    shares = [list(range(share, hidden, threads)) for share in range(threads)]
    start = multiprocessing.get_context("fork").Barrier(threads)

    def share_of(neurons, connection):
        part = peer.Clock()
        start.wait()
        outputs = part.phase("evaluate", lambda: evaluate(crypto, network, inputs, neurons))

        def decrypt():
            plaintexts = [crypto.Decrypt(output, keys.secretKey) for output in outputs]
            return np.array([plaintext.GetRealPackedValue()[:count] for plaintext in plaintexts])

        logits = part.phase("decrypt", decrypt)
        connection.send((part.seconds, logits, len(fhe.Serialize(outputs[0], fhe.BINARY))))

    # A process a share, which also decrypts it: the sum of the shares is ten additions, which are not timed.
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in shares]
    workers = [fork.Process(target=share_of, args=(share, pipe[1])) for share, pipe in zip(shares, pipes)]
    for worker in workers:
        worker.start()
    parts = [pipe[0].recv() for pipe in pipes]
    for worker in workers:
        worker.join()
    for name in ("evaluate_seconds", "decrypt_seconds"):
        clock.seconds[name] = max(seconds[name] for seconds, _, _ in parts)
    logits = sum(part for _, part, _ in parts).T + network.b2
    modulus_bits = float(np.log2(float(crypto.GetModulus())))
    record = {
        "system": "OpenFHE 1.6.1",
        "ring_degree": crypto.GetRingDimension(),
        "slots": crypto.GetRingDimension() // 2,
        "log2_qp": modulus_bits,
        "security": "128 bits, checked by the library",
        "upload_bytes": len(network.w1[0]) * len(fhe.Serialize(inputs[0], fhe.BINARY)),
        "reply_bytes": 10 * parts[0][2],
    }
    return logits, record


if __name__ == "__main__":
    peer.run(work)
