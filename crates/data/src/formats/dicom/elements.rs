//! What the lazy reader of `dicom-parser` reads headers from.
//!
//! The decoder of `dicom-parser` itself knows how to read values of every type, and brings the dictionary of the whole standard with it,
//! 0.4 MB. Values are never read with it here, and of a data set without types only the sequences must be known.

use std::io::{Seek, Write};

use dicom_core::dictionary::{DataDictionaryEntryRef, TagRange, VirtualVr};
use dicom_core::header::{DataElementHeader, SequenceItemHeader};
use dicom_core::value::PrimitiveValue;
use dicom_core::{DataDictionary, Tag, VR};
use dicom_encoding::decode::DecodeFrom;
use dicom_encoding::decode::implicit_le::ImplicitVRLittleEndianDecoder;
use dicom_parser::StatefulDecode;
use dicom_parser::stateful::decode::{Error, Result};

use super::attributes::is_sequence;

/// Bytes of a data set, from which headers are read and values skipped.
pub(super) struct Elements<'a, D> {
    rest: &'a [u8],
    decoder: D,
    position: u64,
}

impl<'a, D> Elements<'a, D> {
    pub(super) fn new(data: &'a [u8], decoder: D) -> Self {
        Self {
            rest: data,
            decoder,
            position: 0,
        }
    }
}

/// Values are not read.
fn not_read<T>(len: u32) -> Result<T> {
    Err(Error::AllocateValueData { len })
}

impl<'a, D: DecodeFrom<&'a [u8]>> StatefulDecode for Elements<'a, D> {
    type Reader = &'a [u8];

    fn decode_header(&mut self) -> Result<DataElementHeader> {
        let position = self.position;
        let decoded = self.decoder.decode_header(&mut self.rest);
        let (header, read) =
            decoded.map_err(|source| Error::DecodeElementHeader { position, source })?;
        self.position += read as u64;
        Ok(header)
    }

    fn decode_item_header(&mut self) -> Result<SequenceItemHeader> {
        let position = self.position;
        let decoded = self.decoder.decode_item_header(&mut self.rest);
        let header = decoded.map_err(|source| Error::DecodeItemHeader { position, source })?;
        self.position += 8;
        Ok(header)
    }

    fn skip_bytes(&mut self, length: u32) -> Result<()> {
        let Some(rest) = self.rest.get(length as usize..) else {
            return not_read(length);
        };
        self.rest = rest;
        self.position += u64::from(length);
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn read_value(&mut self, _: &DataElementHeader) -> Result<PrimitiveValue> {
        not_read(0)
    }

    fn read_value_preserved(&mut self, _: &DataElementHeader) -> Result<PrimitiveValue> {
        not_read(0)
    }

    fn read_value_bytes(&mut self, _: &DataElementHeader) -> Result<PrimitiveValue> {
        not_read(0)
    }

    fn read_to_vec(&mut self, length: u32, _: &mut Vec<u8>) -> Result<()> {
        not_read(length)
    }

    fn read_u32_to_vec(&mut self, length: u32, _: &mut Vec<u32>) -> Result<()> {
        not_read(length)
    }

    fn read_to<W: Write>(&mut self, length: u32, _: W) -> Result<()> {
        not_read(length)
    }

    fn seek(&mut self, _: u64) -> Result<()>
    where
        Self::Reader: Seek,
    {
        not_read(0)
    }
}

/// The types of elements that are written without them, as far as they matter: sequences that are kept.
pub(super) struct Sequences;

const SEQUENCE: DataDictionaryEntryRef<'static> = DataDictionaryEntryRef {
    tag: TagRange::Single(Tag(0, 0)),
    alias: "",
    vr: VirtualVr::Exact(VR::SQ),
};

impl DataDictionary for Sequences {
    type Entry = DataDictionaryEntryRef<'static>;

    fn by_tag(&self, tag: Tag) -> Option<&Self::Entry> {
        is_sequence(tag).then_some(&SEQUENCE)
    }

    fn by_name(&self, _: &str) -> Option<&Self::Entry> {
        None
    }
}

/// The decoder of elements without types.
pub(super) fn implicit() -> ImplicitVRLittleEndianDecoder<Sequences> {
    ImplicitVRLittleEndianDecoder::with_dict(Sequences)
}
