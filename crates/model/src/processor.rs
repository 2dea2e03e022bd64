//! The processor that a tree ran on, as far as programs see it.

/// What CPUID tells of an x86-64 processor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processor {
    pub vendor: Vendor,
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    /// The maker's own words.
    pub name: String,
    /// Feature bits, in the words that the kernel once numbered 0 to 18 ([`FeatureWord`]).
    pub features: Vec<u32>,
    /// Of leaf 7, subleaf 1: registers `eax` and `edx`. Empty if unknown.
    pub more_features: Vec<u32>,
    /// Components of the XSAVE area that the operating system has switched on; 0 without XSAVE.
    pub components: u64,
    /// Bytes of the XSAVE area with those components, in the standard format.
    pub area_bytes: u32,
    /// Bytes with all components that the processor has.
    pub area_bytes_max: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vendor {
    #[default]
    Other,
    Intel,
    Amd,
}

/// Where the words of [`Processor::features`] come from: leaf, subleaf and register of CPUID. `None`
/// for words that the kernel fills by itself.
pub const FEATURE_WORDS: [Option<FeatureWord>; 19] = {
    use Register::{Eax, Ebx, Ecx, Edx};
    const fn word(leaf: u32, subleaf: u32, register: Register) -> Option<FeatureWord> {
        Some(FeatureWord { leaf, subleaf, register })
    }
    [
        word(1, 0, Edx),
        word(0x8000_0001, 0, Edx),
        word(0x8086_0001, 0, Edx),
        None,
        word(1, 0, Ecx),
        word(0xc000_0001, 0, Edx),
        word(0x8000_0001, 0, Ecx),
        None,
        None,
        word(7, 0, Ebx),
        word(0xd, 1, Eax),
        word(0xf, 0, Edx),
        word(0xf, 1, Edx),
        word(0x8000_0008, 0, Ebx),
        word(6, 0, Eax),
        word(0x8000_000a, 0, Edx),
        word(7, 0, Ecx),
        word(0x8000_0007, 0, Ebx),
        word(7, 0, Edx),
    ]
};

/// One register of an answer of CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureWord {
    pub leaf: u32,
    pub subleaf: u32,
    pub register: Register,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}
