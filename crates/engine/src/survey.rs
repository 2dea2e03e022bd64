//! A look at a running tree without touching it: what would stand in the way of a checkpoint.

use std::os::{fd::AsFd, unix::ffi::OsStrExt};

use stasis_model::{Loss, Obstacle, Subject};
use stasis_objects::{address_space, descriptor, file_lock, sharing};
use stasis_tracee::ProcDir;

use crate::{
    facade::{Error, Externals},
    namespaces,
};

/// Tells what stands in the way of a checkpoint (first) and what it would leave out (second), without
/// touching the tree.
///
/// # Errors
/// [`Error::Failed`] if the tree cannot be looked at, for instance because the root does not exist.
pub fn check(root: i32, externals: &Externals) -> Result<(Vec<Obstacle>, Vec<Loss>), Error> {
    let tree = open_tree(root)?;
    let mut survey = Survey { externals, obstacles: Vec::new(), pipes: Vec::new() };
    for proc in &tree {
        match survey.process(proc) {
            // It ended while we were looking, which is its right.
            Err(stasis_objects::Error::Tracee(stasis_tracee::Error::Died { .. })) | Ok(()) => {}
            Err(_) if ProcDir::open(proc.pid()).is_err() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let others: Vec<&ProcDir> = tree.iter().skip(1).collect();
    let (_, nested) = namespaces::survey(&tree[0], &others)?;
    survey.obstacles.extend(nested);
    survey.obstacles.extend(sharing::obstacles(&tree)?);
    let losses = survey.one_ended_pipes();
    Ok((survey.obstacles, losses))
}

fn open_tree(root: i32) -> Result<Vec<ProcDir>, Error> {
    let first =
        ProcDir::open(root).map_err(|_| Error::Failed(format!("there is no process {root}")))?;
    let mut tree = vec![first];
    let mut index = 0;
    while index < tree.len() {
        for child in tree[index].children().unwrap_or_default() {
            tree.extend(ProcDir::open(child));
        }
        index += 1;
    }
    Ok(tree)
}

struct Survey<'a> {
    externals: &'a Externals,
    obstacles: Vec<Obstacle>,
    /// Pipe ends: link, whether it writes, and who has it.
    pipes: Vec<(Vec<u8>, u32, Subject)>,
}

impl Survey<'_> {
    fn process(&mut self, proc: &ProcDir) -> stasis_objects::Result<()> {
        let stat = proc.stat()?;
        if stat.state == b'Z' {
            return Ok(());
        }
        let name = String::from_utf8_lossy(&stat.name).into_owned();
        let subject = Subject::Task { pid: proc.pid(), name: name.clone() };
        let status = proc.status()?;
        if status.tracer != 0 {
            self.obstacle(subject.clone(), format!("is being traced by process {}", status.tracer));
        }
        for map in proc.smaps()? {
            if let Some(reason) = address_space::obstacle_of(&map) {
                self.obstacle(address_space::subject_of(proc.pid(), &stat.name, &map), reason);
            }
        }
        for fd in proc.descriptors()? {
            let open = descriptor::look_from_outside(proc, &name, fd)?;
            if let Some(reason) = file_lock::obstacle(&open.info) {
                self.obstacle(open.subject(), reason.into());
            }
            let link = open.link.as_os_str().as_bytes();
            match descriptor::kind_of(&open) {
                descriptor::Kind::Obstacle(reason) => self.obstacle(open.subject(), reason),
                descriptor::Kind::Socket => {
                    if let Err(reason) = self.socket(proc, fd) {
                        self.obstacle(open.subject(), reason);
                    }
                }
                descriptor::Kind::Pipe => {
                    self.pipes.push((link.to_vec(), open.flags() & 3, open.subject()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A socket is taken into our own table for a moment, which nobody notices.
    fn socket(&self, proc: &ProcDir, fd: i32) -> Result<i32, String> {
        let taken = proc.take_fd(fd).map_err(|error| error.to_string())?;
        descriptor::socket_obstacle_or_family(taken.as_fd())
    }

    fn obstacle(&mut self, subject: Subject, reason: String) {
        self.obstacles.push(Obstacle { subject, reason, hint: None });
    }

    /// Pipes whose other end lies outside the tree: they are cut.
    fn one_ended_pipes(&self) -> Vec<Loss> {
        let mut losses: Vec<Loss> = Vec::new();
        let mut told: Vec<&[u8]> = Vec::new();
        for (link, mode, subject) in &self.pipes {
            let external = self.externals.files.iter().any(|key| key.as_bytes() == link.as_slice());
            let other_end = |candidate: &&(Vec<u8>, u32, Subject)| {
                candidate.0 == *link && (candidate.1 != *mode || candidate.1 == 2)
            };
            if external
                || self.pipes.iter().any(|pipe| other_end(&pipe))
                || told.contains(&link.as_slice())
            {
                continue;
            }
            told.push(link);
            let reason =
                "the other end of this pipe is outside the tree; after a restore nobody is there";
            losses.push(Loss { subject: subject.clone(), reason: reason.into() });
        }
        losses
    }
}
