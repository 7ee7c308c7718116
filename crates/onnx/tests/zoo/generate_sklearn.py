"""Writes the five scikit-learn networks: `python generate_sklearn.py`.

Made with Python 3.11, scikit-learn 1.9.1, skl2onnx 1.20.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.
They read flattened images as `float_input [N, features]`, row after row, and give the label and the probabilities.
"""

import numpy as np
import sklearn
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import common


def convert(zoo, name, model, size, classes, polynomial, tags, options=None):
    images = common.images(len(name), 300, 1, size, size)
    # The label says where the image is brightest: in which of `classes` bands of rows.
    bands = images[:, 0].mean(axis=2)
    labels = (bands.argmax(axis=1) * classes) // size
    labels[:classes] = range(classes)
    model.fit(images.reshape(len(images), -1), labels)
    inputs = common.images(len(name) + 1, common.IMAGES, 1, size, size).reshape(common.IMAGES, -1)
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    converted = skl2onnx.convert_sklearn(
        model,
        initial_types=[("float_input", FloatTensorType([None, size * size]))],
        options={id(last): options} if options else None,
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    zoo.path(name).write_bytes(converted.SerializeToString())
    zoo.add(name, inputs, (1, size, size), "flat", ["label", "probabilities"], polynomial, tags.split(", "))
    found = np.fromfile(zoo.folder / f"{name}.f32", "<f4")[inputs.size :]
    expected = np.concatenate([model.predict(inputs).ravel(), model.predict_proba(inputs).ravel()])
    assert abs(found - expected).max() < 1e-4, f"{name}: scikit-learn and ONNX Runtime differ: {found} {expected}"


def main():
    version = f"skl2onnx {skl2onnx.__version__}, scikit-learn {sklearn.__version__}"
    zoo = common.Zoo(common.HERE, "skl2onnx", version)
    plain = {"zipmap": False}
    logistic = LogisticRegression(max_iter=300)
    convert(zoo, "sk-logistic", logistic, 8, 4, True, "LogisticRegression of several classes, no ZipMap", plain)
    convert(zoo, "sk-logistic-binary", logistic, 8, 2, True, "binary LogisticRegression, no ZipMap", plain)
    model = make_pipeline(StandardScaler(), PCA(12, random_state=1), LogisticRegression(max_iter=300))
    convert(zoo, "sk-scaled-pca-zipmap", model, 8, 3, True, "StandardScaler, PCA, LogisticRegression, ZipMap (default)")
    model = MLPClassifier((16, 12), max_iter=60, random_state=1)
    convert(zoo, "sk-mlp-relu", model, 8, 4, False, "MLPClassifier with ReLU, no ZipMap", plain)
    model = make_pipeline(StandardScaler(), MLPClassifier(10, activation="tanh", max_iter=60, random_state=1))
    convert(zoo, "sk-mlp-tanh-binary", model, 8, 2, False, "StandardScaler, binary MLPClassifier with tanh, no ZipMap",
            plain)
    zoo.close()


if __name__ == "__main__":
    main()
