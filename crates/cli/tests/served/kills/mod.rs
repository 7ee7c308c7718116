//! Servers and clients that are killed at random moments, and lose nothing.

mod client;
mod drive;
mod server;
