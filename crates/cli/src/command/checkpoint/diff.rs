//! `checkpoint diff`: what differs between two checkpoints, found out from their files alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stasis_container::{ChangeKind, Store, Stored};
use stasis_model::{NsPid, Tree};

use crate::{args::CheckpointDiffArgs, failure::Result, format::Template};

pub fn run(store: &Store, args: &CheckpointDiffArgs) -> Result<i32> {
    let checkpoints = store.checkpoints();
    let (first, second) = (checkpoints.find(&args.first)?, checkpoints.find(&args.second)?);
    let _held = (first.hold()?, second.hold()?);
    let processes = processes(&first, &second)?;
    let files = files(&first, &second)?;
    match args.format.as_deref() {
        Some(format) => {
            let all = json!({ "Processes": processes, "Files": files });
            say!("{}", Template::parse(format)?.render(&all)?);
        }
        None => {
            processes.iter().for_each(|row| say!("{}", process_line(row)));
            files.iter().for_each(|row| {
                say!("{} {}", word(row, "Kind"), word(row, "Path"));
            });
        }
    }
    Ok(0)
}

fn word<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

/// As a line of `docker diff`, with what has changed in memory.
fn process_line(row: &Value) -> String {
    let pages = &row["Pages"];
    let memory = match pages {
        Value::Null => String::new(),
        _ => format!(
            ": {} pages changed, {} new, {} gone",
            pages["Changed"], pages["New"], pages["Gone"]
        ),
    };
    format!("{} process {} ({}){memory}", word(row, "Kind"), row["Pid"], word(row, "Name"))
}

/// Processes that came, went, or have changed.
fn processes(first: &Stored, second: &Stored) -> Result<Vec<Value>> {
    let (before, now) = (names(&first.tree()?), names(&second.tree()?));
    let memory = first.compare_memory(second)?;
    let pids: BTreeSet<&NsPid> = before.keys().chain(now.keys()).collect();
    let mut rows = Vec::new();
    for pid in pids {
        let (kind, name) = match (before.get(pid), now.get(pid)) {
            (None, Some(name)) => ("A", name),
            (Some(name), None) => ("D", name),
            (Some(_), Some(name)) => ("C", name),
            (None, None) => continue,
        };
        let difference = memory.get(pid).copied().unwrap_or_default();
        let is_same = before.get(pid) == now.get(pid) && difference == Default::default();
        if is_same {
            continue;
        }
        let pages = json!({
            "Changed": difference.nr_changed,
            "New": difference.nr_new,
            "Gone": difference.nr_gone,
        });
        rows.push(json!({
            "Kind": kind,
            "Pid": pid.0,
            "Name": name,
            "Pages": (kind == "C").then_some(pages),
        }));
    }
    Ok(rows)
}

fn names(tree: &Tree) -> BTreeMap<NsPid, String> {
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    tree.processes.iter().map(|process| (process.pid, name(&process.name))).collect()
}

fn files(first: &Stored, second: &Stored) -> Result<Vec<Value>> {
    let row = |(path, kind): (std::path::PathBuf, ChangeKind)| {
        let kind = match kind {
            ChangeKind::Added => "A",
            ChangeKind::Changed => "C",
            ChangeKind::Deleted => "D",
        };
        json!({ "Kind": kind, "Path": path })
    };
    Ok(first.compare_files(second)?.into_iter().map(row).collect())
}
