//! What proc shows of a process: command line, environment, auxiliary vector, executable.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "command line, environment, auxiliary vector and executable are as before";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::keep(stage, || {
        let mut all = vec![fs::read_link("/proc/self/exe")?.display().to_string()];
        for name in ["cmdline", "environ", "auxv"] {
            all.push(format!("{name} {:?}", fs::read(format!("/proc/self/{name}"))?));
        }
        let stat = fs::read_to_string("/proc/self/stat")?;
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        // startcode to startstack, and start_data to env_end (proc_pid_stat(5) fields 26-28, 45-51).
        all.extend(fields[24..27].iter().chain(&fields[43..50]).map(|f| (*f).to_owned()));
        Ok(all)
    })?;
    // A child forked afterwards sees the same executable.
    let child = raw::fork(stage, |_| {
        ensure!(fs::read_link("/proc/self/exe")? == std::env::current_exe()?, "another executable");
        Ok(())
    })?;
    child.join(stage)
}
