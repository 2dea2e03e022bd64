//! An image of ten layers and a gigabyte: unpacking it, as a ratio to `tar -x` of the same layers one
//! after the other, loading and saving it, and pulling it twice.
//!
//! Loading stores the layers besides unpacking them and syncs everything, so it is told for itself. A
//! second pull finds all layers in the store: how long it takes is told as a ratio to the first one, and
//! how many blobs the registry sent for it beside the configuration.
//!
//! Nothing is removed in between: ext4 passes over the places of files that were removed in the last
//! minutes, which makes each new one ten times as dear for whoever comes next.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use super::{
    Figure,
    meter::{self, Measured, median, milliseconds},
    registry::Registry,
};
use crate::{
    build::{Binaries, workspace},
    tools,
};

pub const NAME: &str = "image";

const NR_LAYERS: usize = 10;
const ROUNDS: usize = 3;
const IMAGE: &str = "bench:1";
const MAX_MEMORY_MIB: f64 = 128.0;
/// Everything is written twice, hashed, and synced.
const MAX_LOAD_RATIO: f64 = 4.0;
const MAX_SAVE_RATIO: f64 = 1.5;
/// Layers come through HTTP, are hashed, kept, unpacked and synced.
const MAX_PULL_RATIO: f64 = 6.0;
const MAX_SECOND_PULL: f64 = 0.05;
/// Some hundred mebibytes: one large file, some of middle size, two thousand small ones.
const MAKE_LAYER: &str = "
    mkdir -p $1 && cd $1
    head -c 41943040 /dev/urandom > large
    for i in 1 2 3 4 5 6; do head -c 8388608 /dev/urandom > middle$i; done
    head -c 12288000 /dev/urandom > all && split -a 3 -b 6144 all small && rm all
    cd .. && tar --sort=name -C $1 -cf $1.tar . && rm -r $1";

struct Bench<'a> {
    binary: &'a Path,
    dir: PathBuf,
}

