//! Pipes and FIFOs.

crate::programs! { "pipes";
    between_child_and_parent
    between_processes
    closed_end
    data
    fifo
    fifo_deleted
    fifo_one_end
    flags
    two_descriptions
}

use std::path::Path;

use crate::program::Verdict;

fn make_fifo(path: &Path) -> Verdict {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
}
