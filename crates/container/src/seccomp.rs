//! seccomp(2) profiles in Docker's format, compiled to filters.
//!
//! The profile's language is richer than one filter of the compiler we use, which knows one action
//! for a match and one for the rest. So one filter lets pass what the profile lists at all and gives
//! the default action to the rest; another one for each action that is not "allow" gives that action
//! to what the profile lists for it. The kernel runs all and takes the strictest answer.
//!
//! 64-bit and 32-bit calls have different numbers. Each filter comes once for each of the two and
//! passes the calls of the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use serde::Deserialize;
use stasis_sys::seccomp::Instruction;

use crate::error::{Error, Result};

const DEFAULT_PROFILE: &str = include_str!("seccomp/default.json");
const EPERM: u32 = 1;
const AUDIT_ARCH_X86_64: u32 = 0xC000_003E;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const SECCOMP_RET_ALLOW: u32 = 0x7FFF_0000;

/// A filter ready for the kernel.
pub(crate) type Program = Vec<Instruction>;

/// The profile that containers get if nothing else is asked for.
///
/// # Errors
/// Never in a program that passed its tests: the text is part of it.
pub fn default_profile() -> Result<serde_json::Value> {
    serde_json::from_str(DEFAULT_PROFILE).map_err(|error| damaged(&error.to_string()))
}

/// Compiles a profile for a container that has the capabilities `granted`.
///
/// # Errors
/// [`Error::Invalid`] if the profile is not in Docker's format or asks for what we cannot do.
pub(crate) fn compile(
    profile: &serde_json::Value,
    granted: &BTreeSet<String>,
) -> Result<Vec<Program>> {
    let profile: Profile =
        serde_json::from_value(profile.clone()).map_err(|error| damaged(&error.to_string()))?;
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let rules: Vec<&Rule> = profile.syscalls.iter().filter(|r| r.applies(granted)).collect();
    let mut groups: Vec<(SeccompAction, Vec<&Rule>)> = Vec::new();
    for rule in &rules {
        let action = action(&rule.action, rule.errno_ret.or(profile.default_errno_ret))?;
        match groups.iter_mut().find(|(known, _)| *known == action) {
            Some((_, members)) => members.push(rule),
            None => groups.push((action, vec![rule])),
        }
    }
    let mut programs = Vec::new();
    for arch in [Arch::X86_64, Arch::I386] {
        if default != SeccompAction::Allow {
            let listed: Vec<&Rule> = groups
                .iter()
                .filter(|(action, _)| *action != default)
                .flat_map(|(_, rules)| rules.iter().copied())
                .collect();
            programs.extend(filter(&listed, default.clone(), SeccompAction::Allow, arch)?);
        }
        for (action, rules) in &groups {
            if *action != SeccompAction::Allow && *action != default {
                programs.extend(filter(rules, SeccompAction::Allow, action.clone(), arch)?);
            }
        }
    }
    Ok(programs)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    /// The older form of `names`.
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

impl Rule {
    fn applies(&self, granted: &BTreeSet<String>) -> bool {
        let has = |cap: &String| granted.contains(cap);
        let here = |arch: &String| matches!(arch.as_str(), "amd64" | "x86" | "x32");
        let includes = self.includes.as_ref().is_none_or(|only| {
            only.caps.iter().all(has) && (only.arches.is_empty() || only.arches.iter().any(here))
        });
        let excluded = self
            .excludes
            .as_ref()
            .is_some_and(|not| not.caps.iter().any(has) || not.arches.iter().any(here));
        includes && !excluded
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(&self.name)
    }

    /// Conditions on one argument that is named several times are alternatives, all others must hold
    /// together (as runc reads the format).
    fn alternatives(&self) -> Result<Vec<SeccompRule>> {
        let args = self.args.as_deref().unwrap_or_default();
        let mut indices: Vec<u8> = args.iter().map(|arg| arg.index).collect();
        indices.sort_unstable();
        indices.dedup();
        let groups: Vec<&[Argument]> = match args {
            [] => Vec::new(),
            _ if indices.len() == args.len() => vec![args],
            _ => args.chunks(1).collect(),
        };
        groups.into_iter().map(rule_of).collect()
    }
}

fn rule_of(args: &[Argument]) -> Result<SeccompRule> {
    let conditions = args.iter().map(condition).collect::<Result<Vec<_>>>()?;
    SeccompRule::new(conditions).map_err(|error| damaged(&error.to_string()))
}

fn condition(arg: &Argument) -> Result<SeccompCondition> {
    let (op, value) = match arg.op.as_str() {
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, arg.value),
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, arg.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, arg.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, arg.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, arg.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, arg.value),
        "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(arg.value), arg.value_two),
        other => return Err(damaged(&format!("unknown comparison {other}"))),
    };
    SeccompCondition::new(arg.index, SeccompCmpArgLen::Qword, op, value)
        .map_err(|error| damaged(&error.to_string()))
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction> {
    match name {
        "SCMP_ACT_ALLOW" => Ok(SeccompAction::Allow),
        "SCMP_ACT_LOG" => Ok(SeccompAction::Log),
        "SCMP_ACT_ERRNO" => Ok(SeccompAction::Errno(errno.unwrap_or(EPERM))),
        "SCMP_ACT_TRACE" => Ok(SeccompAction::Trace(errno.unwrap_or(EPERM))),
        "SCMP_ACT_TRAP" => Ok(SeccompAction::Trap),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(SeccompAction::KillThread),
        "SCMP_ACT_KILL_PROCESS" => Ok(SeccompAction::KillProcess),
        "SCMP_ACT_NOTIFY" => {
            Err(Error::invalid("seccomp profiles with user notification are not supported"))
        }
        other => Err(damaged(&format!("unknown action {other}"))),
    }
}

