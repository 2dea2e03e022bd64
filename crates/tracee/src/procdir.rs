//! `/proc/PID` of one task, held open: if the pid is reused, reads fail instead of telling of a stranger.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rustix::{
    buffer::spare_capacity,
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use stasis_proctext::{
    Malformed,
    maps::{self, Mapping},
    stat::Stat,
    status::Status,
};

use crate::{
    error::{Error, Result},
    pidfd,
};

/// Waking the other processors takes longer than looking at so few threads.
pub const FEW: usize = 32;

/// More than any file of `/proc/PID` that we read.
const MAX_TEXT: usize = 256 << 20;

#[derive(Debug)]
pub struct ProcDir {
    pid: i32,
    dir: OwnedFd,
}

impl ProcDir {
    /// Opens `/proc/PID`.
    ///
    /// # Errors
    /// [`Error::Died`] if there is no such task.
    pub fn open(pid: i32) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())
            .map_err(|errno| failure(pid, Path::new(""), errno))?;
        Ok(ProcDir { pid, dir })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Opens a file below the directory.
    pub fn open_file(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        let path = path.as_ref();
        rustix::fs::openat(&self.dir, path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failure(self.pid, path, errno))
    }

    /// The whole text of a file below the directory.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        self.read_until(path.as_ref(), |got, _| got == 0)
    }

    /// The same for files that the kernel writes as a single record, such as `stat`, `status` and
    /// `comm`: a read that does not fill the buffer was the last one, and nothing asks for the end.
    /// Files with a record per line, such as `maps`, may give less at a time.
    pub fn read_record(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        self.read_until(path.as_ref(), |got, room| got < room)
    }

    /// `is_last` is told how much a read gave, and for how much there was room.
    fn read_until(&self, path: &Path, is_last: fn(usize, usize) -> bool) -> Result<Vec<u8>> {
        let file = self.open_file(path, OFlags::RDONLY)?;
        let mut text = Vec::new();
        loop {
            if text.len() == text.capacity() {
                text.reserve(text.len().max(4096));
            }
            let room = text.capacity() - text.len();
            match rustix::io::read(&file, spare_capacity(&mut text)) {
                Ok(count) if is_last(count, room) => break,
                Ok(_) if text.len() > MAX_TEXT => {
                    return Err(self.unreadable(path, "it has no end".into()));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failure(self.pid, path, errno)),
            }
        }
        // Some are kept for a while, one for each thread.
        text.shrink_to_fit();
        Ok(text)
    }

    /// Target of a symbolic link below the directory.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        let target = rustix::fs::readlinkat(&self.dir, path, Vec::new())
            .map_err(|errno| failure(self.pid, path, errno))?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
    }

    /// A second descriptor for the open file behind the task's descriptor `fd` (pidfd_getfd(2)).
    ///
    /// # Effect on the tracee
    /// None; it need not be stopped.
    pub fn take_fd(&self, fd: i32) -> Result<OwnedFd> {
        pidfd::take_fd((self.pid, pidfd::open(self.pid)?), fd)
    }

    pub fn stat(&self) -> Result<Stat> {
        self.parse_record("stat", stasis_proctext::stat::parse)
    }

    pub fn status(&self) -> Result<Status> {
        self.parse_record("status", stasis_proctext::status::parse)
    }

    /// The status of one thread.
    pub fn thread_status(&self, tid: i32) -> Result<Status> {
        self.parse_record(format!("task/{tid}/status"), stasis_proctext::status::parse)
    }

    /// The mappings with their flags.
    pub fn smaps(&self) -> Result<Vec<Mapping>> {
        self.mappings_in("smaps")
    }

    /// The mappings without their flags, which is much quicker.
    pub fn maps(&self) -> Result<Vec<Mapping>> {
        self.mappings_in("maps")
    }

    /// Parses it piece by piece: the text of a process with many mappings is longer than what is in it.
    fn mappings_in(&self, name: &str) -> Result<Vec<Mapping>> {
        const LONGEST_LINE: usize = 1 << 16;
        let path = Path::new(name);
        let file = self.open_file(path, OFlags::RDONLY)?;
        let (mut mappings, mut buffer, mut filled) = (Vec::new(), vec![0; 8192], 0);
        loop {
            match rustix::io::read(&file, &mut buffer[filled..]) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failure(self.pid, path, errno)),
            }
            let whole = memchr::memrchr(b'\n', &buffer[..filled]).map_or(0, |at| at + 1);
            let malformed = |malformed: Malformed| self.unreadable(path, malformed.to_string());
            maps::add(&mut mappings, &buffer[..whole]).map_err(malformed)?;
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
            if filled == buffer.len() {
                if filled >= LONGEST_LINE {
                    return Err(self.unreadable(path, "a line has no end".into()));
                }
                buffer.resize(2 * filled, 0);
            }
        }
        match filled {
            0 => Ok(mappings),
            _ => Err(self.unreadable(path, "it ends in the middle of a line".into())),
        }
    }

    /// Reads and parses a file below the directory.
    pub fn parse<T>(
        &self,
        path: impl AsRef<Path>,
        parse: impl Fn(&[u8]) -> std::result::Result<T, Malformed>,
    ) -> Result<T> {
        let path = path.as_ref();
        parse(&self.read(path)?).map_err(|malformed| self.unreadable(path, malformed.to_string()))
    }

    /// Reads and parses a file of a single record.
    pub fn parse_record<T>(
        &self,
        path: impl AsRef<Path>,
        parse: impl Fn(&[u8]) -> std::result::Result<T, Malformed>,
    ) -> Result<T> {
        let path = path.as_ref();
        let parse = |text: &[u8]| parse(text).map_err(|why| self.unreadable(path, why.to_string()));
        // As a rule there is room for it here, and nothing to be allocated.
        let mut text = [0; 4096];
        let file = self.open_file(path, OFlags::RDONLY)?;
        match rustix::io::read(&file, &mut text) {
            Ok(len) if len < text.len() => parse(&text[..len]),
            Ok(_) | Err(Errno::INTR) => parse(&self.read_record(path)?),
            Err(errno) => Err(failure(self.pid, path, errno)),
        }
    }

    /// Thread ids, in ascending order.
    pub fn threads(&self) -> Result<Vec<i32>> {
        match self.nr_threads()? {
            1 => Ok(vec![self.pid]),
            _ => self.numbers_in("task"),
        }
    }

    /// How many threads there are, which is quicker told than which.
    pub fn nr_threads(&self) -> Result<usize> {
        // The directory has a link for each, besides its own two.
        const OWN_LINKS: usize = 2;
        let task = rustix::fs::statat(&self.dir, "task", AtFlags::empty())
            .map_err(|errno| failure(self.pid, Path::new("task"), errno))?;
        Ok(usize::try_from(task.st_nlink).unwrap_or(usize::MAX).saturating_sub(OWN_LINKS))
    }

    /// Numbers of the open descriptors, in ascending order.
    pub fn descriptors(&self) -> Result<Vec<i32>> {
        self.numbers_in("fd")
    }

    /// Children of all threads, zombies included.
    pub fn children(&self) -> Result<Vec<i32>> {
        let nr_threads = self.nr_threads()?;
        if nr_threads >= FEW && nr_processes().is_some_and(|processes| processes < nr_threads) {
            return self.children_among_all();
        }
        let threads = self.threads()?;
        let of_threads: Vec<Vec<i32>> = match threads.len() {
            ..FEW => threads.iter().map(|tid| self.children_of(*tid)).collect::<Result<_>>()?,
            _ => threads.par_iter().map(|tid| self.children_of(*tid)).collect::<Result<_>>()?,
        };
        Ok(of_threads.concat())
    }

    /// The same by a look at every process.
    fn children_among_all(&self) -> Result<Vec<i32>> {
        let all = ProcDir { pid: 0, dir: self.open_file("..", OFlags::DIRECTORY)? };
        let is_child = |pid: &i32| match stasis_sys::pidfd::parent(*pid) {
            Ok(parent) => parent == self.pid,
            // Whoever has ended is a zombie or gone, and older kernels do not tell it.
            Err(_) => {
                let stat = ProcDir::open(*pid).and_then(|proc| proc.stat());
                stat.is_ok_and(|stat| stat.parent == self.pid)
            }
        };
        Ok(all.numbers_in(".")?.into_par_iter().filter(is_child).collect())
    }

    /// Children that one of the threads has; none if it has ended.
    fn children_of(&self, tid: i32) -> Result<Vec<i32>> {
        let text = match self.read(format!("task/{tid}/children")) {
            Ok(text) => text,
            Err(Error::Died { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        Ok(words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect())
    }

    fn numbers_in(&self, path: &str) -> Result<Vec<i32>> {
        let at = Path::new(path);
        let dir = self.open_file(at, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let entries = rustix::fs::Dir::new(dir).map_err(|errno| failure(self.pid, at, errno))?;
        let mut numbers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|errno| failure(self.pid, at, errno))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            numbers.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn unreadable(&self, path: &Path, reason: String) -> Error {
        Error::Proc { path: format!("/proc/{}/{}", self.pid, path.display()), reason }
    }
}

/// How many processes there are, and a few more: `/proc` has a link for each directory in it.
fn nr_processes() -> Option<usize> {
    usize::try_from(rustix::fs::stat("/proc").ok()?.st_nlink).ok()
}

fn failure(pid: i32, path: &Path, errno: Errno) -> Error {
    match errno {
        Errno::SRCH => Error::Died { pid },
        Errno::NOENT if path.as_os_str().is_empty() => Error::Died { pid },
        errno => Error::Proc {
            path: format!("/proc/{pid}/{}", path.display()),
            reason: stasis_sys::Errno(errno.raw_os_error()).to_string(),
        },
    }
}
