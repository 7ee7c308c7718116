//! File header, digests, limits, bounded reads, write-then-rename
