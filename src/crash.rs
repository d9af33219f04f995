//! Dies on purpose at a named step, so that tests can show what a crash leaves.

/// Ends the process, as `kill -9` would, where a test asked for it. Programs built
/// for use do not look.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    if std::env::var_os("STOREKEEPER_CRASH_AT").is_some_and(|at| at == name) {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn point(_name: &str) {}