pub fn measure(binaries: &Binaries) -> anyhow::Result<Vec<Figure>> {
    tools::provide();
    let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(workspace().join("target"))?;
    let bench = Bench { binary: &binaries.stasis, dir: dir.path().to_owned() };
    bench.make_archive()?;
    let (mut tar, mut load, mut unpack, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut save = Vec::new();
    for round in 0..ROUNDS {
        let root = format!("root{round}");
        tar.push(milliseconds(bench.untar(round)?.time));
        bench.settle()?;
        let loaded = bench.stasis(&root, &["load", "-q", "-i", "image.tar"])?;
        load.push(milliseconds(loaded.time));
        // A container needs the layers, so they are unpacked again.
        let layers = bench.dir.join(&root).join("images/layers");
        fs::rename(layers, bench.dir.join(format!("old{round}")))?;
        bench.settle()?;
        let unpacked = bench.stasis(&root, &["create", "--name", "bench", IMAGE, "x"])?;
        unpack.push(milliseconds(unpacked.time));
        let saved = format!("saved{round}.tar");
        let saved = bench.stasis(&root, &["save", "-o", &saved, IMAGE])?;
        save.push(milliseconds(saved.time));
        peak = peak.max(loaded.peak_kib).max(unpacked.peak_kib).max(saved.peak_kib);
    }
    let pulls = bench.pulls()?;
    peak = peak.max(pulls.peak_kib);
    let reference = median(tar);
    let figure = |what, value, reference, limit, unit| Figure {
        workload: NAME.to_owned(),
        what,
        value,
        reference,
        limit,
        unit,
    };
    let peak_mib = f64::from(u32::try_from(peak)?) / 1024.0;
    Ok(vec![
        figure("unpack : tar -x", median(unpack), reference, 1.0, "ms"),
        figure("load : tar -x", median(load), reference, MAX_LOAD_RATIO, "ms"),
        figure("save : tar -x", median(save), reference, MAX_SAVE_RATIO, "ms"),
        figure("pull : tar -x", pulls.first, reference, MAX_PULL_RATIO, "ms"),
        figure("pull again : pull", pulls.second, pulls.first, MAX_SECOND_PULL, "ms"),
        figure("layers sent again", pulls.layers_again, NR_LAYERS as f64, 0.0, "  "),
        figure("memory", peak_mib, MAX_MEMORY_MIB, 1.0, "M"),
    ])
}

/// One image pulled into an empty store, and again when its name is all that is missing.
struct Pulls {
    first: f64,
    second: f64,
    layers_again: f64,
    peak_kib: u64,
}

impl Bench<'_> {
    fn pulls(&self) -> anyhow::Result<Pulls> {
        let registry = Registry::start(&self.dir)?;
        let name = format!("{}/{IMAGE}", registry.name());
        self.stasis("root0", &["tag", IMAGE, &name])?;
        self.stasis("root0", &["push", "-q", &name])?;
        let (mut first, mut second, mut layers_again, mut peak_kib) = (vec![], vec![], 0, 0);
        for round in 0..ROUNDS {
            self.settle()?;
            let root = format!("pulled{round}");
            let pulled = self.stasis(&root, &["pull", "-q", &name])?;
            first.push(milliseconds(pulled.time));
            let before = registry.blobs_sent()?;
            let again = self.stasis(&root, &["pull", "-q", &name])?;
            second.push(milliseconds(again.time));
            // The configuration is a blob as well, and may be asked for.
            layers_again = layers_again.max((registry.blobs_sent()? - before).saturating_sub(1));
            peak_kib = peak_kib.max(pulled.peak_kib).max(again.peak_kib);
        }
        let (first, second) = (median(first), median(second));
        Ok(Pulls { first, second, layers_again: layers_again as f64, peak_kib })
    }

    /// As Docker wrote archives before version 25.
    fn make_archive(&self) -> anyhow::Result<()> {
        let mut diff_ids = Vec::new();
        for layer in 0..NR_LAYERS {
            self.shell(MAKE_LAYER, &[&layer.to_string()])?;
            diff_ids.push(format!("\"sha256:{}\"", self.digest(&format!("{layer}.tar"))?));
        }
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diff_ids.join(",")
        );
        let layers: Vec<String> = (0..NR_LAYERS).map(|layer| format!("\"{layer}.tar\"")).collect();
        let manifest = format!(
            r#"[{{"Config":"config.json","RepoTags":["{IMAGE}"],"Layers":[{}]}}]"#,
            layers.join(",")
        );
        fs::write(self.dir.join("config.json"), config)?;
        fs::write(self.dir.join("manifest.json"), manifest)?;
        self.shell("tar -cf image.tar manifest.json config.json ?.tar", &[]).map(drop)
    }

    fn digest(&self, file: &str) -> anyhow::Result<String> {
        let done = Command::new("sha256sum").arg(file).current_dir(&self.dir).output()?;
        ensure!(done.status.success(), "sha256sum failed");
        let text = String::from_utf8(done.stdout)?;
        Ok(text.split(' ').next().context("sha256sum printed nothing")?.to_owned())
    }

    fn untar(&self, round: usize) -> anyhow::Result<Measured> {
        let out = format!("out{round}");
        self.shell("mkdir $1 && sync", &[&out])?;
        self.shell("for layer in ?.tar; do tar -xf $layer -C $1; done", &[&out])
    }

    /// What others have written must not be waited for by us.
    fn settle(&self) -> anyhow::Result<()> {
        self.shell("sync", &[]).map(drop)
    }

    fn shell(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Measured> {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", script, "sh"]).args(arguments).current_dir(&self.dir);
        meter::measure(&mut command)
    }

    fn stasis(&self, root: &str, arguments: &[&str]) -> anyhow::Result<Measured> {
        let mut command = Command::new(self.binary);
        command.args(["--root", root, "--runroot", &format!("run-{root}")]).args(arguments);
        meter::measure(command.current_dir(&self.dir).stdin(Stdio::null()))
    }
}
