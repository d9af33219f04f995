//! Parses the command line, runs the command, says what went wrong and what to do.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    storekeeper::cli::main().await
}
