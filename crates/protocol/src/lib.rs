//! What client and server exchange: headers, limits and layout of requests and replies.
//!
//! Client and server use the same types, so that there is one place where a message is checked against the plan.
//! Everything in a message is treated as hostile: the header is compared with the [`MessageShape`] that the plan
//! fixes, sizes are computed with checked arithmetic before memory is taken, and every residue is compared with
//! its prime.
//!
//! ```text
//! request payload: block, limb             : features × N residues of component 0 (component 1 is a seed)
//! reply payload:   block, component, limb  : logits × N residues
//! ```
//!
//! [`api`] has the messages of the HTTP service. This crate knows no secret key, no images and no network.

pub mod api;
mod error;
mod layout;
pub mod limits;
mod message;
mod reading;
mod reply;
mod request;
mod seed;
mod shape;

pub use error::{Error, Message};
pub use layout::Layout;
pub use message::{EncryptedMessage, ReceivedBlock, ReceivedMessage};
pub use reading::MessageReader;
pub use reply::{ReceivedReply, Reply, ReplyHeader, ReplyParents};
pub use request::{ReceivedRequest, Request, RequestHeader, RequestParents, RequestReader};
pub use seed::Seed;
pub use shape::{MessageShape, check_key, shorten};
