//! `/proc/sysvipc/shm`, `sem` and `msg` (sysvipc(7)): a line of headings, then one object per line.

use crate::{Result, lines, malformed, number, signed};

/// What all kinds have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object {
    pub key: i32,
    pub id: i32,
    /// With the kernel's own bits above the permissions.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub creator_uid: u32,
    pub creator_gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub object: Object,
    pub size: u64,
    pub nr_attached: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Semaphores {
    pub object: Object,
    pub count: usize,
    /// Time of the last semop(2), 0 if there was none.
    pub operated: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub object: Object,
    /// Of text in all messages.
    pub bytes: usize,
    pub nr_messages: usize,
}

/// Parses `/proc/sysvipc/shm`.
pub fn memory(text: &[u8]) -> Result<Vec<Memory>> {
    let parse = |line: &Line| {
        Ok(Memory {
            object: line.object(7)?,
            size: line.unsigned(3)?,
            nr_attached: line.unsigned(6)?,
        })
    };
    table(text, "sysvipc/shm", parse)
}

/// Parses `/proc/sysvipc/sem`.
pub fn semaphores(text: &[u8]) -> Result<Vec<Semaphores>> {
    let parse = |line: &Line| {
        Ok(Semaphores { object: line.object(4)?, count: line.size(3)?, operated: line.signed(8)? })
    };
    table(text, "sysvipc/sem", parse)
}

/// Parses `/proc/sysvipc/msg`.
pub fn queues(text: &[u8]) -> Result<Vec<Queue>> {
    let parse = |line: &Line| {
        Ok(Queue { object: line.object(7)?, bytes: line.size(3)?, nr_messages: line.size(4)? })
    };
    table(text, "sysvipc/msg", parse)
}

fn table<T>(text: &[u8], what: &'static str, parse: impl Fn(&Line) -> Result<T>) -> Result<Vec<T>> {
    lines(text).skip(1).map(|line| parse(&Line::split(what, line))).collect()
}

struct Line<'a> {
    what: &'static str,
    text: &'a [u8],
    words: Vec<&'a [u8]>,
}

impl<'a> Line<'a> {
    fn split(what: &'static str, text: &'a [u8]) -> Line<'a> {
        let words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        Line { what, text, words: words.collect() }
    }

    fn word(&self, index: usize) -> Result<&'a [u8]> {
        self.words.get(index).copied().ok_or_else(|| malformed(self.what, self.text))
    }

    fn unsigned(&self, index: usize) -> Result<u64> {
        number(self.what, self.word(index)?, 10)
    }

    fn signed(&self, index: usize) -> Result<i64> {
        signed(self.what, self.word(index)?)
    }

    fn size(&self, index: usize) -> Result<usize> {
        usize::try_from(self.unsigned(index)?).map_err(|_| malformed(self.what, self.text))
    }

    fn int(&self, index: usize) -> Result<i32> {
        i32::try_from(self.signed(index)?).map_err(|_| malformed(self.what, self.text))
    }

    fn user(&self, index: usize) -> Result<u32> {
        u32::try_from(self.unsigned(index)?).map_err(|_| malformed(self.what, self.text))
    }

    /// Key, identifier and mode come first; the four owners stand together at `owners`.
    fn object(&self, owners: usize) -> Result<Object> {
        let mode = number(self.what, self.word(2)?, 8)?;
        Ok(Object {
            key: self.int(0)?,
            id: self.int(1)?,
            mode: u32::try_from(mode).map_err(|_| malformed(self.what, self.text))?,
            uid: self.user(owners)?,
            gid: self.user(owners + 1)?,
            creator_uid: self.user(owners + 2)?,
            creator_gid: self.user(owners + 3)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHM: &[u8] = b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap
      4660      98306  1600                 20580 21969 21969      2    33    34    35    36          0 1795233705 1795233705                  4096                     0
-559038737          0  3600                     1     0     0      0     0     0     0     0          0          0 1795233705                     0                     0
";
    const SEM: &[u8] =
        b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
         7      32769   600          3  1000  1001  1002  1003 1795233700 1795233705
";
    const MSG: &[u8] = b"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime
         0          5   644          12          2 21969     0     1     2     3     4 1795233705          0 1795233705
";

    #[test]
    fn memory_of_6_18() {
        let all = memory(SHM).unwrap();
        let object = Object {
            key: 4660,
            id: 98306,
            mode: 0o1600,
            uid: 33,
            gid: 34,
            creator_uid: 35,
            creator_gid: 36,
        };
        assert_eq!(all[0], Memory { object, size: 20580, nr_attached: 2 });
        assert_eq!((all[1].object.key, all[1].object.mode), (-559_038_737, 0o3600));
    }

    #[test]
    fn semaphores_of_6_18() {
        let set = semaphores(SEM).unwrap()[0];
        assert_eq!((set.object.id, set.count, set.operated), (32769, 3, 1_795_233_700));
        assert_eq!((set.object.uid, set.object.creator_gid), (1000, 1003));
    }

    #[test]
    fn queues_of_6_18() {
        let queue = queues(MSG).unwrap()[0];
        assert_eq!((queue.bytes, queue.nr_messages, queue.object.creator_gid), (12, 2, 4));
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        assert_eq!(memory(b"").unwrap(), []);
        for end in 0..SHM.len() {
            let _ = memory(&SHM[..end]);
        }
        assert!(queues(b"headings\n1 2 3\n").is_err());
        assert!(semaphores(b"headings\nx 0 600 3 0 0 0 0 0 0\n").is_err());
    }
}
