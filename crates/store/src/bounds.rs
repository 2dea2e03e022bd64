//! What a layer may become.

/// How much a layer may hold, so that a small one cannot fill the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the tar, decompressed.
    pub max_layer_bytes: u64,
    /// How many times larger than what is stored it may become, if it is not small anyway.
    pub max_ratio: u64,
    /// Files, directories and so on.
    pub max_members: u64,
}

/// Below this nothing is suspicious: it may be one file of zeros.
const HARMLESS_BYTES: u64 = 1 << 30;

impl Default for Bounds {
    /// 64 GiB and ten million members. Real layers become some ten times larger than they are stored,
    /// bombs a thousand times; the bound lies between.
    fn default() -> Bounds {
        Bounds { max_layer_bytes: 64 << 30, max_ratio: 200, max_members: 10_000_000 }
    }
}

impl Bounds {
    /// For who knows how large layers are: as large as that, however small they are stored.
    pub fn up_to(max_layer_bytes: u64) -> Bounds {
        Bounds { max_layer_bytes, max_ratio: u64::MAX, ..Bounds::default() }
    }

    /// What a layer may become that takes so much compressed.
    pub(crate) fn max_bytes_of(&self, stored_bytes: u64) -> u64 {
        let likely = stored_bytes.saturating_mul(self.max_ratio).max(HARMLESS_BYTES);
        self.max_layer_bytes.min(likely)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_layer_does_not_become_a_huge_one() {
        let bounds = Bounds::default();
        assert_eq!(bounds.max_bytes_of(1000), HARMLESS_BYTES);
        assert_eq!(bounds.max_bytes_of(10 << 20), 2000 << 20);
        assert_eq!(bounds.max_bytes_of(u64::MAX), 64 << 30);
        assert_eq!(Bounds::up_to(5 << 30).max_bytes_of(1000), 5 << 30);
    }
}
