//! The stages of the FHE benchmarking suite of HomomorphicEncryption.org, workload ML inference on MNIST, as programs.
//!
//! The suite starts one program a stage, each a process of its own, and passes what they exchange as files. The client's stages
//! are functions of this crate, those of the server are in `sordino-fhe-benchmark-server`; every program is one line over one of these
//! functions. `README.md` has the measured figures and says how the programs come into a checkout of the suite.
//!
//! | stage | function |
//! |---|---|
//! | `client_key_generation SIZE` | [`generate_keys`] |
//! | `server_preprocess_model` | `sordino_fhe_benchmark_server::preprocess_model` |
//! | `client_preprocess_input SIZE` | [`preprocess_input`] |
//! | `client_encode_encrypt_input SIZE` | [`encrypt_input`] |
//! | `server_encrypted_compute SIZE` | `sordino_fhe_benchmark_server::compute` |
//! | `client_decrypt_decode SIZE` | [`decrypt_result`] |
//! | `client_postprocess SIZE` | [`write_labels`] |

mod decrypt;
mod encrypt;
mod error;
mod keys;
mod pixels;
mod plans;

pub use decrypt::{decrypt_result, write_labels};
pub use encrypt::{encrypt_input, preprocess_input};
pub use error::Error;
pub use keys::generate_keys;
pub use plans::{client, client_plan, client_plan_bytes};
pub use sordino_fhe_benchmark_server::stage::run_sized;
