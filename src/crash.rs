//! Dies or waits on purpose at a named step, so that tests can show what a crash, of
//! this program or of the server, leaves.

/// Ends the process, as `kill -9` would, or holds it, where a test asked for it.
/// Programs built for use do not look.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    if std::env::var_os("STOREKEEPER_CRASH_AT").is_some_and(|at| at == name) {
        std::process::abort();
    }
    if std::env::var_os("STOREKEEPER_HOLD_AT").is_some_and(|at| at == name) {
        tracing::warn!(point = name, "held until a line is typed");
        // An end of the input lets go as well as a line does.
        let _line = std::io::stdin().read_line(&mut String::new());
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn point(_name: &str) {}
