//! A bar for each layer that is unpacked, on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use stasis_oci::Digest;
use stasis_store::Progress;

/// Shows on standard error how far a layer is.
#[derive(Debug)]
pub struct Unpacking {
    is_shown: bool,
    bar: Option<ProgressBar>,
}

impl Unpacking {
    /// Shows something only on a terminal.
    pub fn new(quiet: bool) -> Unpacking {
        Unpacking { is_shown: !quiet && std::io::stderr().is_terminal(), bar: None }
    }
}

impl Progress for Unpacking {
    fn begin(&mut self, layer: &Digest, len_bytes: u64) {
        if !self.is_shown {
            return;
        }
        let style =
            ProgressStyle::with_template("{prefix}: {msg} [{bar:30}] {bytes}/{total_bytes}")
                .expect("the template is right");
        let bar = ProgressBar::new(len_bytes).with_prefix(layer.short()).with_style(style);
        bar.set_message("Loading layer");
        self.bar = Some(bar);
    }

    fn at(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}
