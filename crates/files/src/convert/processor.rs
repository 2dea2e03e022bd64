//! The processor that a tree ran on.

use stasis_model::{Processor, Vendor};

use super::source::{Input, Output};
use crate::{
    Result,
    error::Place,
    wire::cpuinfo::{CpuinfoEntry, CpuinfoX86Entry},
};

const FILE: &str = "cpuinfo.img";
/// Words of the first version of the list of features, and of the present one.
const WORDS: [usize; 2] = [12, 19];
/// More words than there will be.
const MAX_MORE: usize = 64;

pub(super) fn encode(processor: Option<&Processor>, out: &mut Output) {
    let Some(processor) = processor else { return };
    let entry = CpuinfoX86Entry {
        vendor_id: match processor.vendor {
            Vendor::Other => 0,
            Vendor::Intel => 1,
            Vendor::Amd => 2,
        },
        cpu_family: processor.family,
        model: processor.model,
        stepping: processor.stepping,
        capability_ver: if processor.features.len() == WORDS[0] { 1 } else { 2 },
        capability: processor.features.clone(),
        model_id: (!processor.name.is_empty()).then(|| processor.name.clone().into_bytes()),
        xfeatures_mask: Some(processor.components),
        xsave_size: Some(processor.area_bytes),
        xsave_size_max: Some(processor.area_bytes_max),
        more_capability: processor.more_features.clone(),
    };
    out.single(FILE, &CpuinfoEntry { x86_entry: vec![entry] });
}

/// `None` if nobody wrote it down.
pub(super) fn decode(input: Input<'_>) -> Result<Option<Processor>> {
    let entry: Option<CpuinfoEntry> = input.first(FILE)?;
    let Some(entry) = entry.and_then(|entry| entry.x86_entry.into_iter().next()) else {
        return Ok(None);
    };
    let place = Place::new(FILE, 1);
    if !WORDS.contains(&entry.capability.len()) {
        return Err(place.field("capability", "does not have 19 words"));
    }
    if entry.more_capability.len() > MAX_MORE {
        return Err(place.field("more_capability", "has too many words"));
    }
    Ok(Some(Processor {
        vendor: match entry.vendor_id {
            1 => Vendor::Intel,
            2 => Vendor::Amd,
            _ => Vendor::Other,
        },
        family: entry.cpu_family,
        model: entry.model,
        stepping: entry.stepping,
        name: name(&entry.model_id.unwrap_or_default()),
        features: entry.capability,
        more_features: entry.more_capability,
        components: entry.xfeatures_mask.unwrap_or(0),
        area_bytes: entry.xsave_size.unwrap_or(0),
        area_bytes_max: entry.xsave_size_max.unwrap_or(0),
    }))
}

/// For people to read: nothing that a terminal would act upon.
fn name(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
