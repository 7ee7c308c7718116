//! Stage of the client; see [`sordino_fhe_benchmark::write_labels`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sordino_fhe_benchmark::run_sized("client_postprocess", sordino_fhe_benchmark::write_labels)
}
