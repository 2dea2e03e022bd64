//! The vDSO of another kernel (vdso(7)).
//!
//! Programs remember where the functions of the vDSO lie, so its code must stay where it was; but it
//! reads data of the kernel that it came from. Therefore the code of then becomes ordinary memory, in
//! which every function begins with a jump to the same one of this kernel's vDSO, which is moved to where
//! there is room. Later checkpoints find both: the memory as memory, and this kernel's vDSO as theirs.

use std::{fs, ops::Range, os::unix::fs::FileExt};

use stasis_model::{AddressSpace, Backing, Live, MapFlags, Protection, Vma};
use stasis_proctext::{
    maps,
    vdso::{Function, functions},
};

use crate::error::{Error, Result};

/// The vDSO of the running kernel, and how long its data before it are.
#[derive(Clone, Debug)]
pub struct Vdso {
    pub code: Vec<u8>,
    pub data_bytes: u64,
}

/// Bytes that take the place of others in a process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub address: u64,
    pub bytes: Vec<u8>,
}

/// Looks at our own.
///
/// # Errors
/// [`Error::Content`] if proc(5) does not tell. `None` if this kernel has no vDSO.
pub fn probe() -> Result<Option<Vdso>> {
    let failed = |source| Error::Content { object: "vDSO".into(), source };
    let text = fs::read("/proc/self/maps").map_err(failed)?;
    let all = maps::parse(&text).map_err(|error| failed(std::io::Error::other(error)))?;
    let Some(code) = all.iter().find(|map| map.name == b"[vdso]") else { return Ok(None) };
    let data = all.iter().filter(|map| map.name.starts_with(b"[vvar"));
    let data_bytes = data.map(|map| map.range.end - map.range.start).sum();
    let mut bytes = vec![0; usize::try_from(code.range.end - code.range.start).unwrap_or(0)];
    let memory = fs::File::open("/proc/self/mem").map_err(failed)?;
    memory.read_exact_at(&mut bytes, code.range.start).map_err(failed)?;
    Ok(Some(Vdso { code: bytes, data_bytes }))
}

/// Where the vDSO's code lay.
pub fn place(memory: &AddressSpace) -> Option<&Vma> {
    memory.vmas.iter().find(|vma| vma.backing == Backing::Vdso)
}

/// Changes the memory of a process whose vDSO held `stored` so that it can go on with `ours`; gives what
/// is to be written when its memory is there. Nothing is to be done if the two are alike.
///
/// # Errors
/// [`Error::Unsupported`] if it cannot, such as when a thread was just inside the code.
pub fn adapt(what: &str, live: &mut Live, stored: &[u8], ours: &Vdso) -> Result<Vec<Patch>> {
    let unsupported = |reason: String| {
        let object = format!("vDSO of {what}");
        Error::Unsupported { object, reason }
    };
    let Some(then) = place(&live.memory).cloned() else { return Ok(Vec::new()) };
    let data_bytes = live.memory.vmas.iter().filter(|vma| vma.backing == Backing::Vvar);
    let data_bytes: u64 = data_bytes.map(Vma::len_bytes).sum();
    let parse =
        |image: &[u8]| functions(image).ok_or_else(|| unsupported("it is no such code".into()));
    let (old, new) = (parse(stored)?, parse(&ours.code)?);
    if old == new && data_bytes == ours.data_bytes && stored.len() == ours.code.len() {
        return Ok(Vec::new());
    }
    for thread in &live.threads {
        let ip = thread.registers.general.ip;
        if then.range.contains(&ip) && !is_harmless(stored, &old, ip - then.range.start) {
            let reason = "it comes from another kernel, and a thread was inside its code";
            return Err(unsupported(format!("{reason}; take the checkpoint once more")));
        }
    }
    let len = ours.data_bytes + ours.code.len() as u64;
    let room = find_room(&live.memory, then.range.end, len)
        .ok_or_else(|| unsupported("there is no room for that of this kernel".into()))?;
    let entry = room + ours.data_bytes;
    let patches = detours(&old, &new, then.range.start, entry).map_err(unsupported)?;
    make_room(&mut live.memory, room..entry, ours);
    Ok(patches)
}

/// A thread at the beginning of a function finds the jump there; one in a system call, or just behind,
/// finds the code that follows it, which looks at no data any more.
fn is_harmless(code: &[u8], functions: &[Function], at: u64) -> bool {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let Ok(at) = usize::try_from(at) else { return false };
    let has_call = |at: usize| code.get(at..at + 2) == Some(&SYSCALL);
    functions.iter().any(|function| function.offset == at)
        || has_call(at)
        || at.checked_sub(2).is_some_and(has_call)
}

/// Turns the code of then into memory and puts the vDSO of this kernel at `data`.
fn make_room(memory: &mut AddressSpace, data: Range<u64>, ours: &Vdso) {
    memory.vmas.retain(|vma| vma.backing != Backing::Vvar);
    let then = memory.vmas.iter_mut().find(|vma| vma.backing == Backing::Vdso);
    if let Some(then) = then {
        then.backing = Backing::AnonymousPrivate;
    }
    let special = |range: Range<u64>, protection: u32, backing: Backing| Vma {
        range,
        protection: Protection(protection),
        flags: MapFlags::default(),
        backing,
        advice: 0,
        name: None,
        protection_key: 0,
    };
    let code = data.end..data.end + ours.code.len() as u64;
    if !data.is_empty() {
        memory.vmas.push(special(data, Protection::READ, Backing::Vvar));
    }
    memory.vmas.push(special(code, Protection::READ | Protection::EXEC, Backing::Vdso));
    memory.vmas.sort_by_key(|vma| vma.range.start);
}

