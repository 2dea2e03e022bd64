//! Bytes in pipes and FIFOs.

use std::collections::{BTreeMap, BTreeSet};

use stasis_model::{FileKind, PipeContent, PipeId, Tree};

use super::source::{Input, Output};
use crate::{Error, Result, error::Place, wire::pipe::PipeDataEntry};

const PIPES: &str = "pipes-data.img";
const FIFOS: &str = "fifo-data.img";

pub(super) fn encode(tree: &Tree, out: &mut Output) -> Result<()> {
    let fifos: BTreeSet<PipeId> = tree.files.values().filter_map(|file| fifo(&file.kind)).collect();
    for (name, wants_fifo) in [(PIPES, false), (FIFOS, true)] {
        let of_kind = tree.pipes.iter().filter(|(id, _)| fifos.contains(id) == wants_fifo);
        let entries = of_kind.map(|(id, pipe)| encode_content(*id, pipe));
        out.with_payload(name, &entries.collect::<Result<Vec<_>>>()?);
    }
    Ok(())
}

fn fifo(kind: &FileKind) -> Option<PipeId> {
    match kind {
        FileKind::Fifo(fifo) => Some(fifo.pipe),
        _ => None,
    }
}

fn encode_content(id: PipeId, pipe: &PipeContent) -> Result<(PipeDataEntry, &[u8])> {
    let bytes = u32::try_from(pipe.data.len())
        .map_err(|_| Error::unwritable(format!("pipe {id}"), "more than 4 GiB are in it"))?;
    let (size, packets) = (pipe.capacity, pipe.packets.clone());
    Ok((PipeDataEntry { pipe_id: id.0, bytes, size, packets }, &pipe.data))
}

pub(super) fn decode(input: Input) -> Result<BTreeMap<PipeId, PipeContent>> {
    let mut pipes = BTreeMap::new();
    for name in [PIPES, FIFOS] {
        let entries = input.with_payload(name, |entry: &PipeDataEntry| entry.bytes.into())?;
        for (index, (entry, data)) in entries.into_iter().enumerate() {
            let content = PipeContent { data, capacity: entry.size, packets: entry.packets };
            if pipes.insert(PipeId(entry.pipe_id), content).is_some() {
                let reason = format!("{} occurs twice", entry.pipe_id);
                return Err(Place::new(name, index + 1).field("pipe_id", reason));
            }
        }
    }
    Ok(pipes)
}
