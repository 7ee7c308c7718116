//! Stage of the server; see [`sordino_fhe_benchmark_server::compute`], the only crate that this program uses.

use std::process::ExitCode;

fn main() -> ExitCode {
    sordino_fhe_benchmark_server::stage::run_sized(
        "server_encrypted_compute",
        sordino_fhe_benchmark_server::compute,
    )
}
