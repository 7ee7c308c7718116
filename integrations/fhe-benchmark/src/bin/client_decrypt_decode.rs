//! Stage of the client; see [`sordino_fhe_benchmark::decrypt_result`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sordino_fhe_benchmark::run_sized(
        "client_decrypt_decode",
        sordino_fhe_benchmark::decrypt_result,
    )
}
