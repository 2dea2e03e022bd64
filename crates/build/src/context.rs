//! A context that comes as an archive.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use stasis_container::Home;
use stasis_enclosure::tar;

use crate::{
    archive,
    error::{Context, Result},
    workplace::Workplace,
};

/// A context that was unpacked; it goes when this is dropped.
#[derive(Debug)]
pub struct Unpacked {
    dir: PathBuf,
    _workplace: Workplace,
}

impl Unpacked {
    /// Unpacks what `input` gives, which begins with `magic`; nothing if it is no archive.
    ///
    /// # Errors
    /// [`crate::Error::Enclosure`] for members that are refused, [`crate::Error::Refused`] by the file
    /// system.
    pub fn of(input: impl Read + 'static, magic: &[u8], home: &Home) -> Result<Option<Unpacked>> {
        let Some(mut members) = archive::stream(input, magic).context("read", "the context")?
        else {
            return Ok(None);
        };
        let workplace = Workplace::make(home)?;
        let dir = workplace.make_dir("context")?;
        tar::unpack_over(&mut members, &dir)?;
        Ok(Some(Unpacked { dir, _workplace: workplace }))
    }

    /// A context without files.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the file system.
    pub fn nothing(home: &Home) -> Result<Unpacked> {
        let workplace = Workplace::make(home)?;
        Ok(Unpacked { dir: workplace.make_dir("context")?, _workplace: workplace })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
