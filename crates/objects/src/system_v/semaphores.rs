//! Sets of semaphores (semget(2)). Who waits for one makes its call again after the restore.

use stasis_model::SemaphoreSet;
use stasis_proctext::sysvipc;
use stasis_sys::system_v::{self, Kind};

use super::{describe, give_to_owner, make, name_of, sysvipc_table};
use crate::error::{Error, Result};

pub(super) fn freeze() -> Result<Vec<SemaphoreSet>> {
    sysvipc_table("sem", sysvipc::semaphores)?.iter().map(freeze_set).collect()
}

fn freeze_set(seen: &sysvipc::Semaphores) -> Result<SemaphoreSet> {
    let id = seen.object.id;
    let value = |index| {
        let value = system_v::semaphore_value(id, index);
        value.map_err(Error::at(name_of(Kind::Semaphores, id), "GETVAL"))
    };
    Ok(SemaphoreSet {
        object: describe(&seen.object),
        values: (0..seen.count).map(value).collect::<Result<_>>()?,
        was_operated: seen.operated != 0,
    })
}

pub(super) fn thaw(set: &SemaphoreSet) -> Result<()> {
    let object = &set.object;
    let what = name_of(Kind::Semaphores, object.id);
    make(Kind::Semaphores, object, || {
        system_v::new_semaphores(object.key, set.values.len(), object.mode)
    })?;
    for (index, value) in set.values.iter().enumerate() {
        system_v::set_semaphore_value(object.id, index, *value)
            .map_err(Error::at(&what, "SETVAL"))?;
    }
    if set.was_operated {
        // It sets the time of the last operation and leaves the value as it is.
        let there_and_back = if set.values.first() == Some(&0) { [1, -1] } else { [-1, 1] };
        system_v::operate(object.id, &there_and_back).map_err(Error::at(&what, "semop"))?;
    }
    give_to_owner(Kind::Semaphores, object)
}
