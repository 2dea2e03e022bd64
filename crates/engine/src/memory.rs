//! Memory, layout and directories of all processes under restore.
//!
//! A process whose children have some of its memory is given its own before it bears them (it *lends*):
//! they are born with it, the kernel keeps equal pages once, and only what differs is read. All others
//! are given everything by one batch when all are born.

mod comparing;
mod filling;
mod parcel;

use std::collections::{BTreeMap, BTreeSet};

use stasis_files::Reader;
use stasis_model::{Live, NsPid, Process, Protection, SignalMask, TableId, Tree};
use stasis_objects::{
    Thawing,
    address_space::{self, MappedFile},
    content::PageSource,
    inheritance::{self, Inheritance},
    pages, process, protection_key,
    system_v::attachment,
};
use stasis_plan::Step;
use stasis_proctext::maps::Mapping;
use stasis_tracee::{Blank, Channel};

pub use self::comparing::{Compared, Comparer};
use self::{
    comparing::Pair,
    filling::Filling,
    parcel::{MappedFiles, Parcel, duplicate},
};
use crate::{
    contents::StoredPages,
    facade::Error,
    family::{Family, live_processes},
    morph::close_all_but,
    processor::OneProcessor,
};

/// More pages than this are worth another processor.
const LARGE_PAGES: u64 = 512;

/// The memory of a tree on its way into its blanks.
pub struct Memories<'a> {
    tree: &'a Tree,
    reader: &'a Reader,
    channel: &'a Channel,
    processor: Option<&'a OneProcessor>,
    mapped: MappedFiles,
    /// What a blank has mapped; all are born of one.
    of_blank: Vec<Mapping>,
    /// Signals that a blank ignores.
    ignored: SignalMask,
    lending: &'a Lending,
    lent: BTreeMap<NsPid, Lent>,
    nr_pages: u64,
}

/// Who is to have its memory before it bears children, and who is born with it.
#[derive(Default)]
pub struct Lending {
    lenders: BTreeSet<NsPid>,
    /// By heir.
    lender_of: BTreeMap<NsPid, NsPid>,
}

/// Memory that was given before others were born with it.
struct Lent {
    /// Of each mapping, until the rest is given.
    protections: Vec<Protection>,
    present: Vec<Mapping>,
}

/// Opened for a process by us: all that it is to be given.
struct Prepared {
    parcel: Parcel,
    fs: process::FsFds,
    /// `None` if it has its contents since before it bore children.
    contents: Option<Contents>,
}

struct Contents {
    source: StoredPages,
    inheritance: Inheritance,
    /// Numbers of the files of pages, and of the mapped ones, in the blank.
    pages: Vec<i32>,
    mapped: BTreeMap<MappedFile, i32>,
}

/// A process that is being filled.
struct Begun {
    pid: NsPid,
    table: TableId,
    is_large: bool,
    filling: Filling,
}

impl Begun {
    fn finish(self, family: &mut Family) -> Result<(), Error> {
        self.filling.finish(family.blank(self.pid)?)
    }
}

impl Prepared {
    fn is_large(&self) -> bool {
        self.contents.as_ref().is_some_and(Contents::is_large)
    }
}

impl Contents {
    fn is_large(&self) -> bool {
        self.inheritance.nr_missing() > LARGE_PAGES
    }
}

