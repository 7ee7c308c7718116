//! Files that are no images, or images of a format that is not read: what they are, and what to do with them.

use std::fs;
use std::path::Path;

use crate::Error;

/// Where a DICOM file has its mark, behind a preamble of any content.
const DICOM_MARK: usize = 128;

/// Bytes of the first data element behind the mark: tag, type, length, and as its value the length of the header that follows
/// (PS3.10, section 7.1).
const DICOM_FIRST_ELEMENT: usize = 12;

/// Formats that have a mark, and what to do with them.
const FORMATS: [(usize, &[u8], &str, &str); 20] = [
    (0, b"GIF8", "a GIF picture", CONVERT),
    (0, b"BM", "a BMP picture", CONVERT),
    (0, b"II*\0", "a TIFF picture", CONVERT),
    (0, b"MM\0*", "a TIFF picture", CONVERT),
    (8, b"WEBP", "a WebP picture", CONVERT),
    (4, b"ftyp", "a HEIC or AVIF picture, or a film", CONVERT),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", CONVERT),
    (0, b"\x89HDF", "an HDF5 file", SAVE),
    (0, b"MATLAB", "a MATLAB file", SAVE),
    (0, b"\x80\x02", "a Python pickle", SAVE),
    (0, b"\x80\x03", "a Python pickle", SAVE),
    (0, b"\x80\x04", "a Python pickle", SAVE),
    (0, b"\x80\x05", "a Python pickle", SAVE),
    (0, b"PAR1", "a Parquet file", SAVE),
    (344, b"n+1\0", "a NIfTI volume", SAVE),
    (0, b"%PDF", "a PDF document", CONVERT),
    (0, b"7z\xbc\xaf", "a 7z archive", UNPACK),
    (0, b"Rar!", "a RAR archive", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
];

const CONVERT: &str = "convert it to PNG";
const SAVE: &str = "save the images with numpy.save as [N, C, H, W]";
const UNPACK: &str = "unpack it and give the folder";

/// How many bytes tell the formats.
pub(crate) const MAGIC_BYTES: u64 = 352;

/// Whether a file that starts with these bytes is one of DICOM.
pub(crate) fn is_dicom(start: &[u8]) -> bool {
    start
        .get(DICOM_MARK..)
        .is_some_and(|rest| rest.starts_with(b"DICM"))
}

/// Whether a DICOM file ends before the header does.
fn is_cut(path: &Path, start: &[u8]) -> bool {
    let Some(element) = start.get(DICOM_MARK + 4..DICOM_MARK + 4 + DICOM_FIRST_ELEMENT) else {
        return true;
    };
    let (tag, length) = element.split_at(DICOM_FIRST_ELEMENT - 4);
    if tag != [2, 0, 0, 0, b'U', b'L', 4, 0] {
        return false;
    }
    let length = length
        .iter()
        .rev()
        .fold(0, |length, &byte| length << 8 | u64::from(byte));
    let header = (DICOM_MARK + 4 + DICOM_FIRST_ELEMENT) as u64 + length;
    fs::metadata(path).is_ok_and(|found| found.len() <= header)
}

/// What a file that starts with these bytes is and what to do with it, if it is of a format that is known and not read.
pub(crate) fn known(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let found = FORMATS
        .iter()
        .find(|(at, mark, ..)| start.get(*at..).is_some_and(|rest| rest.starts_with(mark)));
    found.map(|&(_, _, found, advice)| (found, advice))
}

/// The error for a file that starts with these bytes.
pub(crate) fn refusal(path: &Path, start: &[u8]) -> Error {
    let named_dicom = || {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension
            .is_some_and(|extension| ["dcm", "dicom"].contains(&&*extension.to_ascii_lowercase()))
    };
    let (found, advice) = if is_dicom(start) {
        match is_cut(path, start) {
            true => (
                "a DICOM file that is cut short in its header",
                "fetch it again",
            ),
            false if cfg!(feature = "dicom") => (
                "a DICOM file under the name of a picture",
                "let its name end in .dcm",
            ),
            false => (
                "a DICOM file, and DICOM is not read",
                "save its pixels as a PNG of 8 or 16 bit, or as .npy",
            ),
        }
    } else if start.is_empty() {
        ("an empty file", "fetch it again")
    } else if named_dicom() {
        (
            "a file named as DICOM without the mark of one",
            "save its pixels as a PNG of 8 or 16 bit, or as .npy",
        )
    } else {
        known(start).unwrap_or((
            "another format",
            "give a folder of PNG or JPEG files, DICOM, IDX, CIFAR-10 binary (.bin), .npy or .npz",
        ))
    };
    Error::malformed(path.display().to_string(), "images", found, advice)
}
