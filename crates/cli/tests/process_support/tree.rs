//! What proc shows of a tree of processes, to be compared before and after.
//!
//! Left out is what cannot be the same: inode and device numbers, times, the numbers behind
//! `pipe:[..]` and `socket:[..]` (who shares what is compared instead), names of deleted files
//! (they exist nowhere), and whether neighbouring equal mappings were joined by the kernel, which
//! depends on the order they were made in.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

/// Lines by what they are of: `1234 maps`, `1234 descriptors`, `1234/1235 status` …
pub type Look = BTreeMap<String, Vec<String>>;

/// The root and everybody below it, zombies included.
pub fn pids(root: i32) -> Vec<i32> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        for tid in threads(pid) {
            let children = read(&format!("/proc/{pid}/task/{tid}/children"));
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        next += 1;
    }
    all
}

pub fn look(root: i32) -> Look {
    let mut names = Names::default();
    let mut look = Look::new();
    let mut pids = pids(root);
    pids.sort_unstable();
    look.insert("tree".into(), pids.iter().map(ToString::to_string).collect());
    for pid in pids {
        // What a process changes all the time may look steady in two looks by chance.
        if !is_at_work(pid) {
            look.insert(format!("{pid} maps"), maps(pid));
            look.insert(format!("{pid} descriptors"), descriptors(pid, &mut names));
        }
        look.insert(format!("{pid} attributes"), attributes(pid));
        for tid in threads(pid) {
            look.insert(format!("{pid}/{tid} status"), status(pid, tid));
        }
    }
    look
}

/// Whether somebody blocks all signals that there are: the C library does that while a thread or a child is being
/// made, and leaves out its own two for everybody else.
pub fn has_newborns(look: &Look) -> bool {
    look.values().flatten().any(|line| line == "SigBlk:\tfffffffffffbfeff")
}

/// What differs in `after`, among all that stood still before (was there and the same in two looks).
pub fn differences(before: &[Look; 2], after: &Look) -> Vec<String> {
    let [first, second] = before;
    let is_steady = |(key, lines): &(&String, &Vec<String>)| {
        second.get(*key) == Some(*lines) && (after.contains_key(*key) || !may_be_left_out(key))
    };
    let steady = first.iter().filter(is_steady);
    let mut all = Vec::new();
    for (key, lines) in steady {
        let none = Vec::new();
        let now = after.get(key).unwrap_or(&none);
        all.extend(missing(lines, now).map(|line| format!("{key}: - {line}")));
        all.extend(missing(now, lines).map(|line| format!("{key}: + {line}")));
    }
    all
}

/// Of a process at work; that one is gone would show in its other lines.
fn may_be_left_out(key: &str) -> bool {
    key.ends_with(" maps") || key.ends_with(" descriptors")
}

fn missing<'a>(lines: &'a [String], from: &'a [String]) -> impl Iterator<Item = &'a String> {
    lines.iter().filter(|line| !from.contains(line)).take(20)
}

fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn read_link(path: &str) -> String {
    fs::read_link(path).map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

fn numbers_in(dir: &str) -> Vec<i32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut all: Vec<i32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    all.sort_unstable();
    all
}

fn threads(pid: i32) -> Vec<i32> {
    numbers_in(&format!("/proc/{pid}/task"))
}

/// Whether one of its threads runs or waits for a disk.
fn is_at_work(pid: i32) -> bool {
    threads(pid).into_iter().any(|tid| {
        let stat = read(&format!("/proc/{pid}/task/{tid}/stat"));
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['R', 'D']))
    })
}

/// Names that say the same before and after for things with changing numbers.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn of(&mut self, target: &str) -> String {
        if deleted(target) {
            return "deleted file".into();
        }
        match target.split_once(":[") {
            Some((kind @ ("pipe" | "socket"), _)) => {
                let count = self.0.len();
                format!("{kind} #{}", self.0.entry(target.into()).or_insert(count))
            }
            _ => target.into(),
        }
    }
}

/// Whether the name of a file means nothing any more. Shared anonymous memory is a deleted file
/// to the kernel, and a memory file after a restore.
fn deleted(path: &str) -> bool {
    let memory_file = path.starts_with("/memfd:") && !path.starts_with("/memfd:dev/zero");
    path.ends_with(" (deleted)") && !memory_file
}

fn maps(pid: i32) -> Vec<String> {
    let text = read(&format!("/proc/{pid}/smaps"));
    let mut joined: Vec<(u64, u64, String)> = Vec::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags: ") {
            let Some((start, end, look)) = current.take() else { continue };
            join(&mut joined, start, end, format!("{look} {}", lasting(flags)));
        } else if let Some(mapping) = parse_mapping(line) {
            current = Some(mapping);
        }
    }
    joined.into_iter().map(|(start, end, look)| format!("{start:x}-{end:x} {look}")).collect()
}