impl<'a> Memories<'a> {
    /// `root` is the blank that all others are born of.
    pub fn new(
        (tree, reader): (&'a Tree, &'a Reader),
        lending: &'a Lending,
        (root, channel): (&Blank, &'a Channel),
        processor: Option<&'a OneProcessor>,
    ) -> Result<Self, Error> {
        Ok(Memories {
            tree,
            reader,
            channel,
            processor,
            mapped: MappedFiles::default(),
            of_blank: root.proc().maps()?,
            ignored: SignalMask(root.proc().status()?.ignored),
            lending,
            lent: BTreeMap::new(),
            nr_pages: 0,
        })
    }

    /// Number of pages that were read.
    pub fn nr_pages(&self) -> u64 {
        self.nr_pages
    }

    /// Gives a process that is about to bear children its contents, if they have some of them.
    pub fn lend(&mut self, blank: &mut Blank, thawing: &mut Thawing) -> Result<(), Error> {
        let pid = NsPid(blank.own_pid());
        let process = self.tree.process(pid).filter(|_| self.lending.lenders.contains(&pid));
        let Some(live) = process.and_then(Process::live) else { return Ok(()) };
        if self.lent.contains_key(&pid) {
            return Ok(());
        }
        let mut parcel = Parcel::new(self.channel);
        let pair = (pid, self.lending.lender_of.get(&pid).copied());
        let compared = Comparer::new(self.tree, self.reader).compare(pair)?;
        let contents = self.open_contents(live, compared, thawing, &mut parcel)?;
        let is_large = contents.is_large();
        if is_large {
            self.processor.inspect(|processor| processor.let_out(blank.pid()));
        }
        let mut filling = Filling::new(pid);
        parcel.hand_over(blank, self.channel, &mut filling.batch)?;
        let protections = self.give_contents(blank, live, &contents, &mut filling)?;
        close_all_but(self.channel.remote_fd(), &mut filling.batch);
        filling.hand_on(blank)?;
        filling.finish(blank)?;
        if is_large {
            self.processor.inspect(|processor| processor.take_in(blank.pid()));
        }
        self.nr_pages += contents.inheritance.nr_missing();
        let present = blank.proc().maps()?;
        self.lent.insert(pid, Lent { protections, present });
        Ok(())
    }

    /// Gives all processes what they do not have yet; `compared` are those of [`Lending::heirs`].
    pub fn fill(
        &mut self,
        compared: impl Iterator<Item = Result<Compared, Error>>,
        family: &mut Family,
        thawing: &mut Thawing,
    ) -> Result<(), Error> {
        // While one is filled the next is prepared, and if it has much to read begun as well.
        let mut begun: Option<Begun> = None;
        for lender in live_processes(self.tree).filter(|process| self.lending.lends(process)) {
            self.fill_one(lender.pid, None, &mut begun, (family, thawing))?;
        }
        for compared in compared {
            let compared = compared?;
            self.fill_one(compared.pid, Some(compared), &mut begun, (family, thawing))?;
        }
        begun.map_or(Ok(()), |last| last.finish(family))
    }

    fn fill_one(
        &mut self,
        pid: NsPid,
        compared: Option<Compared>,
        begun: &mut Option<Begun>,
        (family, thawing): (&mut Family, &mut Thawing),
    ) -> Result<(), Error> {
        let live = self.tree.process(pid).and_then(Process::live).expect("live processes only");
        let prepared = self.prepare(pid, live, compared, thawing)?;
        // Received descriptors get the lowest free numbers, which a shared table must not confuse.
        let is_first = |begun: &mut Begun| begun.table == live.descriptors || !begun.is_large;
        if let Some(first) = begun.take_if(is_first) {
            first.finish(family)?;
        }
        let is_large = prepared.is_large();
        let filling = self.begin(family.blank(pid)?, live, prepared)?;
        let next = Begun { pid, table: live.descriptors, is_large, filling };
        match begun.replace(next) {
            Some(before) => before.finish(family),
            None => Ok(()),
        }
    }

    fn prepare(
        &mut self,
        pid: NsPid,
        live: &Live,
        compared: Option<Compared>,
        thawing: &mut Thawing,
    ) -> Result<Prepared, Error> {
        let mut parcel = Parcel::new(self.channel);
        let mut opened = process::open_fs(live, thawing)?.into_iter();
        let mut next = || opened.next().map(|file| parcel.add(file));
        let missing = || Error::Failed(format!("process {pid} has no directories"));
        let fs = process::FsFds {
            executable: next().ok_or_else(missing)?,
            cwd: next().ok_or_else(missing)?,
            root: next(),
        };
        let contents = compared
            .map(|compared| self.open_contents(live, compared, thawing, &mut parcel))
            .transpose()?;
        Ok(Prepared { parcel, fs, contents })
    }

    fn open_contents(
        &mut self,
        live: &Live,
        compared: Compared,
        thawing: &mut Thawing,
        parcel: &mut Parcel,
    ) -> Result<Contents, Error> {
        let Compared { source, inheritance, .. } = compared;
        let mut pages = Vec::new();
        for fd in source.files() {
            pages.push(parcel.add(duplicate(fd)?));
        }
        let made = live.memory.vmas.iter().enumerate();
        let made = made.filter(|(index, _)| inheritance.kept(*index).is_none());
        let wanted: BTreeSet<MappedFile> =
            made.filter_map(|(_, vma)| address_space::file_of(vma)).collect();
        let mut mapped = BTreeMap::new();
        for file in wanted {
            mapped.insert(file, parcel.add(duplicate(self.mapped.get(file, thawing)?)?));
        }
        Ok(Contents { source, inheritance, pages, mapped })
    }

    /// Begins to give a blank all that was prepared. Its table of descriptors is empty but for the
    /// channel, before and after.
    fn begin(
        &mut self,
        blank: &mut Blank,
        live: &Live,
        prepared: Prepared,
    ) -> Result<Filling, Error> {
        let pid = NsPid(blank.own_pid());
        if let Some(processor) = self.processor.filter(|_| prepared.is_large()) {
            match self.is_alone() {
                true => processor.send_out(blank.pid()),
                false => processor.let_out(blank.pid()),
            }
        }
        let mut filling = Filling::new(pid);
        prepared.parcel.hand_over(blank, self.channel, &mut filling.batch)?;
        let given = prepared.contents.map(|contents| {
            self.nr_pages += contents.inheritance.nr_missing();
            self.give_contents(blank, live, &contents, &mut filling)
        });
        let lent = self.lent.get(&pid);
        let protections = match (&given.transpose()?, lent) {
            (Some(protections), _) => protections.clone(),
            (None, Some(lent)) => lent.protections.clone(),
            (None, None) => Vec::new(),
        };
        protection_key::thaw(live.memory.protection_keys, &mut filling.batch);
        for (vma, protection) in live.memory.vmas.iter().zip(protections) {
            address_space::finish(vma, protection, &mut filling.batch);
            filling.hand_on_if_large(blank)?;
        }
        address_space::thaw_guards(&live.memory, &mut filling.batch);
        process::thaw(live, &prepared.fs, self.ignored, &mut filling.batch);
        close_all_but(self.channel.remote_fd(), &mut filling.batch);
        // For most processes this is the one batch of all.
        filling.hand_on(blank)?;
        Ok(filling)
    }

    /// Adds the calls that make all mappings and read what is in them. Gives the protections that the
    /// mappings have then.
    fn give_contents(
        &self,
        blank: &mut Blank,
        live: &Live,
        contents: &Contents,
        filling: &mut Filling,
    ) -> Result<Vec<Protection>, Error> {
        let vmas = &live.memory.vmas;
        let Contents { source, inheritance, pages: files, mapped } = contents;
        let foothold = blank.plan().range();
        let mut keep = inheritance.kept_ranges(vmas);
        let place = keep.partition_point(|range| range.start < foothold.start);
        keep.insert(place, foothold.clone());
        let lender = self.lending.lender_of.get(&NsPid(blank.own_pid()));
        let lent = lender.and_then(|lender| self.lent.get(lender));
        let present = lent.map_or(&self.of_blank, |lent| &lent.present);
        address_space::clear(&live.memory, present, &keep, &mut filling.batch)?;
        let objects = &self.tree.namespaces.system_v;
        attachment::thaw(&live.memory, objects, &foothold, &mut filling.batch)?;
        let with_content = pages::mappings_with_content(vmas, source);
        let mut protections = Vec::with_capacity(vmas.len());
        for (index, (vma, has_content)) in vmas.iter().zip(with_content).enumerate() {
            let kept = inheritance.kept(index);
            if kept.is_none() {
                let fd = address_space::file_of(vma).map(|file| mapped[&file]);
                address_space::thaw(vma, fd, has_content, &mut filling.batch);
                filling.hand_on_if_large(blank)?;
            }
            let made = || address_space::first_protection(vma, has_content);
            protections.push(kept.unwrap_or_else(made));
        }
        inheritance.drop_surplus(&mut filling.batch);
        let groups = pages::groups(vmas, &inheritance.missing);
        if contents.is_large() && self.is_alone() {
            filling.read_together(groups.collect(), (files, source), blank)?;
        } else {
            filling.read(groups, files, blank)?;
        }
        Ok(protections)
    }

    /// Whether there is one process only, and a processor for it beside ours: we have nothing else to do while it
    /// gets its memory.
    fn is_alone(&self) -> bool {
        live_processes(self.tree).count() == 1
            && self.processor.is_some_and(|processor| processor.others().is_some())
    }
}

impl Lending {
    /// Finds out from the births that there will be.
    pub fn of(tree: &Tree, steps: &[Step]) -> Self {
        let mut lending = Lending::default();
        // Helpers have what they were born with.
        let mut owner_of: BTreeMap<NsPid, NsPid> = BTreeMap::new();
        let live = |pid: NsPid| tree.process(pid).and_then(Process::live);
        let births = || steps.iter().filter_map(birth);
        for (bearer, child) in births() {
            let owner = match live(bearer) {
                Some(_) => bearer,
                None => *owner_of.get(&bearer).unwrap_or(&bearer),
            };
            owner_of.insert(child, owner);
            if let (Some(heir), Some(own)) = (live(child), live(owner))
                && inheritance::is_likely(&heir.memory, &own.memory)
            {
                lending.lenders.insert(owner);
            }
        }
        for (bearer, child) in births() {
            let lender = match lending.lenders.contains(&bearer) {
                true => Some(bearer),
                false => lending.lender_of.get(&bearer).copied(),
            };
            lending.lender_of.extend(lender.map(|lender| (child, lender)));
        }
        lending
    }

    fn lends(&self, process: &Process) -> bool {
        self.lenders.contains(&process.pid)
    }

    /// Those who are given all their memory after all births, and whose they are born with.
    pub fn heirs(&self, tree: &Tree) -> Vec<Pair> {
        let heirs = live_processes(tree).filter(|process| !self.lends(process));
        heirs.map(|heir| (heir.pid, self.lender_of.get(&heir.pid).copied())).collect()
    }
}

/// Who bears whom.
fn birth(step: &Step) -> Option<(NsPid, NsPid)> {
    match *step {
        Step::Bear { parent, child, .. } => Some((parent, child)),
        Step::BearSibling { elder, child } => Some((elder, child)),
        Step::LeadSession { .. }
        | Step::JoinGroup { .. }
        | Step::EndHelper { .. }
        | Step::Adopt { .. }
        | Step::StopAdopting { .. } => None,
    }
}
