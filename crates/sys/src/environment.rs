//! environ(7): variables of our own process.

use std::{ffi::OsStr, fs, io};

/// Sets a variable of our own process, as setenv(3) does.
///
/// # Errors
/// `InvalidInput` if there is more than one thread: another one could be reading the variables, and
/// the C library does not guard them (setenv(3), "MT-Unsafe").
pub fn set(name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> io::Result<()> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        let reason = format!("there are {threads} threads, and any may read the variables");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    // SAFETY: `set_var` must not run while another thread reads or writes the environment. There is
    // only this one, and only it could start another.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}

#[cfg(test)]
mod tests {
    /// Tests run in threads of their own, so that refusal is all that can be seen here.
    #[test]
    fn it_is_refused_among_threads() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let refused = super::set("STASIS_TEST", "x").expect_err("there are threads");
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(std::env::var_os("STASIS_TEST"), None);
        drop(stop);
        assert!(other.join().is_ok());
    }
}
