//! `clone` as it is typed.

use clap::{ArgAction, Args};
use stasis_engine::CpuCheck;

use super::host::cpu_check;

#[derive(Debug, Args)]
pub struct CloneArgs {
    /// How many
    #[arg(short = 'c', long, value_name = "NUMBER", default_value_t = 1)]
    pub count: usize,
    /// Name of the new container; of several, what stands before their numbers
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
    /// Each has its own name as its host name
    #[arg(long)]
    pub own_hostname: bool,
    /// Let the kernel merge equal pages of memory (ksm), which it is asked to do once if it does not all the
    /// time. By timing its writes a clone can then find out what others hold: false for clones that must not
    #[arg(
        long,
        value_name = "true|false",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true"
    )]
    pub merge_memory: bool,
    /// Leave changes of the root file system out
    #[arg(long)]
    pub ignore_rootfs: bool,
    /// Leave the contents of volumes out
    #[arg(long)]
    pub ignore_volumes: bool,
    /// How much of the processor must be as it was: none, fpu, ins or cpu
    #[arg(long, value_name = "WHAT", default_value = "ins", value_parser = cpu_check)]
    pub cpu_cap: CpuCheck,
    /// CONTAINER/NAME, a name, a tag or an id of a checkpoint; or a running container
    #[arg(value_name = "CHECKPOINT|CONTAINER")]
    pub source: String,
}
