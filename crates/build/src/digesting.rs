//! Digests of several fields, none of which can be taken for a part of another.

use std::io::{self, Read};

use stasis_oci::{Digest, Hasher};

#[derive(Debug)]
pub(crate) struct Digesting(Hasher);

impl Digesting {
    /// `kind` keeps digests of different things apart.
    pub fn of(kind: &str) -> Digesting {
        Digesting(Hasher::default()).field(kind.as_bytes())
    }

    pub fn field(mut self, bytes: &[u8]) -> Digesting {
        self.add(bytes);
        self
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// A file's content, whose length stands behind it.
    pub fn add_content(&mut self, mut content: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        let mut len_bytes = 0u64;
        loop {
            let count = content.read(&mut buffer)?;
            if count == 0 {
                self.0.update(&len_bytes.to_le_bytes());
                return Ok(());
            }
            len_bytes += count as u64;
            self.0.update(&buffer[..count]);
        }
    }

    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = Digesting::of("x").field(b"ab").field(b"c").finish();
        let other = Digesting::of("x").field(b"a").field(b"bc").finish();
        assert_ne!(one, other);
    }
}
