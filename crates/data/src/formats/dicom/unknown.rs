//! Sequences of a type that their writer did not know, which are skipped.
//!
//! In a data set with types such a sequence (`UN` of undefined length) is written without them, which the decoder of `dicom-encoding` does
//! not take into account.
//!
//! # Reference
//! DICOM PS3.5, section 6.2.2, note 2.

use dicom_core::header::{DataElementHeader, Length, SequenceItemHeader};
use dicom_core::{Tag, VR};
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use dicom_encoding::decode::{DecodeFrom, Error};

use super::elements::implicit;

const ITEM_END: Tag = Tag(0xfffe, 0xe00d);

/// Decodes elements with types; a sequence of an unknown type becomes an empty value.
#[derive(Default)]
pub(super) struct Explicit(ExplicitVRLittleEndianDecoder);

impl DecodeFrom<&[u8]> for Explicit {
    fn decode_header(&self, source: &mut &[u8]) -> Result<(DataElementHeader, usize), Error> {
        let (header, read) = self.0.decode_header(source)?;
        if header.vr != VR::UN || header.len.is_defined() {
            return Ok((header, read));
        }
        let skipped = skip(source)?;
        let empty = DataElementHeader::new(header.tag, VR::UN, Length(0));
        Ok((empty, read + skipped))
    }

    fn decode_item_header(&self, source: &mut &[u8]) -> Result<SequenceItemHeader, Error> {
        self.0.decode_item_header(source)
    }

    fn decode_tag(&self, source: &mut &[u8]) -> Result<Tag, Error> {
        self.0.decode_tag(source)
    }
}

/// Skips the items of a sequence without types up to its end, and says how many bytes they are.
fn skip(source: &mut &[u8]) -> Result<usize, Error> {
    let decoder = implicit();
    let length = source.len();
    // How many sequences and items are open, which take turns: the outermost is a sequence.
    let mut depth = 1usize;
    while depth > 0 {
        let (end, length) = if depth % 2 == 1 {
            match decoder.decode_item_header(source)? {
                SequenceItemHeader::Item { len } => (false, len),
                SequenceItemHeader::ItemDelimiter | SequenceItemHeader::SequenceDelimiter => {
                    (true, Length(0))
                }
            }
        } else {
            let (header, _) = decoder.decode_header(source)?;
            (header.tag == ITEM_END, header.len)
        };
        match (end, length.get()) {
            (true, _) => depth -= 1,
            (false, None) => depth += 1,
            // A length beyond the end leaves nothing, and the next header is missed.
            (false, Some(count)) => *source = source.get(count as usize..).unwrap_or_default(),
        }
    }
    Ok(length - source.len())
}
