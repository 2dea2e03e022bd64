//! Asking before much is removed.

use std::io::{BufRead, Write};

use crate::failure::Result;

/// Prints a warning, asks, and tells whether the answer was yes.
pub fn ask(warning: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    write!(out, "WARNING! {warning}\nAre you sure you want to continue? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
