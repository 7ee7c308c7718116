//! Little-endian fields of a payload: a bounded reader and the builder that mirrors it.

use crate::Error;

/// Reads fields from a payload in order; every length is checked against what remains before memory is taken.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    location: &'a str,
}

/// Writes fields into a payload in order.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::named(bytes, "payload")
    }

    /// As [`new`](Self::new), with a name for messages, such as the path.
    pub fn named(bytes: &'a [u8], location: &'a str) -> Self {
        Self {
            bytes,
            offset: 0,
            location,
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn short(&self, wanted: u64) -> Error {
        let (location, offset, remaining) = (self.location.into(), self.offset, self.remaining());
        Error::ShortPayload {
            location,
            wanted,
            offset,
            remaining,
        }
    }

    fn bad(&self, expected: &'static str, offset: usize) -> Error {
        Error::BadField {
            location: self.location.into(),
            expected,
            offset,
        }
    }

    /// The next `count` bytes, without a copy.
    ///
    /// # Errors
    /// [`Error::ShortPayload`] where fewer remain.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        if count > self.remaining() {
            return Err(self.short(count as u64));
        }
        let start = self.offset;
        self.offset += count;
        Ok(&self.bytes[start..self.offset])
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Error::ShortPayload`] where fewer remain.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// A count of elements of `element_bytes` bytes each that follow, stored as u64: at most as many as remain.
    ///
    /// # Errors
    /// [`Error::ShortPayload`] where fewer follow.
    pub fn count(&mut self, element_bytes: usize) -> Result<usize, Error> {
        let count = self.u64()?;
        let wanted = count.saturating_mul(element_bytes as u64);
        match usize::try_from(count) {
            Ok(count) if wanted <= self.remaining() as u64 => Ok(count),
            _ => Err(self.short(wanted)),
        }
    }

    /// A truth value: one byte, 0 or 1.
    ///
    /// # Errors
    /// [`Error::BadField`] for any other byte.
    pub fn bool(&mut self) -> Result<bool, Error> {
        let offset = self.offset;
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad("0 or 1", offset)),
        }
    }

    /// A text of at most `limit` bytes, as [`Builder::string`] writes it: length (u32), then UTF-8.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::ShortPayload`], or [`Error::BadField`] where it is not UTF-8.
    pub fn string(&mut self, limit: usize) -> Result<String, Error> {
        let length = self.u32()? as usize;
        if length > limit {
            let (found, limit) = (length as u64, limit as u64);
            return Err(Error::TooLarge {
                location: self.location.into(),
                part: "text",
                found,
                limit,
            });
        }
        let offset = self.offset;
        let text = std::str::from_utf8(self.bytes(length)?);
        text.map(str::to_owned)
            .map_err(|_| self.bad("UTF-8 text", offset))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Error::TrailingBytes`] where bytes remain.
    pub fn finish(self) -> Result<(), Error> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(Error::TrailingBytes {
                location: self.location.into(),
                remaining,
            }),
        }
    }
}

impl Builder {
    /// An empty payload.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty payload with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a count (u64), which [`Reader::count`] checks against what follows.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u64(count as u64)
    }

    /// Appends a truth value as one byte.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Appends a text: length (u32), then UTF-8.
    ///
    /// # Panics
    /// For a text of 4 GiB or more.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.u32(u32::try_from(text.len()).expect("a text under 4 GiB"));
        self.bytes(text.as_bytes())
    }

    /// The payload.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

macro_rules! number {
    ($($number:ident $vector:ident),*) => { $(
        impl Reader<'_> {
            #[doc = concat!("A ", stringify!($number), ".")]
            ///
            /// # Errors
            /// [`Error::ShortPayload`] where too few bytes remain.
            pub fn $number(&mut self) -> Result<$number, Error> {
                Ok($number::from_le_bytes(self.array()?))
            }

            #[doc = concat!("`count` values of ", stringify!($number), "; the count is checked before memory is taken.")]
            ///
            /// # Errors
            /// [`Error::ShortPayload`] where too few bytes remain.
            pub fn $vector(&mut self, count: usize) -> Result<Vec<$number>, Error> {
                const WIDTH: usize = size_of::<$number>();
                let wanted = (count as u64).saturating_mul(WIDTH as u64);
                let Some(bytes) = usize::try_from(wanted).ok().filter(|&bytes| bytes <= self.remaining()) else {
                    return Err(self.short(wanted));
                };
                let bytes = self.bytes(bytes)?;
                let values = bytes.as_chunks::<WIDTH>().0;
                Ok(values.iter().map(|&value| $number::from_le_bytes(value)).collect())
            }
        }

        impl Builder {
            #[doc = concat!("Appends a ", stringify!($number), ".")]
            pub fn $number(&mut self, value: $number) -> &mut Self {
                self.bytes(&value.to_le_bytes())
            }

            #[doc = concat!("Appends values of ", stringify!($number), ", without their count.")]
            pub fn $vector(&mut self, values: &[$number]) -> &mut Self {
                self.bytes.reserve(size_of_val(values));
                for value in values {
                    self.bytes.extend_from_slice(&value.to_le_bytes());
                }
                self
            }
        }
    )* };
}

number!(
    u8 vec_u8, u16 vec_u16, u32 vec_u32, u64 vec_u64, u128 vec_u128, i8 vec_i8, i16 vec_i16, i32 vec_i32,
    i64 vec_i64, i128 vec_i128, f32 vec_f32, f64 vec_f64
);
