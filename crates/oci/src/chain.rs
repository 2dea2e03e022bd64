//! The name of a stack of layers: OCI image-spec, "Layer ChainID".

use std::{ffi::OsStr, fmt};

use crate::digest::Digest;

/// Names what one sees through a stack of layers, so that the same stack is unpacked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(Digest);

impl ChainId {
    /// The lowest layer alone.
    pub fn of_base(diff_id: Digest) -> ChainId {
        ChainId(diff_id)
    }

    /// One more layer on top.
    pub fn on(below: ChainId, diff_id: Digest) -> ChainId {
        ChainId(Digest::of(format!("{below} {diff_id}").as_bytes()))
    }

    /// One for each layer of an image, the lowest first.
    pub fn all(diff_ids: &[Digest]) -> Vec<ChainId> {
        let mut chain: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            chain.push(match chain.last() {
                None => ChainId::of_base(*diff_id),
                Some(below) => ChainId::on(*below, *diff_id),
            });
        }
        chain
    }

    /// What has these digits as its name.
    pub fn from_name(name: &OsStr) -> Option<ChainId> {
        Digest::from_hex(name.to_str()?).ok().map(ChainId)
    }

    /// Its digits, fit for a file name.
    pub fn hex(&self) -> String {
        self.0.hex()
    }
}

impl From<Digest> for ChainId {
    fn from(digest: Digest) -> ChainId {
        ChainId(digest)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_the_digest_of_what_is_below_and_the_layer() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let chain = ChainId::all(&[a, b, a]);
        assert_eq!(chain[0].to_string(), a.to_string());
        assert_eq!(chain[1].to_string(), Digest::of(format!("{a} {b}").as_bytes()).to_string());
        assert_eq!(chain[2], ChainId::on(chain[1], a));
        assert!(ChainId::all(&[]).is_empty());
    }
}
