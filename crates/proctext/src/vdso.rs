//! The vDSO's functions: an ELF image that the kernel maps into every process (vdso(7)).

/// A function of a vDSO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: Vec<u8>,
    /// From the image's beginning.
    pub offset: usize,
    pub len: usize,
}

/// More symbols than any vDSO has.
const MAX_SYMBOLS: usize = 1024;
const SYMBOL_BYTES: usize = 24;

/// The functions that an image offers, by their places; all lie inside it. `None` if it is no such image.
pub fn functions(image: &[u8]) -> Option<Vec<Function>> {
    const MAGIC: &[u8] = b"\x7fELF\x02\x01\x01";
    const FUNCTION: u8 = 2;
    if !image.starts_with(MAGIC) {
        return None;
    }
    let layout = Layout::read(image)?;
    let mut found = Vec::new();
    for index in 0..layout.nr_symbols(image)? {
        let symbol = layout.symbols.checked_add(index * SYMBOL_BYTES)?;
        let (name, info, section) = (word(image, symbol)?, *image.get(symbol + 4)?, symbol + 6);
        let is_defined = half(image, section)? != 0;
        if info & 0xf != FUNCTION || !is_defined {
            continue;
        }
        let offset = layout.place(long(image, symbol + 8)?)?;
        let len = usize::try_from(long(image, symbol + 16)?).ok()?;
        if offset.checked_add(len)? > image.len() {
            return None;
        }
        let name = layout.names.checked_add(usize::try_from(name).ok()?)?;
        let rest = image.get(name..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        found.push(Function { name: rest[..end].to_vec(), offset, len });
    }
    found.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    Some(found)
}

/// Where the tables lie, as places in the image.
#[derive(Default)]
struct Layout {
    /// Address of the image's beginning.
    base: u64,
    symbols: usize,
    names: usize,
    hash: Option<usize>,
    gnu_hash: Option<usize>,
}

impl Layout {
    fn read(image: &[u8]) -> Option<Layout> {
        const LOAD: u32 = 1;
        const DYNAMIC: u32 = 2;
        const MAX_SEGMENTS: u16 = 64;
        let table = usize::try_from(long(image, 32)?).ok()?;
        let (entry_bytes, count) = (usize::from(half(image, 54)?), half(image, 56)?);
        let mut base = None;
        let mut dynamic = None;
        for index in 0..count.min(MAX_SEGMENTS) {
            let at = table.checked_add(usize::from(index) * entry_bytes)?;
            match word(image, at)? {
                // The first one is the whole image.
                LOAD if base.is_none() => {
                    base = Some(long(image, at + 16)?.checked_sub(long(image, at + 8)?)?);
                }
                DYNAMIC => dynamic = Some(long(image, at + 16)?),
                _ => {}
            }
        }
        Layout { base: base?, ..Layout::default() }.with_tables(image, dynamic?)
    }

    fn with_tables(mut self, image: &[u8], dynamic: u64) -> Option<Layout> {
        const HASH: u64 = 4;
        const STRTAB: u64 = 5;
        const SYMTAB: u64 = 6;
        const GNU_HASH: u64 = 0x6fff_fef5;
        const MAX_TAGS: usize = 256;
        let start = self.place(dynamic)?;
        let (mut symbols, mut names) = (None, None);
        for index in 0..MAX_TAGS {
            let at = start.checked_add(index * 16)?;
            let place = || self.place(long(image, at + 8)?);
            match long(image, at)? {
                0 => break,
                HASH => self.hash = Some(place()?),
                STRTAB => names = Some(place()?),
                SYMTAB => symbols = Some(place()?),
                GNU_HASH => self.gnu_hash = Some(place()?),
                _ => {}
            }
        }
        Some(Layout { symbols: symbols?, names: names?, ..self })
    }

    fn place(&self, address: u64) -> Option<usize> {
        usize::try_from(address.checked_sub(self.base)?).ok()
    }

    /// Only the tables for look-ups tell how many symbols there are.
    fn nr_symbols(&self, image: &[u8]) -> Option<usize> {
        let count = match (self.hash, self.gnu_hash) {
            (Some(hash), _) => usize::try_from(word(image, hash.checked_add(4)?)?).ok()?,
            (None, Some(hash)) => after_last_hashed(image, hash)?,
            (None, None) => return None,
        };
        (count <= MAX_SYMBOLS).then_some(count)
    }
}

/// Number behind that of the last symbol in a GNU hash table.
fn after_last_hashed(image: &[u8], hash: usize) -> Option<usize> {
    let number = |at: usize| usize::try_from(word(image, hash.checked_add(at)?)?).ok();
    let (nr_buckets, first, nr_filters) = (number(0)?, number(4)?, number(8)?);
    if nr_buckets > MAX_SYMBOLS || nr_filters > MAX_SYMBOLS || first > MAX_SYMBOLS {
        return None;
    }
    let buckets = 16 + nr_filters * 8;
    let chains = buckets + nr_buckets * 4;
    let mut last = 0;
    for bucket in 0..nr_buckets {
        last = last.max(number(buckets + bucket * 4)?);
    }
    if last < first {
        return Some(first);
    }
    while last <= MAX_SYMBOLS && number(chains + (last - first) * 4)? & 1 == 0 {
        last += 1;
    }
    Some(last + 1)
}

fn half(image: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(image.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn word(image: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(image.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn long(image: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(image.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 maps it.
    const IMAGE: &[u8] = include_bytes!("../testdata/vdso-6.18");

    #[test]
    fn the_vdso_of_linux_6_18() {
        let found = functions(IMAGE).unwrap();
        let of = |name: &[u8]| found.iter().find(|function| function.name == name).unwrap();
        assert_eq!(found.len(), 12);
        let clock = of(b"__vdso_clock_gettime");
        assert_eq!((clock.offset, clock.len), (0xaf0, 902));
        assert_eq!(of(b"clock_gettime").offset, 0xaf0);
        assert_eq!((of(b"__vdso_getcpu").offset, of(b"__vdso_getcpu").len), (0xf00, 44));
    }

    #[test]
    fn symbols_are_counted_by_either_table() {
        let mut layout = Layout::read(IMAGE).unwrap();
        assert_eq!(layout.nr_symbols(IMAGE), Some(14));
        layout.hash = None;
        assert_eq!(layout.nr_symbols(IMAGE), Some(14));
    }

    #[test]
    fn whatever_is_changed_there_is_no_panic_and_nothing_outside() {
        let mut image = IMAGE.to_vec();
        for at in 0..0x700 {
            for value in [0x00, 0x7f, 0xff] {
                let before = std::mem::replace(&mut image[at], value);
                for function in functions(&image).unwrap_or_default() {
                    assert!(function.offset + function.len <= image.len());
                }
                image[at] = before;
            }
        }
        for len in 0..IMAGE.len() {
            let _ = functions(&IMAGE[..len]);
        }
    }
}
