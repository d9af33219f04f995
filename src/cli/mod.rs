//! To come.

/// To come.
pub async fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
