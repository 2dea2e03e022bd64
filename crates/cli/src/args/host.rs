//! How a checkpoint is compared with the host, as it is typed.

use clap::Args;
use stasis_engine::CpuCheck;

#[derive(Clone, Copy, Debug, Args)]
pub struct HostArgs {
    /// Only tell whether it can be restored here, and why not
    #[arg(long)]
    pub dry_run: bool,
    /// How much of the processor must be as it was: none, fpu (registers), ins (and instructions that
    /// programs can have used) or cpu (and everything else)
    #[arg(long, value_name = "WHAT", default_value = "ins", value_parser = cpu_check)]
    pub cpu_cap: CpuCheck,
}

/// As CRIU understands it: a list, of which the strictest word counts.
pub fn cpu_check(text: &str) -> Result<CpuCheck, String> {
    let mut strictest = CpuCheck::None;
    for word in text.split(',') {
        strictest = strictest.max(match word {
            "none" | "image" => CpuCheck::None,
            "fpu" => CpuCheck::Fpu,
            "ins" => CpuCheck::Ins,
            "cpu" | "all" => CpuCheck::Cpu,
            _ => return Err(format!("{word:?} is none of none, fpu, ins, cpu and all")),
        });
    }
    Ok(strictest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_word_counts() {
        assert_eq!(cpu_check("ins,fpu"), Ok(CpuCheck::Ins));
        assert_eq!(cpu_check("none"), Ok(CpuCheck::None));
        assert_eq!(cpu_check("image,all"), Ok(CpuCheck::Cpu));
        assert!(cpu_check("").is_err());
    }
}
