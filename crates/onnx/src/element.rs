//! Element types of ONNX tensors.

use std::fmt;

/// What the elements of a tensor are, by ONNX's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Float,
    Double,
    Float16,
    BFloat16,
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
}

use Element::*;

impl Element {
    /// The type of an ONNX number; `None` for text, complex numbers and packed types.
    pub(crate) const fn of(code: i32) -> Option<Self> {
        Some(match code {
            1 => Float,
            2 => Uint8,
            3 => Int8,
            4 => Uint16,
            5 => Int16,
            6 => Int32,
            7 => Int64,
            9 => Bool,
            10 => Float16,
            11 => Double,
            12 => Uint32,
            13 => Uint64,
            16 => BFloat16,
            _ => return None,
        })
    }

    /// The name of an ONNX number, for messages.
    pub(crate) fn name(code: i32) -> String {
        let name = match code {
            0 => "undefined",
            1 => "float",
            2 => "uint8",
            3 => "int8",
            4 => "uint16",
            5 => "int16",
            6 => "int32",
            7 => "int64",
            8 => "string",
            9 => "bool",
            10 => "float16",
            11 => "double",
            12 => "uint32",
            13 => "uint64",
            14 => "complex64",
            15 => "complex128",
            16 => "bfloat16",
            17..=20 => "float8",
            21 => "uint4",
            22 => "int4",
            23 => "float4",
            other => return format!("type number {other}"),
        };
        name.to_string()
    }

    pub(crate) const fn is_float(self) -> bool {
        matches!(self, Float | Double | Float16 | BFloat16)
    }

    /// Bytes of an element in a file.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Bool | Int8 | Uint8 => 1,
            Float16 | BFloat16 | Int16 | Uint16 => 2,
            Float | Int32 | Uint32 => 4,
            Double | Int64 | Uint64 => 8,
        }
    }

    /// Smallest and largest value of an integer type.
    pub(crate) const fn bounds(self) -> (i64, i64) {
        match self {
            Bool => (0, 1),
            Int8 => (i8::MIN as i64, i8::MAX as i64),
            Int16 => (i16::MIN as i64, i16::MAX as i64),
            Int32 => (i32::MIN as i64, i32::MAX as i64),
            Uint8 => (0, u8::MAX as i64),
            Uint16 => (0, u16::MAX as i64),
            Uint32 => (0, u32::MAX as i64),
            Uint64 => (0, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&format!("{self:?}").to_lowercase())
    }
}