fn join(joined: &mut Vec<(u64, u64, String)>, start: u64, end: u64, look: String) {
    match joined.last_mut() {
        Some(last) if last.1 == start && last.2 == look && look.contains(" - ") => last.1 = end,
        _ => joined.push((start, end, look)),
    }
}

/// Flags without soft-dirty (tells of writes) and accounting (depends on former protection).
fn lasting(flags: &str) -> String {
    let lasting = flags.split(' ').filter(|flag| !matches!(*flag, "sd" | "ac" | ""));
    lasting.collect::<Vec<_>>().join(" ")
}

/// Start, end, and the rest that must stay: protection, offset and path of a mapping.
fn parse_mapping(line: &str) -> Option<(u64, u64, String)> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let (protection, offset) = (fields.next()?, fields.next()?);
    let rest = fields.nth(2).unwrap_or_default().trim_start();
    let path = rest.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let path = if deleted(path) { "deleted file" } else { path };
    // The offset of anonymous memory means nothing.
    let offset = if path.starts_with('/') || path == "deleted file" { offset } else { "-" };
    let start = u64::from_str_radix(start, 16).ok()?;
    Some((start, u64::from_str_radix(end, 16).ok()?, format!("{protection} {offset} {path}")))
}

fn descriptors(pid: i32, names: &mut Names) -> Vec<String> {
    let look = |fd| {
        let target = names.of(&read_link(&format!("/proc/{pid}/fd/{fd}")));
        let info = read(&format!("/proc/{pid}/fdinfo/{fd}"));
        let lasting = ["pos:", "flags:", "eventfd-count:", "eventfd-semaphore:", "sigmask:"];
        let lines = info.lines().filter(|line| lasting.iter().any(|name| line.starts_with(name)));
        let lines = lines.map(without_large_file).collect::<Vec<_>>();
        format!("{fd} -> {target} {}", lines.join(", "))
    };
    numbers_in(&format!("/proc/{pid}/fd")).into_iter().map(look).collect()
}

/// O_LARGEFILE means nothing to a 64-bit program; open(2) sets it and pipe(2) does not.
fn without_large_file(line: &str) -> String {
    const O_LARGEFILE: u32 = 0o100_000;
    let flags = line.strip_prefix("flags:").map(|flags| u32::from_str_radix(flags.trim(), 8));
    match flags {
        Some(Ok(flags)) => format!("flags: {:o}", flags & !O_LARGEFILE),
        _ => line.replace('\t', " "),
    }
}

fn attributes(pid: i32) -> Vec<String> {
    let mut lines = Vec::new();
    for name in ["exe", "cwd", "root"] {
        let target = read_link(&format!("/proc/{pid}/{name}"));
        lines.push(format!("{name} {}", Names::default().of(&target)));
    }
    for name in ["cmdline", "environ", "auxv", "oom_score_adj", "personality"] {
        lines.push(format!("{name} {:?}", read(&format!("/proc/{pid}/{name}"))));
    }
    lines.extend(read(&format!("/proc/{pid}/limits")).lines().map(str::to_owned));
    let timers = read(&format!("/proc/{pid}/timers"));
    // The address in `signal: NUMBER/ADDRESS` is the timer's data.
    lines.extend(timers.lines().map(|line| format!("timer {line}")));
    lines
}

fn status(pid: i32, tid: i32) -> Vec<String> {
    const LASTING: [&str; 25] = [
        "Name",
        "Umask",
        "Tgid",
        "Pid",
        "PPid",
        "TracerPid",
        "Uid",
        "Gid",
        "Groups",
        "NSpgid",
        "NSsid",
        "Threads",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed_list",
    ];
    // A zombie has no signals, capabilities or memory any more, whatever proc shows.
    const LASTING_OF_ZOMBIE: [&str; 5] = ["Name", "Pid", "PPid", "NSpgid", "NSsid"];
    let text = read(&format!("/proc/{pid}/task/{tid}/status"));
    if text.contains("\nState:\tZ") {
        let lasting =
            |line: &&str| LASTING_OF_ZOMBIE.iter().any(|n| line.starts_with(&format!("{n}:")));
        return text.lines().filter(lasting).map(str::to_owned).collect();
    }
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let lasting = text.lines().filter(|line| LASTING.contains(&name(line).as_str()));
    let mut lines: Vec<String> = lasting.map(str::to_owned).collect();
    lines.push(stat(&read(&format!("/proc/{pid}/task/{tid}/stat"))));
    lines
}

/// Fields of proc_pid_stat(5) that last.
fn stat(text: &str) -> String {
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // The first field after the name is number 3.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    let state = match field(3) {
        state @ ("T" | "Z") => state,
        // Running or sleeping is a matter of the moment.
        _ => "alive",
    };
    let layout = [26, 27, 28, 45, 46, 47, 48, 49, 50, 51].map(field).join(" ");
    format!(
        "state {state}, nice {}, real-time priority {}, policy {}, exit signal {}, layout {layout}",
        field(19),
        field(40),
        field(41),
        field(38)
    )
}
