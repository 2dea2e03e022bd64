//! The calls that fill a blank's memory.

use std::mem;

use stasis_model::NsPid;
use stasis_objects::{
    content::PageSource,
    pages::{self, Buffer, Group},
};
use stasis_tracee::{Batch, Blank};

use crate::{contents::StoredPages, facade::Error};

/// Calls of which a blank executes some while the next are prepared.
#[must_use = "it still runs"]
pub struct Filling {
    pub batch: Batch,
    reads: Vec<pages::Read>,
    /// What the blank is at.
    under_way: Option<(Batch, Vec<pages::Read>)>,
    what: String,
}

impl Filling {
    pub fn new(pid: NsPid) -> Self {
        let what = format!("memory of process {pid}");
        Filling { batch: Batch::new(), reads: Vec::new(), under_way: None, what }
    }

    /// Adds the calls that read pages; `files` are the numbers of their files in the blank.
    pub fn read(
        &mut self,
        groups: impl IntoIterator<Item = Group>,
        files: &[i32],
        blank: &mut Blank,
    ) -> Result<(), Error> {
        for group in groups {
            self.reads.push(group.thaw(files, &mut self.batch));
            self.hand_on_if_large(blank)?;
        }
        Ok(())
    }

    /// The same, but the blank reads one half only, and we bring the other meanwhile.
    pub fn read_together(
        &mut self,
        groups: Vec<Group>,
        (files, source): (&[i32], &StoredPages),
        blank: &mut Blank,
    ) -> Result<(), Error> {
        let [for_blank, for_us] = pages::halve(groups);
        // There must be mappings before we write there.
        self.hand_on(blank)?;
        self.read(for_blank, files, blank)?;
        self.hand_on(blank)?;
        let (files, mut buffer) = (source.files(), Buffer::default());
        for group in for_us {
            group.bring(&files, blank, &mut buffer)?;
        }
        Ok(())
    }

    /// Lets the blank execute what has become a portion worth a stop.
    pub fn hand_on_if_large(&mut self, blank: &mut Blank) -> Result<(), Error> {
        const PORTION: usize = 32 << 10;
        if self.batch.len_bytes() > PORTION { self.hand_on(blank) } else { Ok(()) }
    }

    /// Lets the blank start on what there is, as soon as it is through with what it had.
    pub fn hand_on(&mut self, blank: &mut Blank) -> Result<(), Error> {
        self.wait(blank)?;
        blank.start(&self.batch)?;
        self.under_way = Some((mem::take(&mut self.batch), mem::take(&mut self.reads)));
        Ok(())
    }

    /// Waits until the blank stands again.
    pub fn finish(mut self, blank: &mut Blank) -> Result<(), Error> {
        self.wait(blank)
    }

    fn wait(&mut self, blank: &mut Blank) -> Result<(), Error> {
        let Some((batch, reads)) = self.under_way.take() else { return Ok(()) };
        let outcome = blank.finish(&batch)?;
        Ok(pages::check(&outcome, &reads, &self.what)?)
    }
}
