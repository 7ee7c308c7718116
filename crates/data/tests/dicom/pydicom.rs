//! Files of other writers, with values that pydicom reads of them.
//!
//! `examples/dicom_values/compare.py` made the digests with pydicom 3.0.2, pylibjpeg-libjpeg 2.5.0 and pylibjpeg-openjpeg 2.6.0.

use std::path::{Path, PathBuf};

use sordino_data::{DicomOptions, Images, Window, open_dicom};

use crate::windowed;

/// A file and what is in it.
pub(crate) struct File {
    pub(crate) name: &'static str,
    /// Images, channels, rows, columns.
    shape: [usize; 4],
    /// Digest of its modality values, or of its colours.
    values: u64,
    /// Digest of its values through its window, where it has one.
    windowed: Option<u64>,
}

pub(crate) const FILES: &[File] = &[
    File {
        name: "693_J2KI.dcm",
        shape: [1, 1, 512, 512],
        values: 0xf511cf133b6e62b9,
        windowed: Some(0xc7ad8922a33f1d7a),
    },
    File {
        name: "CR_6154.dcm",
        shape: [1, 1, 16, 16],
        values: 0xc2f7bc0927b49fe8,
        windowed: Some(0xe0fdd2b9db7f6800),
    },
    File {
        name: "CT_17106.dcm",
        shape: [1, 1, 16, 16],
        values: 0x27d06ec99a4b88c8,
        windowed: Some(0x90aa9d5809e9f864),
    },
    File {
        name: "MR_small_RLE.dcm",
        shape: [1, 1, 64, 64],
        values: 0x264818137be4643e,
        windowed: Some(0xdf2e3aadf008d623),
    },
    File {
        name: "MR_small_implicit.dcm",
        shape: [1, 1, 64, 64],
        values: 0x264818137be4643e,
        windowed: Some(0xdf2e3aadf008d623),
    },
    File {
        name: "MR_small_jp2klossless.dcm",
        shape: [1, 1, 64, 64],
        values: 0x264818137be4643e,
        windowed: Some(0xdf2e3aadf008d623),
    },
    File {
        name: "SC_rgb_jpeg_gdcm.dcm",
        shape: [1, 3, 100, 100],
        values: 0x0a7f57194d5e27d5,
        windowed: None,
    },
    File {
        name: "SC_rgb_rle_16bit_2frame.dcm",
        shape: [2, 3, 100, 100],
        values: 0xb25f97d07c2297e5,
        windowed: None,
    },
    File {
        name: "SC_rgb_small_odd_big_endian.dcm",
        shape: [1, 3, 3, 3],
        values: 0xd749d9c3cfa285a0,
        windowed: None,
    },
    File {
        name: "SC_rgb_small_odd_jpeg.dcm",
        shape: [1, 3, 3, 3],
        values: 0x68e089adf45bf8de,
        windowed: None,
    },
    File {
        name: "image_dfl.dcm",
        shape: [1, 1, 512, 512],
        values: 0x2bb2eb11f21177e9,
        windowed: None,
    },
    File {
        name: "rtdose_expb_1frame.dcm",
        shape: [1, 1, 10, 10],
        values: 0xf1118d2217b2d1aa,
        windowed: None,
    },
    File {
        name: "rtdose_rle_1frame.dcm",
        shape: [1, 1, 10, 10],
        values: 0xf1118d2217b2d1aa,
        windowed: None,
    },
];

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/dicom")
        .join(name)
}

/// FNV-1a of 64 bits over the values as 32-bit floats, low byte first.
fn digest(images: &Images) -> u64 {
    let values = (0..images.pixels.len()).map(|at| images.pixels.value(at) as f32);
    values
        .flat_map(f32::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |number, byte| {
            (number ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}

#[test]
fn values_are_those_of_pydicom() {
    for file in FILES {
        let images = open_dicom(path(file.name), &DicomOptions::default()).unwrap();
        let shape = [images.len(), images.channels, images.height, images.width];
        assert_eq!(shape, file.shape, "{}", file.name);
        assert_eq!(digest(&images), file.values, "{}", file.name);
        let found = open_dicom(path(file.name), &windowed(Window::OfFile));
        assert_eq!(
            found.ok().map(|images| digest(&images)),
            file.windowed,
            "{}",
            file.name
        );
    }
}