#[derive(Clone, Copy)]
enum Arch {
    X86_64,
    I386,
}

impl Arch {
    /// The number of a call; `None` if the architecture does not have it.
    fn number(self, name: &str) -> Option<i64> {
        match self {
            Arch::X86_64 => {
                syscalls::x86_64::Sysno::from_str(name).ok().map(|nr| i64::from(nr.id()))
            }
            Arch::I386 => syscalls::x86::Sysno::from_str(name).ok().map(|nr| i64::from(nr.id())),
        }
    }

    fn audit(self) -> u32 {
        match self {
            Arch::X86_64 => AUDIT_ARCH_X86_64,
            Arch::I386 => AUDIT_ARCH_I386,
        }
    }
}

fn filter(
    rules: &[&Rule],
    rest: SeccompAction,
    matched: SeccompAction,
    arch: Arch,
) -> Result<Option<Program>> {
    let mut by_number: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut unconditional: BTreeSet<i64> = BTreeSet::new();
    for rule in rules {
        let alternatives = rule.alternatives()?;
        for number in rule.names().filter_map(|name| arch.number(name)) {
            if alternatives.is_empty() {
                unconditional.insert(number);
            }
            by_number.entry(number).or_default().extend(alternatives.iter().cloned());
        }
    }
    // An empty list of rules matches always.
    by_number.extend(unconditional.into_iter().map(|number| (number, Vec::new())));
    if by_number.is_empty() && rest == SeccompAction::Allow {
        return Ok(None);
    }
    let program: BpfProgram = SeccompFilter::new(by_number, rest, matched, TargetArch::x86_64)
        .and_then(TryInto::try_into)
        .map_err(|error| damaged(&error.to_string()))?;
    Ok(Some(for_arch(&program, arch)))
}

/// The compiler's programs begin with: load the architecture, go on if it is x86_64, else kill.
fn for_arch(program: &BpfProgram, arch: Arch) -> Program {
    let mut instructions: Program = program
        .iter()
        .map(|i| Instruction { code: i.code, jump_true: i.jt, jump_false: i.jf, operand: i.k })
        .collect();
    assert_eq!(instructions[1].operand, AUDIT_ARCH_X86_64, "the compiler's prologue is known");
    instructions[1].operand = arch.audit();
    instructions[2].operand = SECCOMP_RET_ALLOW;
    instructions
}

fn damaged(reason: &str) -> Error {
    Error::invalid(format!("not a seccomp profile: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile_default(caps: &[&str]) -> Vec<Program> {
        let granted = caps.iter().map(|c| c.to_string()).collect();
        compile(&default_profile().unwrap(), &granted).unwrap()
    }

    #[test]
    fn default_profile_fits_the_kernels_limit() {
        let programs = compile_default(&["CAP_SYS_CHROOT"]);
        assert_eq!(programs.len(), 4);
        assert!(programs.iter().all(|p| p.len() <= 4096));
    }

    #[test]
    fn with_sys_admin_nothing_is_left_for_the_errno_filter() {
        assert_eq!(compile_default(&["CAP_SYS_ADMIN"]).len(), 2);
    }

    #[test]
    fn every_name_in_the_default_profile_exists_on_some_architecture() {
        let profile: Profile = serde_json::from_str(DEFAULT_PROFILE).unwrap();
        let unknown: Vec<&String> = profile
            .syscalls
            .iter()
            .flat_map(Rule::names)
            .filter(|n| Arch::X86_64.number(n).or(Arch::I386.number(n)).is_none())
            .collect();
        // Calls of other architectures or newer kernels than the table knows are skipped.
        assert!(unknown.len() < 12, "{unknown:?}");
    }

    #[test]
    fn user_notification_is_refused() {
        let profile = serde_json::json!({"defaultAction": "SCMP_ACT_NOTIFY"});
        assert!(compile(&profile, &BTreeSet::new()).is_err());
    }
}
