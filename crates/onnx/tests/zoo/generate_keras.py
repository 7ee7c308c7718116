"""Writes the ten Keras and five tf2onnx networks: `python generate_keras.py`.

Made with Python 3.11, keras 3.15.1, tensorflow-cpu 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.
`ke-*` come from `model.export(format="onnx")` of Keras, `tf-*` from `tf2onnx.convert`. Images are NHWC.
"""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from keras import Input, Model, Sequential, layers

import common

NETWORKS = []
LOGITS, SOFT, SIGMOID = ["logits"], ["softmax"], ["sigmoid"]


def network(name, image, tags, ends=LOGITS, polynomial=False, scale=1, **options):
    def register(build):
        NETWORKS.append((name, build, image, ends, polynomial, tags.split(", "), scale, options))
        return build

    return register


class Quadratic(layers.Layer):
    """a x^2 + b x + c with one coefficient each per channel."""

    def build(self, shape):
        uniform = keras.initializers.RandomUniform
        self.a = self.add_weight(shape=shape[-1:], initializer=uniform(0.05, 0.15, seed=1))
        self.b = self.add_weight(shape=shape[-1:], initializer=uniform(0.4, 0.8, seed=2))
        self.c = self.add_weight(shape=shape[-1:], initializer=uniform(-0.1, 0.1, seed=3))

    def call(self, x):
        return self.a * keras.ops.square(x) + self.b * x + self.c


