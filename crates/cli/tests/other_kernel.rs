//! A checkpoint of another kernel, which has another vDSO. No other kernel can be booted here, so a
//! checkpoint is changed to what it would be: the data before the code are shorter, nothing of
//! its functions may be executed any more.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use stasis_files::{Reader, Writer};
use stasis_model::{Backing, PAGE_SIZE, State};

/// Calls functions of the vDSO where they were at the start, and compares with system calls.
const PROGRAM: &str = r#"
import ctypes, sys, time
libc, vdso = ctypes.CDLL(None), ctypes.CDLL('linux-vdso.so.1')
clock, day, now, cpu = vdso.__vdso_clock_gettime, vdso.__vdso_gettimeofday, vdso.__vdso_time, vdso.__vdso_getcpu
now.restype = ctypes.c_long
pair = ctypes.c_long * 2
with open(sys.argv[1], 'a', buffering=1) as out:
    n = 0
    while True:
        fast, slow, today, which = pair(), pair(), pair(), ctypes.c_uint(99999)
        done = [clock(1, fast), libc.syscall(228, 1, slow), day(today, None), cpu(ctypes.byref(which), None, None)]
        right = done == [0] * 4 and 0 <= slow[0] - fast[0] <= 1 and which.value < 4096
        right = right and abs(time.time() - now(None)) < 2 and abs(today[0] - now(None)) < 2
        out.write(f'{n}\n' if right else f'wrong {done} {list(fast)} {list(slow)} {list(today)} {which}\n')
        n += 1
        time.sleep(0.02)
"#;

struct Program {
    child: Child,
    out: PathBuf,
}

impl Program {
    fn start(dir: &Path) -> Program {
        let out = dir.join("out");
        let mut command = Command::new("setsid");
        command.args(["/usr/bin/python3", "-c", PROGRAM]).arg(&out).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Program { child: command.spawn().unwrap(), out }
    }

    fn lines(&self) -> usize {
        fs::read_to_string(&self.out).unwrap_or_default().lines().count()
    }

    /// It goes on, and never told anything wrong.
    fn await_more(&self) {
        let (before, deadline) = (self.lines(), Instant::now() + Duration::from_secs(20));
        while self.lines() < before + 5 {
            assert!(Instant::now() < deadline, "it does not go on");
            sleep(Duration::from_millis(10));
        }
        let text = fs::read_to_string(&self.out).unwrap();
        for (expect, line) in text.lines().enumerate() {
            assert_eq!(line, expect.to_string(), "{text}");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Restored, it has the same pid and is nobody's child any more.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

fn stasis(verb: &str, images: &Path, more: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stasis"));
    command.args(["process", verb, "-D"]).arg(images).args(more).stdin(Stdio::null());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{verb}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn functions_of_an_old_vdso_tell_the_right_time_over_two_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    program.await_more();
    let [first, other, second] = ["first", "other", "second"].map(|name| dir.path().join(name));
    let pid = program.child.id().to_string();
    stasis("dump", &first, &["-t", &pid]);
    program.child.wait().unwrap();
    as_of_another_kernel(&first, &other);
    stasis("restore", &other, &["--dry-run"]);
    stasis("restore", &other, &["-d"]);
    program.await_more();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert_eq!(maps.matches("[vdso]").count(), 1, "{maps}");
    stasis("dump", &second, &["-t", &pid]);
    stasis("restore", &second, &["-d"]);
    program.await_more();
}

/// Copies a checkpoint and lets it be of another kernel.
fn as_of_another_kernel(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        if name.to_str().unwrap().starts_with("page") {
            fs::copy(path, to.join(name)).unwrap();
        }
    }
    let (mut tree, facts) = Reader::open(from).unwrap().tree_and_facts().unwrap();
    for process in &mut tree.processes {
        let State::Live { live, .. } = &mut process.state else { continue };
        let data = live.memory.vmas.iter_mut().find(|vma| vma.backing == Backing::Vvar).unwrap();
        data.range.start += PAGE_SIZE;
    }
    Writer::create(to).unwrap().write_tree(&tree, &facts).unwrap();
    let pages = fs::File::options().read(true).write(true).open(to.join("pages-1.img")).unwrap();
    let mut bytes = fs::read(to.join("pages-1.img")).unwrap();
    let vdso = own_vdso();
    let at =
        bytes.chunks(4096).position(|page| page == &vdso[..4096]).expect("it is stored") * 4096;
    for function in stasis_proctext::vdso::functions(&vdso).unwrap() {
        let start = at + function.offset;
        // int3
        bytes[start..start + function.len].fill(0xcc);
    }
    pages.write_all_at(&bytes, 0).unwrap();
}

fn own_vdso() -> Vec<u8> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
    let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
    fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, start).unwrap();
    bytes
}