/// An address behind the vDSO of then, where neither heap nor stacks grow, or anywhere else.
fn find_room(memory: &AddressSpace, behind: u64, len: u64) -> Option<u64> {
    const HIGHEST: u64 = 0x7fff_ffff_f000;
    let taken = || memory.vmas.iter().map(|vma| vma.range.clone());
    let mut at = behind;
    for range in taken().filter(|range| range.start >= behind) {
        if at.checked_add(len)? <= range.start {
            break;
        }
        at = range.end;
    }
    if at.checked_add(len)? <= HIGHEST {
        return Some(at);
    }
    stasis_tracee::find_gap(taken(), len)
}

/// What each function of then begins with.
fn detours(
    old: &[Function],
    new: &[Function],
    old_start: u64,
    new_start: u64,
) -> std::result::Result<Vec<Patch>, String> {
    let mut patches: Vec<Patch> = Vec::new();
    for function in old {
        let address = old_start + function.offset as u64;
        // A function has several names.
        if patches.last().is_some_and(|last| last.address == address) {
            continue;
        }
        let same = new.iter().find(|other| other.name == function.name);
        let bytes = match (instead(&function.name), same) {
            (Some(Instead::Always(call)), _) | (Some(Instead::IfMissing(call)), None) => {
                by_call(call)
            }
            (_, Some(other)) => jump_to(new_start + other.offset as u64),
            // Nobody but the enclave of then would need it.
            (None, None) => continue,
        };
        if bytes.len() > function.len {
            let name = String::from_utf8_lossy(&function.name).into_owned();
            return Err(format!("its function {name} is too short for a jump"));
        }
        patches.push(Patch { address, bytes });
    }
    Ok(patches)
}

/// The system call that does what a function does.
enum Instead {
    IfMissing(u32),
    /// The function has state in the program's memory whose form is the kernel's own affair.
    Always(u32),
}

fn instead(name: &[u8]) -> Option<Instead> {
    let name = name.strip_prefix(b"__vdso_").unwrap_or(name);
    match name {
        b"clock_gettime" => Some(Instead::IfMissing(228)),
        b"clock_getres" => Some(Instead::IfMissing(229)),
        b"gettimeofday" => Some(Instead::IfMissing(96)),
        b"time" => Some(Instead::IfMissing(201)),
        b"getcpu" => Some(Instead::IfMissing(309)),
        b"getrandom" => Some(Instead::Always(318)),
        _ => None,
    }
}

/// `mov $address, %r11; jmp *%r11`: no argument and nothing that a caller keeps is in that register.
fn jump_to(address: u64) -> Vec<u8> {
    let mut code = vec![0x49, 0xbb];
    code.extend(address.to_le_bytes());
    code.extend([0x41, 0xff, 0xe3]);
    code
}

/// `mov $number, %eax; syscall; ret`: the first three arguments lie where system calls want them.
fn by_call(number: u32) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes());
    code.extend([0x0f, 0x05, 0xc3]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, offset: usize, len: usize) -> Function {
        Function { name: name.into(), offset, len }
    }

    #[test]
    fn every_function_leads_to_its_successor() {
        let old = [
            function("__vdso_time", 0x100, 40),
            function("time", 0x100, 40),
            function("__vdso_getcpu", 0x200, 8),
            function("__vdso_getrandom", 0x300, 900),
            function("__vdso_sgx_enter_enclave", 0x400, 100),
        ];
        let new = [function("__vdso_time", 0x40, 30), function("__vdso_getrandom", 0x80, 900)];
        let patches = detours(&old, &new, 0x1000, 0x9000).unwrap();
        assert_eq!(
            patches,
            [
                Patch { address: 0x1100, bytes: jump_to(0x9040) },
                Patch { address: 0x1200, bytes: by_call(309) },
                Patch { address: 0x1300, bytes: by_call(318) },
            ]
        );
        let short = [function("__vdso_time", 0x100, 12)];
        assert!(detours(&short, &new, 0, 0).unwrap_err().contains("too short"));
    }

    #[test]
    fn room_is_behind_the_old_place_if_there_is_some() {
        let vma = |range: Range<u64>| Vma {
            range,
            protection: Protection::default(),
            flags: MapFlags::default(),
            backing: Backing::AnonymousPrivate,
            advice: 0,
            name: None,
            protection_key: 0,
        };
        let at = 0x7ffd_0000_2000;
        let vmas = vec![vma(0x1000..0x2000), vma(at - 0x2000..at)];
        let mut memory = AddressSpace { vmas, ..AddressSpace::default() };
        assert_eq!(find_room(&memory, at, 0x8000), Some(at));
        memory.vmas.push(vma(at + 0x1000..at + 0x3000));
        assert_eq!(find_room(&memory, at, 0x8000), Some(at + 0x3000));
        memory.vmas.push(vma(at + 0x3000..0x7fff_ffff_f000));
        let elsewhere = find_room(&memory, at, 0x8000).unwrap();
        assert!(
            memory
                .vmas
                .iter()
                .all(|vma| { elsewhere + 0x8000 <= vma.range.start || vma.range.end <= elsewhere })
        );
    }

    #[test]
    fn only_who_reads_no_data_any_more_may_be_inside() {
        let code = [0x90, 0x90, 0x0f, 0x05, 0xc3, 0x90];
        let functions = [function("time", 0, 6)];
        let harmless: Vec<u64> = (0..8).filter(|at| is_harmless(&code, &functions, *at)).collect();
        assert_eq!(harmless, [0, 2, 4]);
    }

    #[test]
    fn our_own_is_found_and_needs_nothing() {
        let ours = probe().unwrap().expect("this kernel has a vDSO");
        assert!(functions(&ours.code).unwrap().iter().any(|f| f.name == b"__vdso_clock_gettime"));
        assert!(ours.data_bytes > 0);
    }
}
