//! Message queues (msgget(2)). Messages are copied, never received: `MSG_COPY`, msgop(2).

use std::fs;

use stasis_model::{Message, MessageQueue};
use stasis_proctext::sysvipc;
use stasis_sys::system_v::{self, Kind};

use super::{describe, give_to_owner, make, name_of, sysvipc_table};
use crate::error::{Error, Result};

pub(super) fn freeze() -> Result<Vec<MessageQueue>> {
    sysvipc_table("msg", sysvipc::queues)?.iter().map(freeze_queue).collect()
}

fn freeze_queue(seen: &sysvipc::Queue) -> Result<MessageQueue> {
    let id = seen.object.id;
    let what = name_of(Kind::Queue, id);
    let limit = system_v::queue_limit(id).map_err(Error::at(&what, "IPC_STAT"))?;
    let most = seen.bytes.min(longest_message()?);
    let message = |index| {
        let copied = system_v::copy_message(id, index, most);
        let copied = copied.map_err(Error::at(&what, "msgrcv(MSG_COPY)"))?;
        Ok(Message { kind: copied.kind, text: copied.text })
    };
    Ok(MessageQueue {
        object: describe(&seen.object),
        limit_bytes: u32::try_from(limit).unwrap_or(u32::MAX),
        messages: (0..seen.nr_messages).map(message).collect::<Result<_>>()?,
    })
}

fn longest_message() -> Result<usize> {
    let path = "/proc/sys/kernel/msgmax";
    let text = fs::read_to_string(path).map_err(Error::at(path, "read"))?;
    text.trim().parse().map_err(|_| Error::Unsupported {
        object: path.into(),
        reason: format!("{text:?} is no number"),
    })
}

pub(super) fn thaw(queue: &MessageQueue) -> Result<()> {
    let object = &queue.object;
    let what = name_of(Kind::Queue, object.id);
    make(Kind::Queue, object, || system_v::new_queue(object.key, object.mode))?;
    // It may hold more than it takes, if its limit was lowered meanwhile.
    let set_limit = |bytes: u64| {
        let set = system_v::set_queue_limit(object.id, bytes);
        set.map_err(Error::at(&what, "IPC_SET"))
    };
    set_limit(u64::from(i32::MAX.cast_unsigned()))?;
    for message in &queue.messages {
        system_v::send_message(object.id, message.kind, &message.text)
            .map_err(Error::at(&what, "msgsnd"))?;
    }
    set_limit(queue.limit_bytes.into())?;
    give_to_owner(Kind::Queue, object)
}
