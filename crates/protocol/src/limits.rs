//! The most that a message may hold, whatever the plan says.

/// Bytes of a message's metadata.
pub const METADATA_BYTES: u64 = 1 << 20;

/// Bytes of a message's payload.
pub const PAYLOAD_BYTES: u64 = 1 << 38;

/// Blocks of a message.
pub const BLOCKS: usize = 1 << 12;

/// Ciphertexts per block.
pub const ROWS: usize = 1 << 24;
