//! Servers that are killed at random moments, and lose nothing.

mod drive;
mod server;
