//! signalfd(2): frozen from fdinfo. It reads the signals of whoever reads it, so it has no state but its mask.

use std::os::fd::OwnedFd;

use stasis_model::{FileKind, OpenFile, SignalMask, Signalfd};
use stasis_tracee::{Batch, Blank};

use crate::{
    error::{Error, Result},
    gathering::OpenFd,
};

pub fn freeze(open: &OpenFd) -> Result<FileKind> {
    let mask = stasis_proctext::fdinfo::signalfd(&open.info).map_err(|malformed| {
        Error::Unsupported { object: open.what(), reason: malformed.to_string() }
    })?;
    Ok(FileKind::Signalfd(Signalfd { mask: SignalMask(mask) }))
}

/// Makes it in a blank, and takes it from there.
pub fn thaw(signalfd: &Signalfd, file: &OpenFile, nursery: &mut Blank) -> Result<OwnedFd> {
    let mut batch = Batch::new();
    let mask = batch.words(&[signalfd.mask.0]);
    let flags = file.flags & 0o4000;
    let made = batch.call("signalfd4", 289, [(-1).into(), mask.into(), 8.into(), flags.into()]);
    let fd = nursery.run(&batch)?.result(made).map_err(Error::at("signalfd", "signalfd4"))?;
    crate::descriptor::take_over(nursery, fd)
}
