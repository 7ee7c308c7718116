//! Stage of the client; see [`sordino_fhe_benchmark::encrypt_input`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sordino_fhe_benchmark::run_sized(
        "client_encode_encrypt_input",
        sordino_fhe_benchmark::encrypt_input,
    )
}