@network("ke-mnist", (1, 16, 16), "Rescaling, ReLU, MaxPool, Flatten, Dropout, softmax", SOFT, scale=255)
def _():
    return Sequential([
        Input((16, 16, 1)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ])


@network("ke-square", (1, 12, 12), "square activation, AveragePool, Flatten", polynomial=True)
def _():
    return Sequential([
        Input((12, 12, 1)), layers.Conv2D(4, 3, activation=keras.ops.square), layers.AveragePooling2D(2),
        layers.Conv2D(6, 3, activation=keras.ops.square), layers.Flatten(), layers.Dense(10),
    ])


@network("ke-same-stride", (3, 16, 16), "padding same with stride 2 (asymmetric), BatchNorm, ReLU")
def _():
    parts = [Input((16, 16, 3))]
    for wide in (4, 6, 8):
        parts += [layers.Conv2D(wide, 3, 2, "same", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    return Sequential([*parts, layers.Flatten(), layers.Dense(7)])


@network("ke-mobilenet", (3, 16, 16), "DepthwiseConv2D, BatchNorm, ReLU6, GlobalAveragePooling2D, softmax", SOFT)
def _():
    return Sequential([
        Input((16, 16, 3)), layers.Conv2D(6, 3, 2, "same", use_bias=False), layers.BatchNormalization(),
        layers.ReLU(6), layers.DepthwiseConv2D(3, padding="same", use_bias=False), layers.BatchNormalization(),
        layers.ReLU(6), layers.Conv2D(8, 1, use_bias=False), layers.BatchNormalization(), layers.ReLU(6),
        layers.GlobalAveragePooling2D(), layers.Dense(5, activation="softmax"),
    ])


@network("ke-rescaling-channels", (3, 8, 8), "Rescaling per channel of raw pixels, quadratic per channel, BatchNorm",
         polynomial=True, scale=255)
def _():
    return Sequential([
        Input((8, 8, 3)), layers.Rescaling([1 / 60, 1 / 59, 1 / 63], [-2.0, -1.9, -1.6]),
        layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), Quadratic(), layers.AveragePooling2D(2),
        layers.Flatten(), layers.Dense(6),
    ])


@network("ke-binary-sigmoid", (1, 8, 8), "tanh, one sigmoid output", SIGMOID)
def _():
    return Sequential([
        Input((8, 8, 1)), layers.Conv2D(4, 3, activation="tanh"), layers.Conv2D(6, 3, 2, activation="tanh"),
        layers.Flatten(), layers.Dense(1, activation="sigmoid"),
    ])


@network("ke-mlp", (1, 8, 8), "images without a channel axis, BatchNorm after dense, ELU, GELU by tanh, softmax", SOFT,
         layout="NHW")
def _():
    return Sequential([
        Input((8, 8)), layers.Flatten(), layers.Dense(24), layers.BatchNormalization(), layers.Activation("elu"),
        layers.Dropout(0.3), layers.Dense(12), layers.Activation(lambda x: keras.ops.gelu(x, approximate=True)),
        layers.Dense(10, activation="softmax"),
    ])


@network("ke-branches", (1, 8, 8), "Add, Subtract, Concatenate of branches, SiLU")
def _():
    source = Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="silu")(source)
    y = layers.Conv2D(4, 3, padding="same", activation="silu")(x)
    x = layers.Concatenate()([layers.Add()([x, y]), layers.Subtract()([x, y])])
    x = layers.Conv2D(6, 3, 2, activation="swish")(x)
    return Model(source, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


@network("ke-upsample", (1, 8, 8), "ZeroPadding2D, Conv2DTranspose, UpSampling2D, LeakyReLU, PReLU")
def _():
    shared = layers.PReLU(alpha_initializer=keras.initializers.RandomUniform(0.1, 0.3, seed=4), shared_axes=[1, 2])
    return Sequential([
        Input((8, 8, 1)), layers.ZeroPadding2D(((0, 1), (2, 1))), layers.Conv2D(4, 3, 2),
        layers.LeakyReLU(negative_slope=0.2), layers.Conv2DTranspose(4, 3, 2, "same"), shared,
        layers.UpSampling2D(2), layers.Conv2D(4, 3, 2), layers.LeakyReLU(), layers.GlobalAveragePooling2D(),
        layers.Dense(4),
    ])


@network("ke-separable", (3, 9, 9), "SeparableConv2D, AveragePooling2D with padding same, square", polynomial=True)
def _():
    return Sequential([
        Input((9, 9, 3)), layers.SeparableConv2D(6, 3, padding="same", activation=keras.ops.square),
        layers.AveragePooling2D(2, padding="same"), layers.Conv2D(8, 3, dilation_rate=2, padding="same"),
        layers.Lambda(lambda x: x * x), layers.GlobalAveragePooling2D(), layers.Dense(5),
    ])


# tf2onnx: from Keras networks and from functions of plain TensorFlow.


@network("tf-keras", (3, 12, 12), "from_keras, BatchNorm, ReLU, residual sum, padded MaxPool", opset=13)
def _():
    source = Input((12, 12, 3))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(source)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(x))
    x = layers.MaxPooling2D(3, 2, "same")(layers.ReLU()(layers.Add()([x, y])))
    return Model(source, layers.Dense(5)(layers.Flatten()(x)))


@network("tf-keras-nchw", (3, 8, 8), "from_keras with inputs_as_nchw, tf.square", polynomial=True, opset=15,
         nchw=True, layout="NCHW")
def _():
    source = Input((8, 8, 3))
    x = layers.AveragePooling2D(2)(layers.Conv2D(4, 3, activation=tf.square)(source))
    x = layers.Conv2D(6, 2, activation=tf.square)(x)
    return Model(source, layers.Dense(4)(layers.Flatten()(x)))


def weight(seed, *shape):
    fan = np.prod(shape[:-1])
    return np.random.default_rng(seed).normal(0, 1.4 / np.sqrt(fan), shape).astype(np.float32)


class Function:
    """A network in plain TensorFlow: a body, a dense head whose logits get a useful size, an end."""

    def __init__(self, body, kernel, end):
        self.body, self.kernel, self.end = body, kernel, end
        self.bias = np.zeros(kernel.shape[-1:], np.float32)

    def calibrate(self, batch):
        logits = tf.matmul(self.body(batch), self.kernel).numpy()
        factor = 2 / logits.std(axis=0)
        self.kernel = self.kernel * factor
        self.bias = -logits.mean(axis=0) * factor

    def __call__(self, x):
        return self.end(tf.matmul(self.body(x), self.kernel) + self.bias)


@network("tf-function-relu6", (1, 10, 10), "from_function, bias_add, ReLU6, reduce_mean, matmul", opset=16)
def _():
    def body(x):
        x = tf.nn.relu6(tf.nn.bias_add(tf.nn.conv2d(x, 5 * weight(1, 3, 3, 1, 6), 2, "SAME"), weight(2, 6)))
        x = tf.nn.relu6(tf.nn.bias_add(tf.nn.conv2d(x, weight(3, 3, 3, 6, 8), 1, "VALID"), weight(4, 8)))
        return tf.reduce_mean(x, [1, 2])

    return Function(body, weight(5, 8, 5), tf.identity)


@network("tf-function-quadratic", (3, 8, 8), "from_function, depthwise, pad, average pool SAME, quadratic, softmax",
         SOFT, polynomial=True, opset=12)
def _():
    def body(x):
        x = tf.pad((x - 0.45) / 0.25, [[0, 0], [1, 2], [0, 1], [0, 0]])
        x = tf.nn.depthwise_conv2d(x, weight(7, 3, 3, 3, 2), [1, 2, 2, 1], "VALID")
        x = 0.2 * x * x + 0.5 * x
        x = tf.nn.avg_pool2d(x, 3, 1, "SAME")
        x = tf.nn.conv2d(x, weight(8, 2, 2, 6, 6), 1, "SAME", dilations=2)
        x = tf.square(x) + 0.1
        return tf.reshape(x, [-1, 5 * 4 * 6])

    return Function(body, weight(9, 120, 4), tf.nn.softmax)


@network("tf-function-labels", (1, 9, 9), "from_function, concat, leaky_relu, three sigmoid outputs (labels)",
         SIGMOID, opset=18)
def _():
    def body(x):
        left = tf.nn.conv2d(x, weight(10, 3, 3, 1, 4), 2, "SAME")
        right = tf.nn.max_pool2d(tf.nn.conv2d(x, weight(11, 1, 1, 1, 2), 1, "SAME"), 2, 2, "SAME")
        x = tf.nn.leaky_relu(tf.concat([left, right], -1), 0.15)
        x = tf.nn.leaky_relu(tf.nn.conv2d(x, weight(12, 3, 3, 6, 6), 1, "VALID"))
        return tf.reshape(x, [tf.shape(x)[0], -1])

    return Function(body, weight(13, 54, 3), tf.sigmoid)


def seeded(name):
    return sum(ord(letter) * (index + 1) for index, letter in enumerate(name))


def calibrate(model, batch):
    """Batch normalization gets the statistics of the images, the last dense layer logits of a useful size."""
    random = np.random.default_rng(0)
    norms = [part for part in model.layers if isinstance(part, layers.BatchNormalization)]
    for norm in norms:
        wide = len(norm.get_weights()[0])
        norm.momentum = 0.0
        norm.set_weights([
            random.uniform(0.6, 1.4, wide), random.normal(0, 0.2, wide), np.zeros(wide), np.ones(wide)
        ])
    for _ in norms:
        model(batch, training=True)
    for norm in norms:
        norm.momentum = 0.99
    head = model.layers[-1]
    inner = Model(model.inputs, head.input)
    kernel, bias = head.get_weights()
    logits = inner(batch, training=False).numpy() @ kernel
    factor = 2 / np.maximum(logits.std(axis=0), 1e-4)
    head.set_weights([kernel * factor, -logits.mean(axis=0) * factor + random.normal(0, 0.3, len(bias))])


def normalization():
    """A file that cannot be used: the layer's mean and deviation become inputs of it."""
    keras.utils.set_random_seed(1)
    model = Sequential([
        Input((8, 8, 3)), layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[3600.0, 3500.0, 4000.0]),
        layers.Conv2D(4, 3, 2, activation="relu"), layers.Flatten(), layers.Dense(3),
    ])
    model(np.zeros((1, 8, 8, 3), np.float32))
    path = common.HERE / "blocks" / "keras-normalization.onnx"
    model.export(str(path), format="onnx", verbose=False)
    common.strip(path)
    inputs = [item.name for item in common.onnx.load(path).graph.input]
    assert len(inputs) == 3, inputs


