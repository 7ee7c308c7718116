//! Stage of the client; see [`sordino_fhe_benchmark::generate_keys`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sordino_fhe_benchmark::run_sized(
        "client_key_generation",
        sordino_fhe_benchmark::generate_keys,
    )
}
