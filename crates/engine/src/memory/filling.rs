//! The calls that fill a blank's memory.

use stasis_model::{NsPid, Vma};
use stasis_objects::{content::StoredRun, pages};
use stasis_tracee::{Batch, Blank};

use crate::facade::Error;

/// Calls of which a blank executes some now and the rest soon.
#[must_use = "it still runs"]
pub struct Filling {
    pub batch: Batch,
    reads: Vec<pages::Read>,
    what: String,
}

impl Filling {
    pub fn new(pid: NsPid) -> Self {
        Filling { batch: Batch::new(), reads: Vec::new(), what: format!("memory of process {pid}") }
    }

    /// Adds the calls that read pages.
    pub fn read(
        &mut self,
        vmas: &[Vma],
        missing: &[StoredRun],
        files: &[i32],
        blank: &mut Blank,
    ) -> Result<(), Error> {
        let what = &self.what;
        let run = |batch: &mut Batch, reads: &mut Vec<pages::Read>| {
            let outcome = blank.run(batch)?;
            pages::check(&outcome, reads, what)?;
            *batch = Batch::new();
            reads.clear();
            Ok::<(), Error>(())
        };
        self.reads = pages::thaw(vmas, missing, files, &mut self.batch, run)?;
        Ok(())
    }

    /// Lets the blank execute what has grown large.
    pub fn run_if_large(&mut self, blank: &mut Blank) -> Result<(), Error> {
        if self.batch.len_bytes() > pages::LARGE {
            let outcome = blank.run(&self.batch)?;
            pages::check(&outcome, &self.reads, &self.what)?;
            self.batch = Batch::new();
            self.reads.clear();
        }
        Ok(())
    }

    pub fn start(&self, blank: &mut Blank) -> Result<(), Error> {
        Ok(blank.start(&self.batch)?)
    }

    /// Waits until the blank stands again.
    pub fn finish(self, blank: &mut Blank) -> Result<(), Error> {
        let outcome = blank.finish(&self.batch)?;
        Ok(pages::check(&outcome, &self.reads, &self.what)?)
    }
}
