"""Compares the values that Sordino reads of DICOM files with those of pydicom.

Usage: compare.py none|file FILES...
       compare.py digest FILES...     (the digests in tests/dicom/pydicom.rs)

Needs pydicom, numpy and pillow; compressed files also need pylibjpeg, pylibjpeg-libjpeg, pylibjpeg-openjpeg
and pyjpegls. Run it at the root of the repository. It prints a line per file: the transfer syntax, the
largest difference, and how many values differ.
"""

import os
import subprocess
import sys
import tempfile
import warnings

import numpy
import pydicom
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_color_lut

warnings.simplefilter("ignore")


def expected(path, window):
    data = pydicom.dcmread(path)
    pixels = data.pixel_array
    kind = data.PhotometricInterpretation
    frames = int(data.get("NumberOfFrames", 1))
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, data)
    elif data.SamplesPerPixel == 1:
        values = apply_modality_lut(pixels, data).astype(numpy.float64)
        bits, signed = data.BitsStored, data.PixelRepresentation
        ends = numpy.array([-(1 << bits - 1), (1 << bits - 1) - 1] if signed else [0, (1 << bits) - 1])
        ends = ends * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
        if "ModalityLUTSequence" in data:
            ends = numpy.array([0, (1 << data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1])
        if window == "file":
            values = apply_voi_lut(values, data)
            # pydicom spreads windows over the range of the modality values.
            low, high = min(ends), max(ends)
            if "VOILUTSequence" in data:
                low, high = 0, (1 << data.VOILUTSequence[0].LUTDescriptor[2]) - 1
            values = (values - low) / (high - low) * 255
            ends = numpy.array([0, 255])
        if kind == "MONOCHROME1":
            values = ends.sum() - values
        pixels = values
    shape = (frames, data.Rows, data.Columns, -1)
    return pixels.reshape(shape).transpose(0, 3, 1, 2), data.file_meta.TransferSyntaxUID.name, kind


def digest(values):
    """FNV-1a of 64 bits over the values as 32-bit floats, low byte first."""
    number = 0xCBF29CE484222325
    for byte in numpy.ascontiguousarray(values.astype("<f4")).tobytes():
        number = (number ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"0x{number:016x}"


def digests(files):
    for path in files:
        values, _, _ = expected(path, "none")
        shape = ", ".join(str(size) for size in values.shape)
        has_window = "WindowCenter" in pydicom.dcmread(path)
        window = f"Some({digest(expected(path, 'file')[0])})" if has_window else "None"
        print(f'File {{ name: "{os.path.basename(path)}", shape: [{shape}], values: {digest(values)}, windowed: {window} }},')


def main():
    if sys.argv[1] == "digest":
        return digests(sys.argv[2:])
    window, files = sys.argv[1], sys.argv[2:]
    command = "cargo run -q --release -p sordino-data --features dicom --example dicom_values --".split()
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run([*command, window, folder, *files], capture_output=True, text=True, check=True)
        for path, line in zip(files, run.stdout.splitlines(), strict=True):
            number, state, rest = line.split(" ", 2)
            name = os.path.basename(path)
            try:
                wanted, syntax, kind = expected(path, window)
            except Exception as error:
                print(f"{name:40} pydicom: {type(error).__name__}: {str(error)[:60]!r}; sordino: {state} {rest[-100:]}")
                continue
            if state == "refused":
                print(f"{name:40} {syntax[:40]:40} {kind:12} refused: {rest.removeprefix(path)}")
                continue
            shape = [int(size) for size in rest.split()]
            found = numpy.fromfile(os.path.join(folder, number + ".f32"), "<f4").reshape(shape)
            if found.shape != wanted.shape:
                print(f"{name:40} {syntax[:40]:40} {kind:12} SHAPE {found.shape} {wanted.shape}")
                continue
            difference = numpy.abs(found.astype(numpy.float64) - wanted.astype(numpy.float32))
            many = int((difference > 0).sum())
            verdict = "equal" if many == 0 else f"differs by at most {difference.max():g} at {many} of {found.size}"
            print(f"{name:40} {syntax[:40]:40} {kind:12} {verdict}")


main()
