//! Constants of the file: all element types, in the file or beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::array::{Array, Data, elements};
use crate::element::Element;
use crate::proto::TensorProto;

/// Largest file: 512 MiB, as for model files.
pub const MAX_FILE_BYTES: usize = 512 << 20;

/// The data of the tensor is in another file.
const EXTERNAL: i32 = 1;

/// Where the data of tensors is that are not in the file itself: its folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside(pub(crate) Option<PathBuf>);

fn wrong(tensor: &TensorProto, what: impl std::fmt::Display) -> Error {
    Error::Malformed {
        what: format!("tensor {:?}: {what}", tensor.name),
    }
}

impl Array {
    /// Reads a constant; its data may be raw, in the field of its type, or in another file of the same folder.
    pub(crate) fn read(tensor: &TensorProto, beside: &Beside) -> Result<Self, Error> {
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| d.try_into().ok()).collect();
        let sized = dims.and_then(|dims| elements(&dims).map(|count| (dims, count)));
        let Some((dims, count)) = sized else {
            return Err(wrong(
                tensor,
                format!("impossible dimensions {:?}", tensor.dims),
            ));
        };
        let Some(element) = Element::of(tensor.data_type) else {
            return Err(wrong(
                tensor,
                format!(
                    "its elements are {}, expected floating-point or whole numbers of 8 bits or more: export in float32",
                    Element::name(tensor.data_type)
                ),
            ));
        };
        let data = if tensor.data_location == EXTERNAL {
            raw(element, &beside.load(tensor, count * element.bytes())?)
        } else if tensor.raw_data.is_empty() {
            typed(element, tensor)
        } else {
            let expected = count * element.bytes();
            if tensor.raw_data.len() != expected {
                return Err(wrong(
                    tensor,
                    format!(
                        "{} bytes, expected {expected} for {} of dimensions {dims:?}",
                        tensor.raw_data.len(),
                        Element::name(tensor.data_type)
                    ),
                ));
            }
            raw(element, &tensor.raw_data)
        };
        if data.len() != count {
            return Err(wrong(
                tensor,
                format!(
                    "{} values, expected {count} for dimensions {dims:?}",
                    data.len()
                ),
            ));
        }
        Ok(Self {
            dims,
            element,
            data,
        })
    }
}

/// Values from the field that ONNX has for the type.
fn typed(element: Element, tensor: &TensorProto) -> Data {
    let small = || tensor.int32_data.iter();
    match element {
        Element::Float => Data::Float(tensor.float_data.clone()),
        Element::Double => Data::Float(tensor.double_data.iter().map(|&v| v as f32).collect()),
        Element::Float16 => Data::Float(small().map(|&v| half(v as u16)).collect()),
        Element::BFloat16 => Data::Float(small().map(|&v| brain(v as u16)).collect()),
        Element::Int64 => Data::Int(tensor.int64_data.clone()),
        Element::Uint32 | Element::Uint64 => {
            Data::Int(tensor.uint64_data.iter().map(|&v| v as i64).collect())
        }
        Element::Bool
        | Element::Int8
        | Element::Int16
        | Element::Int32
        | Element::Uint8
        | Element::Uint16 => Data::Int(small().map(|&v| i64::from(v)).collect()),
    }
}

/// Values from little-endian bytes.
fn raw(element: Element, bytes: &[u8]) -> Data {
    fn each<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().copied().map(read).collect()
    }
    match element {
        Element::Float => Data::Float(each(bytes, f32::from_le_bytes)),
        Element::Double => Data::Float(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        Element::Float16 => Data::Float(each(bytes, |b| half(u16::from_le_bytes(b)))),
        Element::BFloat16 => Data::Float(each(bytes, |b| brain(u16::from_le_bytes(b)))),
        Element::Bool => Data::Int(each(bytes, |[b]| i64::from(b != 0))),
        Element::Uint8 => Data::Int(each(bytes, |[b]| i64::from(b))),
        Element::Int8 => Data::Int(each(bytes, |b| i64::from(i8::from_le_bytes(b)))),
        Element::Uint16 => Data::Int(each(bytes, |b| i64::from(u16::from_le_bytes(b)))),
        Element::Int16 => Data::Int(each(bytes, |b| i64::from(i16::from_le_bytes(b)))),
        Element::Uint32 => Data::Int(each(bytes, |b| i64::from(u32::from_le_bytes(b)))),
        Element::Int32 => Data::Int(each(bytes, |b| i64::from(i32::from_le_bytes(b)))),
        Element::Uint64 => Data::Int(each(bytes, |b| u64::from_le_bytes(b) as i64)),
        Element::Int64 => Data::Int(each(bytes, i64::from_le_bytes)),
    }
}

fn half(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}

fn brain(bits: u16) -> f32 {
    half::bf16::from_bits(bits).to_f32()
}

impl Beside {
    /// The bytes of a tensor in another file. That file must be in the same folder, and hold exactly what the tensor
    /// needs where the tensor says.
    fn load(&self, tensor: &TensorProto, expected: usize) -> Result<Vec<u8>, Error> {
        let entry = |key: &str| {
            let mut entries = tensor.external_data.iter();
            entries
                .find(|entry| entry.key == key)
                .map(|entry| &entry.value[..])
        };
        let number = |key: &str| -> Result<Option<u64>, Error> {
            let Some(text) = entry(key) else {
                return Ok(None);
            };
            let parsed = text.trim().parse();
            parsed
                .map(Some)
                .map_err(|_| wrong(tensor, format!("{key} is {text:?}, expected a number")))
        };
        let location = entry("location").unwrap_or_default();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let Some(folder) = &self.0 else {
            return Err(wrong(
                tensor,
                format!(
                    "its data is in the file {location:?}, which bytes alone do not have: give the path of the ONNX file"
                ),
            ));
        };
        let inside = Path::new(location)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let path = folder.join(location);
        let read = |reason| Error::Read {
            path: path.display().to_string(),
            advice: "weights of the network are in this file: keep the files of one export together",
            reason,
        };
        if location.is_empty() || !inside {
            return Err(wrong(
                tensor,
                format!(
                    "its data is in {location:?}, expected a file in the folder of the ONNX file"
                ),
            ));
        }
        // A link that leads out of the folder is no file of the folder.
        let real = path.canonicalize().map_err(read)?;
        if !real.starts_with(folder.canonicalize().map_err(read)?) {
            return Err(wrong(
                tensor,
                format!(
                    "{location:?} leads out of the folder of the ONNX file: copy the file there"
                ),
            ));
        }
        let mut file = File::open(&real).map_err(read)?;
        let held = file.metadata().map_err(read)?.len();
        let length = length.unwrap_or(held.saturating_sub(offset));
        let end = offset.checked_add(length);
        if length != expected as u64
            || end.is_none_or(|end| end > held)
            || expected > MAX_FILE_BYTES
        {
            return Err(wrong(
                tensor,
                format!(
                    "{length} bytes at {offset} of {location:?}, which has {held}: expected {expected} bytes; \
                     keep the two files of one export together"
                ),
            ));
        }
        file.seek(SeekFrom::Start(offset)).map_err(read)?;
        let mut bytes = vec![0; expected];
        file.read_exact(&mut bytes).map_err(read)?;
        Ok(bytes)
    }
}
