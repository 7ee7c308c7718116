//! Stage of the server; see [`sordino_fhe_benchmark_server::preprocess_model`], the only crate that this program uses.

use std::process::ExitCode;

fn main() -> ExitCode {
    sordino_fhe_benchmark_server::stage::run_for_all(
        "server_preprocess_model",
        sordino_fhe_benchmark_server::preprocess_model,
    )
}
