//! Whether a tree can go on here: processor and kernel, compared with those it was frozen on.
//!
//! Programs look for features of the processor when they start and rely on them for ever. So what they
//! *can* have used must be there; what only a kernel uses, or what makes nothing but a difference in
//! speed, need not, and more than they know of does no harm.

mod features;

use stasis_model::{Obstacle, Process, Processor, Subject, Tree, XsaveComponents};

/// The machine that is to go on with a tree.
#[derive(Clone, Debug)]
pub struct Host {
    /// The first two numbers of its release.
    pub kernel: (u32, u32),
    pub processor: Processor,
}

/// How much of the processor is compared: CRIU's names for its `--cpu-cap`, each with all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CpuCheck {
    /// Nothing.
    None,
    /// Registers that must be set again.
    Fpu,
    /// Instructions that programs can have used.
    #[default]
    Ins,
    /// Every feature that CPUID tells of.
    Cpu,
}

/// Reasons why `tree`, frozen on the processor `theirs`, cannot go on here.
pub fn obstacles_of_host(
    tree: &Tree,
    theirs: Option<&Processor>,
    host: &Host,
    check: CpuCheck,
) -> Vec<Obstacle> {
    let mut obstacles = kernel(tree, host.kernel);
    if check >= CpuCheck::Fpu {
        obstacles.extend(registers(tree, &host.processor));
        obstacles.extend(theirs.and_then(|theirs| room_for_registers(theirs, &host.processor)));
    }
    if let Some(theirs) = theirs.filter(|_| check >= CpuCheck::Ins) {
        obstacles.extend(instructions(theirs, &host.processor, check));
    }
    obstacles
}

fn obstacle(subject: &str, reason: String, hint: Option<&str>) -> Obstacle {
    Obstacle::lasting(Subject::Named(subject.into()), reason, hint)
}

/// What of a tree needs a kernel that is younger than the oldest one that restores anything.
fn kernel(tree: &Tree, (major, minor): (u32, u32)) -> Vec<Obstacle> {
    /// openat2(2), and clone3(2) with chosen pids.
    const ANYTHING: (u32, u32) = (5, 6);
    const DROPPABLE: (u32, u32) = (6, 11);
    const GUARDS: (u32, u32) = (6, 13);
    const TIMER_IDS: (u32, u32) = (6, 15);
    let live = || tree.processes.iter().filter_map(Process::live);
    let is_droppable = |vma: &stasis_model::Vma| vma.backing == stasis_model::Backing::Droppable;
    let needs = [
        (true, ANYTHING, "a restore needs"),
        (
            live().any(|live| live.memory.vmas.iter().any(is_droppable)),
            DROPPABLE,
            "droppable memory needs",
        ),
        (live().any(|live| !live.memory.guards.is_empty()), GUARDS, "guard pages need"),
        (
            live().any(|live| !live.posix_timers.is_empty()),
            TIMER_IDS,
            "timers of timer_create(2) need",
        ),
    ];
    let too_old =
        needs.iter().filter(|(is_needed, since, _)| *is_needed && (major, minor) < *since);
    too_old
        .map(|(_, since, what)| {
            let reason =
                format!("{what} Linux {}.{}, and this is {major}.{minor}", since.0, since.1);
            obstacle("the kernel", reason, None)
        })
        .collect()
}

/// Names of the components of the XSAVE area, by their bits.
const COMPONENTS: [(u32, &str); 7] = [
    (2, "AVX"),
    (3, "MPX bound registers"),
    (4, "MPX configuration"),
    (5, "AVX-512 masks"),
    (6, "AVX-512"),
    (7, "AVX-512 upper"),
    (9, "protection keys"),
];

/// Registers in use that this processor does not have.
fn registers(tree: &Tree, ours: &Processor) -> Vec<Obstacle> {
    let mut missing = std::collections::BTreeMap::new();
    for process in &tree.processes {
        for thread in process.live().into_iter().flat_map(|live| &live.threads) {
            let in_use = thread.registers.fpu.extended.as_ref().map_or(0, XsaveComponents::needed);
            for (bit, name) in COMPONENTS {
                if in_use & !ours.components & 1 << bit != 0 {
                    missing.entry(bit).or_insert((name, process));
                }
            }
        }
    }
    let describe = |(name, process): (&str, &Process)| {
        let program = String::from_utf8_lossy(&process.name);
        let whose = format!("process {} ({program})", process.pid);
        obstacle("the processor", format!("{whose} holds {name} registers, which it lacks"), None)
    };
    missing.into_values().map(describe).collect()
}

/// Programs measure once how much room registers need. Where XSAVEC is missing, plain XSAVE writes
/// all components that are switched on, also those that were not when it was measured.
fn room_for_registers(theirs: &Processor, ours: &Processor) -> Option<Obstacle> {
    /// What the dynamic linker of the GNU C library saves when it looks a function up.
    const SAVED: u64 = 0b1110_1110;
    let has_more = ours.components & !theirs.components & SAVED != 0;
    let is_at_risk = theirs.components != 0 && !features::XSAVEC.is_in(&theirs.features);
    (has_more && is_at_risk).then(|| {
        let reason = "it has registers that the one of then did not have, and programs that measured \
                      there how much room registers need may save them into too little";
        let hint = "--cpu-cap none goes on nevertheless, which is fine for static programs";
        obstacle("the processor", reason.into(), Some(hint))
    })
}

fn instructions(theirs: &Processor, ours: &Processor, check: CpuCheck) -> Option<Obstacle> {
    let missing = match check {
        CpuCheck::Cpu => features::missing(theirs, ours),
        CpuCheck::None | CpuCheck::Fpu | CpuCheck::Ins => {
            features::missing_for_programs(theirs, ours)
        }
    };
    if missing.is_empty() {
        return None;
    }
    let name = if theirs.name.is_empty() { "the one it was frozen on" } else { &theirs.name };
    let reason = format!("it lacks what {name} had: {}", missing.join(", "));
    let hint = "programs that use it will be killed by SIGILL; --cpu-cap fpu goes on nevertheless";
    Some(obstacle("the processor", reason, Some(hint)))
}

#[cfg(test)]
mod tests;
