//! Contents into the files of a checkpoint: of private memory, and what was set aside while processes were
//! frozen.

use std::{ops::Range, os::fd::AsFd, sync::Arc};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use stasis_files::{PageOwner, Writer};
use stasis_model::{FileKind, GhostContent, NsPid, Process, Tree, Vma};
use stasis_objects::{
    gathering::Stored,
    ghost,
    pages::{self, Buffer, Counts},
    segment,
};
use stasis_tracee::{Patient, ProcDir, StoppedTree};

use crate::{
    contents::{Ghost, Pages},
    deadline::Deadline,
    facade::Error,
    tracking::Untouched,
};

/// Writes the pages of all processes; several are taken at a time.
pub fn write_pages(
    (tree, untouched): (&StoppedTree, &Untouched),
    frozen: &Tree,
    writer: &Writer,
    deadline: Deadline,
) -> Result<Counts, Error> {
    let memory = |patient: &Patient| {
        let pid = NsPid(patient.own_pid());
        let vmas = &frozen.process(pid).and_then(Process::live)?.memory.vmas;
        Some(Memory { proc: patient.shared_proc(), pid, vmas, untouched: untouched.of(patient) })
    };
    // A patient is for one thread alone.
    let memories: Vec<Memory<'_>> = tree.patients().iter().filter_map(memory).collect();
    let write = |buffer: &mut Buffer, memory: &Memory<'_>| memory.write(writer, deadline, buffer);
    match memories.as_slice() {
        [one] => write(&mut Buffer::default(), one),
        many => many
            .par_iter()
            .map_init(Buffer::default, write)
            .try_reduce(Counts::default, |one, other| Ok(one + other)),
    }
}

/// Private memory of one process.
struct Memory<'a> {
    proc: Arc<ProcDir>,
    pid: NsPid,
    vmas: &'a [Vma],
    untouched: &'a [Range<u64>],
}

impl Memory<'_> {
    fn write(
        &self,
        writer: &Writer,
        deadline: Deadline,
        buffer: &mut Buffer,
    ) -> Result<Counts, Error> {
        let pages = writer.pages(PageOwner::Process(self.pid))?;
        let mut sink = Pages { pages, deadline };
        let counts = pages::freeze((&self.proc, self.vmas), self.untouched, &mut sink, buffer)?;
        sink.pages.finish()?;
        Ok(counts)
    }
}

/// Writes the data of deleted files, shared memory and the queues of connections.
pub fn write_stored(
    stored: Vec<Stored>,
    frozen: &Tree,
    writer: &Writer,
    deadline: Deadline,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Failed(error.to_string());
    for stored in stored {
        match stored {
            Stored::Ghost { id, file } => {
                let described = &frozen.ghosts[&id];
                let GhostContent::Regular { size } = described.content else { continue };
                let ghost = writer.ghost(id, described)?;
                let mut sink = Ghost { ghost, deadline };
                ghost::store(file.as_fd(), size, &mut sink).map_err(failed)?;
            }
            Stored::Segment { id, size, file } => {
                let pages = writer.pages(PageOwner::Segment(id))?;
                let mut sink = Pages { pages, deadline };
                segment::store(file.as_fd(), size, &mut sink).map_err(failed)?;
                sink.pages.finish()?;
            }
            Stored::Connection { file, received, outgoing } => {
                let FileKind::Inet(socket) = &frozen.files[&file].kind else { continue };
                let Some(connection) = &socket.connection else { continue };
                writer.tcp_stream(socket.socket, connection, (&received, &outgoing))?;
            }
        }
    }
    Ok(())
}
