//! Features of x86-64 processors that programs can use, by the names of `/proc/cpuinfo`.

use stasis_model::Processor;

/// A bit of [`Processor::features`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    word: usize,
    bit: u32,
    name: &'static str,
}

impl Feature {
    pub fn is_in(self, words: &[u32]) -> bool {
        words.get(self.word).is_some_and(|word| word >> self.bit & 1 == 1)
    }
}

const fn feature(word: usize, bit: u32, name: &'static str) -> Feature {
    Feature { word, bit, name }
}

/// Saves registers without gaps.
pub(super) const XSAVEC: Feature = feature(10, 1, "xsavec");

/// Where the words of [`Processor::more_features`] stand behind the others.
const MORE: usize = 19;

/// Not among them is what behaves the same where it is missing (prefixes and hints that are ignored,
/// such as `hle`, `cldemote` and `mpx`; `erms` and its like, which are only about speed), and what only a
/// kernel can use.
const OF_PROGRAMS: &[Feature] = &[
    feature(0, 0, "fpu"),
    feature(0, 4, "tsc"),
    feature(0, 8, "cx8"),
    feature(0, 15, "cmov"),
    feature(0, 19, "clflush"),
    feature(0, 23, "mmx"),
    feature(0, 24, "fxsr"),
    feature(0, 25, "sse"),
    feature(0, 26, "sse2"),
    feature(1, 22, "mmxext"),
    feature(1, 27, "rdtscp"),
    feature(1, 29, "lm"),
    feature(1, 30, "3dnowext"),
    feature(1, 31, "3dnow"),
    feature(4, 0, "pni"),
    feature(4, 1, "pclmulqdq"),
    feature(4, 9, "ssse3"),
    feature(4, 12, "fma"),
    feature(4, 13, "cx16"),
    feature(4, 19, "sse4_1"),
    feature(4, 20, "sse4_2"),
    feature(4, 22, "movbe"),
    feature(4, 23, "popcnt"),
    feature(4, 25, "aes"),
    feature(4, 26, "xsave"),
    feature(4, 28, "avx"),
    feature(4, 29, "f16c"),
    feature(4, 30, "rdrand"),
    feature(6, 0, "lahf_lm"),
    feature(6, 5, "abm"),
    feature(6, 6, "sse4a"),
    feature(6, 7, "misalignsse"),
    feature(6, 11, "xop"),
    feature(6, 15, "lwp"),
    feature(6, 16, "fma4"),
    feature(6, 21, "tbm"),
    feature(6, 29, "mwaitx"),
    feature(9, 0, "fsgsbase"),
    feature(9, 3, "bmi1"),
    feature(9, 5, "avx2"),
    feature(9, 8, "bmi2"),
    feature(9, 11, "rtm"),
    feature(9, 16, "avx512f"),
    feature(9, 17, "avx512dq"),
    feature(9, 18, "rdseed"),
    feature(9, 19, "adx"),
    feature(9, 21, "avx512ifma"),
    feature(9, 23, "clflushopt"),
    feature(9, 24, "clwb"),
    feature(9, 26, "avx512pf"),
    feature(9, 27, "avx512er"),
    feature(9, 28, "avx512cd"),
    feature(9, 29, "sha_ni"),
    feature(9, 30, "avx512bw"),
    feature(9, 31, "avx512vl"),
    feature(10, 0, "xsaveopt"),
    XSAVEC,
    feature(10, 2, "xgetbv1"),
    feature(13, 0, "clzero"),
    feature(13, 4, "rdpru"),
    feature(16, 1, "avx512vbmi"),
    feature(16, 5, "waitpkg"),
    feature(16, 6, "avx512_vbmi2"),
    feature(16, 8, "gfni"),
    feature(16, 9, "vaes"),
    feature(16, 10, "vpclmulqdq"),
    feature(16, 11, "avx512_vnni"),
    feature(16, 12, "avx512_bitalg"),
    feature(16, 14, "avx512_vpopcntdq"),
    feature(16, 22, "rdpid"),
    feature(16, 27, "movdiri"),
    feature(16, 28, "movdir64b"),
    feature(18, 2, "avx512_4vnniw"),
    feature(18, 3, "avx512_4fmaps"),
    feature(18, 8, "avx512_vp2intersect"),
    feature(18, 14, "serialize"),
    feature(18, 16, "tsxldtrk"),
    feature(18, 22, "amx_bf16"),
    feature(18, 23, "avx512_fp16"),
    feature(18, 24, "amx_tile"),
    feature(18, 25, "amx_int8"),
    feature(MORE, 0, "sha512"),
    feature(MORE, 1, "sm3"),
    feature(MORE, 2, "sm4"),
    feature(MORE, 4, "avx_vnni"),
    feature(MORE, 5, "avx512_bf16"),
    feature(MORE, 7, "cmpccxadd"),
    feature(MORE, 21, "amx_fp16"),
    feature(MORE, 23, "avx_ifma"),
    feature(MORE + 1, 4, "avx_vnni_int8"),
    feature(MORE + 1, 5, "avx_ne_convert"),
    feature(MORE + 1, 10, "avx_vnni_int16"),
    feature(MORE + 1, 19, "avx10"),
];

/// What programs can have used there and would miss here.
pub(super) fn missing_for_programs(theirs: &Processor, ours: &Processor) -> Vec<String> {
    let (theirs, ours) = (words(theirs), words(ours));
    let is_missing = |feature: &&Feature| feature.is_in(&theirs) && !feature.is_in(&ours);
    OF_PROGRAMS.iter().filter(is_missing).map(|feature| feature.name.to_owned()).collect()
}

/// Everything that is there and not here; what has no name for programs is told by word and bit.
pub(super) fn missing(theirs: &Processor, ours: &Processor) -> Vec<String> {
    let (theirs, ours) = (words(theirs), words(ours));
    let mut missing = Vec::new();
    for (word, bits) in theirs.iter().enumerate() {
        let absent = bits & !ours.get(word).copied().unwrap_or(0);
        for bit in (0..32).filter(|bit| absent >> bit & 1 == 1) {
            let known = OF_PROGRAMS.iter().find(|f| (f.word, f.bit) == (word, bit));
            missing.push(known.map_or_else(|| format!("{word}:{bit}"), |f| f.name.to_owned()));
        }
    }
    missing
}

/// All words, those of leaf 7, subleaf 1 at [`MORE`].
fn words(processor: &Processor) -> Vec<u32> {
    let mut words = processor.features.clone();
    words.resize(MORE, 0);
    words.extend(&processor.more_features);
    words
}
