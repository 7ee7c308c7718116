//! Stage of the client; see [`sordino_fhe_benchmark::preprocess_input`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sordino_fhe_benchmark::run_sized(
        "client_preprocess_input",
        sordino_fhe_benchmark::preprocess_input,
    )
}
