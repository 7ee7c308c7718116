//! The HTTP service from the client's side: calls, transfers that survive broken connections, and whole submissions.
//!
//! [`RemoteServer`] has one method for each route of `docs/reference/openapi.json` that a submission needs. All of them try again after trouble that passes
//! (no connection, a timeout, a server that is busy or restarts), with growing pauses, until nothing was heard for
//! [`ConnectOptions::patience`]; what the server refuses is an error at once. [`submit`] is everything from images to predictions,
//! and can be killed and called again at any moment.
//!
//! The server is not trusted: its answers are bounded, its client plan is checked before anything is encrypted, and nothing of the
//! secret key, the images or their names is sent to it.
//!
//! # Example
//! ```no_run
//! use std::path::Path;
//!
//! use sordino_client::http::{ConnectOptions, RemoteServer, SubmitOptions, Token, submit};
//! use sordino_client::Error;
//!
//! # async fn example() -> Result<(), Error> {
//! let token = Token::read_file(Path::new("token"))?;
//! let server = RemoteServer::connect("https://sordino.example.org", &token, ConnectOptions::default())?;
//! for model in server.models().await?.models {
//!     println!("{} takes {} images at once", model.name, model.batch);
//! }
//! let images = sordino_data::open_images("images")?;
//! let options = SubmitOptions::new("predictions.csv");
//! let submitted = submit(&server, "mnist", images, &options).await?;
//! println!("the first image is of class {}", submitted.predictions.classes()[0]);
//! # Ok(())
//! # }
//! ```

mod again;
mod call;
mod cause;
mod connect;
mod download;
mod event;
mod events;
mod key_place;
mod out;
mod pin;
mod plan;
mod retry;
mod server;
mod submission;
mod submit;
mod submitted;
mod tls;
mod token;
mod upload;
mod wait;

pub use connect::{ConnectOptions, RemoteServer};
pub use event::{Event, Observer, Upload};
pub use events::JobEvents;
pub use key_place::secret_key_of;
pub use submit::submit;
pub use submitted::{SubmitOptions, SubmitTimes, Submitted};
pub use token::Token;
