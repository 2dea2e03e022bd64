//! Address spaces.

crate::programs! { "memory";
    advice
    anonymous
    async_io
    changing
    copy_on_write
    copy_on_write_once
    dev_zero
    droppable
    file_beyond_end
    file_deleted
    file_private
    file_private_dropped
    file_read_only
    file_shared
    grows_down
    guards
    heap
    huge_pages
    locked
    many_files
    many_mappings
    memfd
    memfd_mapped
    memfd_seals
    names
    pages_changed_back
    policy
    program_text
    protection
    protection_keys
    secret
    shared_anonymous
    shared_memory_v5
    shared_partly
    sparse
    stack
    vdso
    wipe_on_fork
    zero_pages
}

use std::{fs, os::unix::fs::FileExt};

use anyhow::{Context, ensure};

use crate::{program::Verdict, raw, stage::Stage};

/// A file of that length with contents that are different on each page.
fn file(stage: &Stage, name: &str, len: usize) -> anyhow::Result<fs::File> {
    let open =
        fs::File::options().read(true).write(true).create_new(true).open(stage.path(name))?;
    let bytes: Vec<u8> = (0..len).map(|i| (i / raw::PAGE * 7 + i % 251 + 1) as u8).collect();
    open.write_all_at(&bytes, 0)?;
    Ok(open)
}

/// The address space as proc shows it, without device and inode numbers. Neighbours that look the
/// same are one: whether the kernel has joined them depends on the order they were made in.
fn maps() -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/maps")?;
    let mut joined: Vec<(usize, usize, String)> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let [range, protection, offset, _, _, rest] = fields[..] else { continue };
        let (start, end) = range.split_once('-').context("no range in maps")?;
        let start = usize::from_str_radix(start, 16)?;
        let end = usize::from_str_radix(end, 16)?;
        let path = rest.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let offset = if path.starts_with('/') { offset } else { "-" };
        let look = format!("{protection} {offset} {path}");
        match joined.last_mut() {
            Some(last) if last.1 == start && last.2 == look && offset == "-" => last.1 = end,
            _ => joined.push((start, end, look)),
        }
    }
    // The program's own allocator may grow the heap while it looks.
    let fixed = joined.into_iter().filter(|(_, _, look)| !look.ends_with("[heap]"));
    Ok(fixed.map(|(start, end, look)| format!("{start:x}-{end:x} {look}")).collect())
}

/// Where the heap begins and ends, in one piece.
fn heap() -> anyhow::Result<(usize, usize)> {
    let text = fs::read_to_string("/proc/self/maps")?;
    let line = text.lines().find(|line| line.ends_with("[heap]")).context("no heap")?;
    let range = line.split(' ').next().and_then(|range| range.split_once('-'));
    let (start, end) = range.context("no range in maps")?;
    Ok((usize::from_str_radix(start, 16)?, usize::from_str_radix(end, 16)?))
}

/// The part of the address space that one mapping was given, as [`maps`] shows it.
fn maps_of(memory: &raw::Mapping) -> anyhow::Result<Vec<String>> {
    let mut within = maps()?;
    let range = memory.addr..memory.addr + memory.len;
    let start = |line: &str| line.split('-').next().and_then(|s| usize::from_str_radix(s, 16).ok());
    within.retain(|line| start(line).is_some_and(|start| range.contains(&start)));
    Ok(within)
}

fn same_maps(before: &[String]) -> Verdict {
    let after = maps()?;
    let gone = before.iter().find(|line| !after.contains(line));
    let new = after.iter().find(|line| !before.contains(line));
    ensure!(gone.is_none() && new.is_none(), "mapping {gone:?} is gone, {new:?} is new");
    Ok(())
}

/// The flags of the mapping that starts at an address (proc_pid_smaps(5), `VmFlags`).
fn flags(addr: usize) -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/self/smaps")?;
    let start = format!("{addr:x}-");
    let own = text.lines().skip_while(|line| !line.starts_with(&start));
    let flags = own.into_iter().find_map(|line| line.strip_prefix("VmFlags: "));
    // Soft-dirty tells of writes and is no property of the mapping.
    let flags = flags.context("no such mapping")?.split(' ').filter(|flag| *flag != "sd");
    Ok(flags.collect::<Vec<_>>().join(" "))
}
