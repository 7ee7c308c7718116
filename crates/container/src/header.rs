//! The fixed header in front of every file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Reader};

/// The first eight bytes of every file.
pub const MAGIC: [u8; 8] = *b"SORDINO\0";

/// The format version that this program writes and reads.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes before the metadata.
pub const HEADER_BYTES: usize = 56;

/// The most bytes of metadata of any file; larger content belongs in the payload.
pub const METADATA_LIMIT: u64 = 16 << 20;

const DIGEST_DOMAIN: &str = "sordino container file v1";

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u16)]
#[non_exhaustive]
pub enum Kind {
    /// The part of a plan with the weights, for the evaluating side.
    ServerPlan = 1,
    /// The part of a plan without weights, for the side that owns the images.
    ClientPlan = 2,
    /// A secret key.
    SecretKey = 3,
    /// The public evaluation key.
    EvaluationKey = 4,
    /// Encrypted images.
    Request = 5,
    /// Encrypted scores.
    Reply = 6,
    /// Part of a feature map, out of memory while a request is evaluated.
    Piece = 7,
    /// The state of an interrupted evaluation, to resume from.
    Checkpoint = 8,
}

impl Kind {
    /// Every kind, by code.
    pub const ALL: [Self; 8] = [
        Self::ServerPlan,
        Self::ClientPlan,
        Self::SecretKey,
        Self::EvaluationKey,
        Self::Request,
        Self::Reply,
        Self::Piece,
        Self::Checkpoint,
    ];

    /// The code in the header.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The kind with a code, if there is one.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Which command writes such a file, for messages.
    pub(crate) fn origin(self) -> &'static str {
        match self {
            Self::ServerPlan => "the server.plan that `sordino compile` writes",
            Self::ClientPlan => "the client.plan that `sordino compile` writes",
            Self::SecretKey => "the secret.key that `sordino keygen` writes",
            Self::EvaluationKey => "the evaluation.key that `sordino keygen` writes",
            Self::Request => "a request that `sordino encrypt` writes",
            Self::Reply => "a reply that `sordino evaluate` writes",
            Self::Piece | Self::Checkpoint => {
                "what `sordino evaluate` writes into its scratch folder"
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerPlan => "server plan",
            Self::ClientPlan => "client plan",
            Self::SecretKey => "secret key",
            Self::EvaluationKey => "evaluation key",
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Piece => "piece of a feature map",
            Self::Checkpoint => "checkpoint",
        })
    }
}

/// The most that a reader is willing to take into memory.
///
/// Metadata is bounded by [`METADATA_LIMIT`] as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of metadata.
    pub metadata_bytes: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
}

/// A header as read, with magic, version and kind checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) metadata_bytes: u32,
    pub(crate) payload_bytes: u64,
    pub(crate) digest: Digest,
}

impl Header {
    /// Bytes of the whole file; saturates where no such file can exist.
    pub(crate) fn file_bytes(&self) -> u64 {
        (HEADER_BYTES as u64 + u64::from(self.metadata_bytes)).saturating_add(self.payload_bytes)
    }

    /// A hasher that has taken in version, kind and lengths; metadata and payload follow.
    pub(crate) fn hasher(&self) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_derive_key(DIGEST_DOMAIN);
        hasher.update(&self.encode()[MAGIC.len()..HEADER_BYTES - 32]);
        hasher
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.kind.code().to_le_bytes());
        bytes[12..16].copy_from_slice(&self.metadata_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[24..].copy_from_slice(self.digest.as_bytes());
        bytes
    }

    /// Reads a header from the first bytes of a file (fewer than [`HEADER_BYTES`] if the file is shorter).
    pub(crate) fn decode(bytes: &[u8], location: &str) -> Result<Self, Error> {
        // A short file that starts like one of ours was cut, anything else was never ours.
        let start = bytes.len().min(MAGIC.len());
        if bytes.is_empty() || bytes[..start] != MAGIC[..start] {
            return Err(Error::NotSordino {
                location: location.into(),
            });
        }
        if bytes.len() != HEADER_BYTES {
            let (expected, found) = (HEADER_BYTES as u64, bytes.len() as u64);
            return Err(Error::length(location, expected, found));
        }
        let mut fields = Reader::named(&bytes[MAGIC.len()..], location);
        let version = fields.u16()?;
        if version != FORMAT_VERSION {
            return Err(Error::UnsupportedVersion {
                location: location.into(),
                found: version,
            });
        }
        let code = fields.u16()?;
        let kind = Kind::from_code(code).ok_or_else(|| Error::UnknownKind {
            location: location.into(),
            found: code,
        })?;
        Ok(Self {
            kind,
            metadata_bytes: fields.u32()?,
            payload_bytes: fields.u64()?,
            digest: Digest(fields.array()?),
        })
    }

    /// Refuses lengths over the limits, and a file that is not as long as its header says.
    pub(crate) fn check(&self, found: u64, limits: Limits, location: &str) -> Result<(), Error> {
        let metadata_limit = limits.metadata_bytes.min(METADATA_LIMIT);
        for (part, length, limit) in [
            ("metadata", u64::from(self.metadata_bytes), metadata_limit),
            ("payload", self.payload_bytes, limits.payload_bytes),
        ] {
            if length > limit {
                return Err(Error::TooLarge {
                    location: location.into(),
                    part,
                    found: length,
                    limit,
                });
            }
        }
        let expected = self.file_bytes();
        if expected == found {
            return Ok(());
        }
        Err(Error::length(location, expected, found))
    }
}
