//! Questions to the user at a terminal.

use std::io::{BufRead, Stdin, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::{Failure, Result};

const INTERRUPT: u8 = 0x03;
const END_OF_FILE: u8 = 0x04;
const BACKSPACES: [u8; 2] = [0x08, 0x7f];
const NEW_LINES: [u8; 2] = [b'\r', b'\n'];

/// Asks for a line.
pub fn visible(question: &str) -> Result<String> {
    print(question)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for a line that is not shown.
///
/// The terminal gives us every key, so that its modes come back also if the user breaks off.
pub fn hidden(question: &str) -> Result<String> {
    print(question)?;
    let mut line = Vec::new();
    let silence = Silence::begin()?;
    let ended = read_keys(std::io::stdin().lock(), &mut line);
    drop(silence);
    print("\n")?;
    ended?;
    String::from_utf8(line).map_err(|_| Failure::new("what was typed is no text"))
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn read_keys(keys: impl BufRead, line: &mut Vec<u8>) -> Result<()> {
    for key in keys.bytes() {
        match key? {
            INTERRUPT => return Err(Failure { code: 130, ..Failure::new("") }),
            key if NEW_LINES.contains(&key) || key == END_OF_FILE => return Ok(()),
            key if BACKSPACES.contains(&key) => remove_last_letter(line),
            key => line.push(key),
        }
    }
    Ok(())
}

/// A letter may have several bytes; all but its first look like 10xxxxxx (utf-8(7)).
fn remove_last_letter(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// The terminal shows nothing and sends no signals until this is dropped.
struct Silence {
    stdin: Stdin,
    before: Termios,
}

impl Silence {
    fn begin() -> Result<Silence> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).map_err(std::io::Error::from)?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&stdin, OptionalActions::Now, &modes).map_err(std::io::Error::from)?;
        Ok(Silence { stdin, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to put back.
        let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &[u8], expect: &[u8]) {
        let mut line = Vec::new();
        read_keys(keys, &mut line).unwrap();
        assert_eq!(line, expect);
    }

    #[test]
    fn keys_become_a_line() {
        check(b"abc\rd", b"abc");
        check(b"ab\x7f\x7f\x7fc\n", b"c");
        check("aß\x7fb\n".as_bytes(), b"ab");
        check(b"ab\x04", b"ab");
        check(b"ab", b"ab");
        let interrupted = read_keys(&b"a\x03b\r"[..], &mut Vec::new()).unwrap_err();
        assert_eq!(interrupted.code, 130);
    }
}
