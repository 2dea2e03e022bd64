//! A Dockerfile and the file beside it that names what does not take part.
#![no_main]

use std::{collections::BTreeMap, path::Path};

use libfuzzer_sys::fuzz_target;
use stasis_dockerfile::{Dockerfile, Expander, Globals, Ignore, Instruction, Place, Platform};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ignore) = Ignore::parse(&String::from_utf8_lossy(bytes)) {
        let _ = ignore.verdict(Path::new("a/b.c"));
    }
    let Ok(file) = Dockerfile::parse(bytes) else { return };
    let lookup = |name: &str| (name.len() < 3).then(|| name.repeat(2));
    let expander = Expander::new(file.escape, &lookup);
    for step in file.stages.iter().flat_map(|stage| &stage.steps) {
        assert!(step.place >= Place::START);
        let _ = step.expand(&expander);
        if let Instruction::Run(run) = &step.instruction {
            let _ = (run.script(), run.mounts(&expander));
        }
    }
    let here = Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() };
    let _ = file.plan(None, Globals::new(BTreeMap::new(), &here, &here));
});
