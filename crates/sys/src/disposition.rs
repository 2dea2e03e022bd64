//! sigaction(2): what a program that is about to be executed inherits from us.

/// Sets every signal back to its default disposition, as a program expects it after execve(2).
///
/// The language's runtime ignores SIGPIPE in us, and ignored signals stay ignored across execve(2).
pub fn reset_all() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL installs no code of ours. Numbers that cannot be changed (SIGKILL, SIGSTOP,
        // those reserved by libc) make the call fail, which changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
