//! System V objects of an IPC namespace. The contents of memory are page streams.

use stasis_model::{
    IpcObject, Message, MessageQueue, SegmentId, SemaphoreSet, SystemV, SystemVMemory,
};

use super::source::{Input, Output, known};
use crate::{
    Error, Result,
    error::Place,
    wire::{
        framing::{RecordWriter, Records},
        ipc::{IpcDescEntry, IpcMsg, IpcMsgEntry, IpcSemEntry, IpcShmEntry},
    },
};

/// Values and texts are filled up to a multiple of this.
const ALIGNMENT: usize = 8;

/// Encodes the files of the namespace that goes under the number `id`.
pub(super) fn encode(objects: &SystemV, id: u32, out: &mut Output) -> Result<()> {
    let memory: Vec<_> = objects.memory.values().map(encode_memory).collect();
    out.all(format!("ipcns-shm-{id}.img"), &memory);
    let sets: Vec<_> = objects.semaphores.iter().map(encode_semaphores).collect::<Result<_>>()?;
    let sets: Vec<_> = sets.iter().map(|(entry, values)| (*entry, values.as_slice())).collect();
    out.with_payload(&format!("ipcns-sem-{id}.img"), &sets);
    encode_queues(&objects.queues, format!("ipcns-msg-{id}.img"), out)
}

/// Decodes them; a file that is missing or has nothing but a header tells that there are none.
pub(super) fn decode(input: Input, id: u32) -> Result<SystemV> {
    let name = format!("ipcns-shm-{id}.img");
    let memory: Vec<IpcShmEntry> = input.all(&name)?;
    let decoded = memory.iter().enumerate().map(|(index, entry)| {
        let memory = decode_memory(Place::new(&name, index + 1), entry)?;
        Ok((SegmentId(entry.desc.id.into()), memory))
    });
    let decoded: Vec<_> = decoded.collect::<Result<_>>()?;
    let nr_segments = decoded.len();
    let objects = SystemV {
        memory: decoded.into_iter().collect(),
        semaphores: decode_semaphores(input, &format!("ipcns-sem-{id}.img"))?,
        queues: decode_queues(input, &format!("ipcns-msg-{id}.img"))?,
    };
    if objects.memory.len() != nr_segments {
        return Err(Place::new(&name, nr_segments).field("desc.id", "a number occurs twice"));
    }
    Ok(objects)
}

fn encode_object(object: &IpcObject) -> IpcDescEntry {
    IpcDescEntry {
        key: object.key.cast_unsigned(),
        uid: object.uid,
        gid: object.gid,
        cuid: object.creator_uid,
        cgid: object.creator_gid,
        mode: object.mode,
        id: object.id.cast_unsigned(),
    }
}

fn decode_object(place: Place, desc: &IpcDescEntry) -> Result<IpcObject> {
    let id = i32::try_from(desc.id);
    Ok(IpcObject {
        id: id.map_err(|_| place.field("desc.id", format!("{} is no identifier", desc.id)))?,
        key: desc.key.cast_signed(),
        uid: desc.uid,
        gid: desc.gid,
        creator_uid: desc.cuid,
        creator_gid: desc.cgid,
        mode: desc.mode,
    })
}

fn encode_memory(memory: &SystemVMemory) -> IpcShmEntry {
    IpcShmEntry {
        desc: encode_object(&memory.object),
        size: memory.size,
        in_pagemaps: Some(true),
        hugetlb_flag: None,
    }
}

fn decode_memory(place: Place, entry: &IpcShmEntry) -> Result<SystemVMemory> {
    let unsupported = |reason: &str| {
        Error::unsupported(format!("System V memory {}", entry.desc.id), reason.to_owned())
    };
    if entry.in_pagemaps != Some(true) {
        return Err(unsupported("its contents lie in an old place, which is not read"));
    }
    if entry.hugetlb_flag.is_some_and(|flag| flag != 0) {
        return Err(unsupported("memory made of huge pages cannot be restored"));
    }
    Ok(SystemVMemory { object: decode_object(place, &entry.desc)?, size: entry.size })
}

fn encode_semaphores(set: &SemaphoreSet) -> Result<(IpcSemEntry, Vec<u8>)> {
    let nsems = u32::try_from(set.values.len());
    let too_many = || Error::unwritable(format!("semaphores {}", set.object.id), "too many");
    let entry = IpcSemEntry {
        desc: encode_object(&set.object),
        nsems: nsems.map_err(|_| too_many())?,
        operated: set.was_operated.then_some(true),
    };
    let mut values: Vec<u8> = set.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    values.resize(values.len().next_multiple_of(ALIGNMENT), 0);
    Ok((entry, values))
}

fn decode_semaphores(input: Input, name: &str) -> Result<Vec<SemaphoreSet>> {
    let bytes_of = |entry: &IpcSemEntry| u64::from(entry.nsems) * 2;
    let padded = |entry: &IpcSemEntry| bytes_of(entry).next_multiple_of(ALIGNMENT as u64);
    let sets = input.with_payload(name, padded)?.into_iter().enumerate();
    let set = |(index, (entry, values)): (usize, (IpcSemEntry, Vec<u8>))| {
        let values = values.chunks_exact(2).take(entry.nsems as usize);
        Ok(SemaphoreSet {
            object: decode_object(Place::new(name, index + 1), &entry.desc)?,
            values: values.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
            was_operated: entry.operated == Some(true),
        })
    };
    sets.map(set).collect()
}

/// A queue is its own record, and then for each message a record and its text.
fn encode_queues(queues: &[MessageQueue], name: String, out: &mut Output) -> Result<()> {
    if queues.is_empty() {
        return Ok(());
    }
    let mut written = RecordWriter::new(known(&name));
    for queue in queues {
        let object = format!("message queue {}", queue.object.id);
        let short = |len: usize| {
            u32::try_from(len).map_err(|_| Error::unwritable(&object, "it holds too much"))
        };
        written.record(&IpcMsgEntry {
            desc: encode_object(&queue.object),
            qbytes: queue.limit_bytes,
            qnum: short(queue.messages.len())?,
        });
        for Message { kind, text } in &queue.messages {
            let msize = short(text.len())?;
            written.record(&IpcMsg { mtype: kind.cast_unsigned(), msize });
            written.raw(text);
            written.raw(&[0; ALIGNMENT][..text.len().next_multiple_of(ALIGNMENT) - text.len()]);
        }
    }
    out.files.insert(name, written.into_bytes());
    Ok(())
}

fn decode_queues(input: Input, name: &str) -> Result<Vec<MessageQueue>> {
    let Some(bytes) = input.0.read(name)? else { return Ok(Vec::new()) };
    let mut records = Records::open(name, known(name), &bytes)?;
    let mut queues = Vec::new();
    while let Some(entry) = records.one::<IpcMsgEntry>()? {
        let object = decode_object(Place::new(name, records.record()), &entry.desc)?;
        let messages = (0..entry.qnum).map(|_| decode_message(&mut records));
        let messages = messages.collect::<Result<_>>()?;
        queues.push(MessageQueue { object, limit_bytes: entry.qbytes, messages });
    }
    Ok(queues)
}

fn decode_message(records: &mut Records) -> Result<Message> {
    let message: IpcMsg = records.single()?;
    let len = message.msize as usize;
    let text = records.raw(len.next_multiple_of(ALIGNMENT) as u64)?;
    Ok(Message { kind: message.mtype.cast_signed(), text: text[..len].to_vec() })
}
