//! The processor, as CPUID tells of it.

use stasis_model::{FEATURE_WORDS, Processor, Register, Vendor};
use stasis_sys::cpuid::leaf;

/// Looks at the processor that we run on.
pub fn probe() -> Processor {
    let [signature, ..] = leaf(1, 0);
    let [components, area_bytes, area_bytes_max, components_high] = leaf(0xd, 0);
    let [more_eax, _, _, more_edx] = leaf(7, 1);
    Processor {
        vendor: vendor(),
        family: family(signature),
        model: model(signature),
        stepping: signature & 0xf,
        name: name(),
        features: FEATURE_WORDS.iter().map(|word| word.map_or(0, answer)).collect(),
        more_features: vec![more_eax, more_edx],
        components: u64::from(components) | u64::from(components_high) << 32,
        area_bytes,
        area_bytes_max,
    }
}

fn answer(word: stasis_model::FeatureWord) -> u32 {
    let [eax, ebx, ecx, edx] = leaf(word.leaf, word.subleaf);
    match word.register {
        Register::Eax => eax,
        Register::Ebx => ebx,
        Register::Ecx => ecx,
        Register::Edx => edx,
    }
}

fn vendor() -> Vendor {
    let [_, ebx, ecx, edx] = leaf(0, 0);
    let word: Vec<u8> = [ebx, edx, ecx].iter().flat_map(|word| word.to_le_bytes()).collect();
    match word.as_slice() {
        b"GenuineIntel" => Vendor::Intel,
        b"AuthenticAMD" => Vendor::Amd,
        _ => Vendor::Other,
    }
}

fn name() -> String {
    let leaves = (0x8000_0002..=0x8000_0004).flat_map(|number| leaf(number, 0));
    let bytes: Vec<u8> = leaves.flat_map(u32::to_le_bytes).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn family(signature: u32) -> u32 {
    match signature >> 8 & 0xf {
        0xf => 0xf + (signature >> 20 & 0xff),
        family => family,
    }
}

fn model(signature: u32) -> u32 {
    let extended = if family(signature) >= 6 { signature >> 12 & 0xf0 } else { 0 };
    extended | signature >> 4 & 0xf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_read_as_in_proc_cpuinfo() {
        // A Zen 4 and a Skylake server.
        assert_eq!((family(0x00a1_0f11), model(0x00a1_0f11)), (25, 17));
        assert_eq!((family(0x0005_0654), model(0x0005_0654)), (6, 85));
    }

    #[test]
    fn the_kernel_sees_the_same_processor() {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let field = |name: &str| {
            let line = text.lines().find(|line| line.split('\t').next() == Some(name)).unwrap();
            line.split_once(": ").unwrap().1.trim().to_owned()
        };
        let processor = probe();
        assert_eq!(processor.family.to_string(), field("cpu family"));
        assert_eq!(processor.model.to_string(), field("model"));
        assert_eq!(processor.stepping.to_string(), field("stepping"));
        assert_eq!(processor.name, field("model name"));
        let has = |name: &str| field("flags").split(' ').any(|flag| flag == name);
        let bit = |word: usize, bit: u32| processor.features[word] >> bit & 1 == 1;
        for (name, word, number) in
            [("sse2", 0, 26), ("lm", 1, 29), ("aes", 4, 25), ("avx2", 9, 5), ("xsavec", 10, 1)]
        {
            assert_eq!(bit(word, number), has(name), "{name}");
        }
        let component = stasis_sys::cpuid::xsave_component(2).is_some();
        assert_eq!(processor.components & 4 != 0, component);
    }
}