def main():
    if len(sys.argv) < 2 or "normalization" in sys.argv[1:]:
        normalization()
    versions = {
        "ke-": ("keras", f"keras {keras.__version__}, tensorflow {tf.__version__}"),
        "tf-": ("tf2onnx", f"tf2onnx {tf2onnx.__version__}, tensorflow {tf.__version__}"),
    }
    for prefix, (exporter, version) in versions.items():
        zoo = common.Zoo(common.HERE, exporter, version)
        for name, build, image, ends, polynomial, tags, scale, options in NETWORKS:
            if not name.startswith(prefix) or (len(sys.argv) > 1 and name not in sys.argv[1:]):
                continue
            keras.utils.set_random_seed(seeded(name))
            layout = options.get("layout", "NHWC")

            def arranged(images):
                images = scale * images
                images = np.round(images).astype(np.float32) if scale != 1 else images
                if layout == "NHW":
                    return images[:, 0]
                return np.ascontiguousarray(images.transpose(0, 2, 3, 1))

            model = build()
            inputs = arranged(common.images(seeded(name), common.IMAGES, *image))
            path = str(zoo.path(name))
            batch = arranged(common.images(seeded(name) + 1, 64, *image))
            calibrate(model, batch) if isinstance(model, Model) else model.calibrate(batch)
            expected = model(inputs).numpy()
            if prefix == "ke-":
                model.export(path, format="onnx", verbose=False)
            elif isinstance(model, Model):
                nchw = ["images"] if options.get("nchw") else None
                signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32, name="images")]
                tf2onnx.convert.from_keras(
                    model, signature, opset=options["opset"], inputs_as_nchw=nchw, output_path=path
                )
            else:
                signature = [tf.TensorSpec([None, *inputs.shape[1:]], tf.float32, name="images")]
                tf2onnx.convert.from_function(
                    tf.function(lambda x: model(x)), signature, opset=options["opset"], output_path=path
                )
            stored = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)) if options.get("nchw") else inputs
            zoo.add(name, stored, image, layout, ends, polynomial, tags, scale=scale)
            found = np.fromfile(zoo.folder / f"{name}.f32", "<f4")[inputs.size :]
            error = abs(found - expected.ravel()).max() / max(1e-3, abs(expected).max())
            assert error < 1e-4, f"{name}: TensorFlow and ONNX Runtime differ by {error}"
        if zoo.entries:
            zoo.close()


if __name__ == "__main__":
    main()
