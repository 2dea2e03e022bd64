//! `system save` and `system resume`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stasis_container::{Came, Container, Disks, Error, Kept, Resumed, SavedAs, Store, WasSaved};

use super::process;
use crate::{
    args::{SystemResumeArgs, SystemSaveArgs},
    failure::{Failure, Result},
    listing::{Listing, Look},
    size, time,
};

const LISTING: Listing<'_> = Listing {
    titles: &[
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("Result", "RESULT"),
        ("Took", "TOOK"),
        ("Size", "MEMORY"),
    ],
    columns: &["ID", "Name", "Result", "Took", "Size"],
    id: "ID",
};

/// Freezes what runs. Exit code 1 if anything had to be stopped instead.
pub fn save(store: &Store, args: &SystemSaveArgs) -> Result<i32> {
    let budget = args.within.as_deref().map(time::length).transpose()?;
    let deadline = budget.map(|budget| {
        let begun = Instant::now();
        begun.checked_add(budget).ok_or_else(|| Failure::new("--within is too long"))
    });
    let disks = if args.with_disks { Disks::Copied } else { Disks::Stay };
    let all = store.save(deadline.transpose()?, disks)?;
    let rows: Vec<Value> = all.iter().map(saved_row).collect();
    all.iter().for_each(tell_saved);
    LISTING.print(&rows, Look::of(args.quiet, args.format.as_deref()))?;
    Ok(i32::from(!all.iter().all(|one| matches!(one.how, SavedAs::Frozen { .. }))))
}

fn saved_row(saved: &WasSaved) -> Value {
    let (word, bytes) = match &saved.how {
        SavedAs::Frozen { report, .. } => ("frozen", Some(report.stats.bytes_written)),
        SavedAs::Stopped(_) => ("stopped", None),
        SavedAs::RunsOn(_) => ("runs on", None),
    };
    row(&saved.container, word, saved.took, bytes)
}

fn tell_saved(saved: &WasSaved) {
    let name = &saved.container.config.name;
    match &saved.how {
        SavedAs::Frozen { report, nr_sessions } => {
            process::tell(report, false);
            if *nr_sessions > 0 {
                let processes = if *nr_sessions == 1 { "process" } else { "processes" };
                warn(&format!("{nr_sessions} {processes} of exec in container {name} had to end"));
            }
        }
        SavedAs::Stopped(reason) => {
            warn_why(&format!("container {name} was stopped instead of frozen"), reason);
        }
        SavedAs::RunsOn(reason) => {
            warn_why(&format!("container {name} was neither frozen nor stopped"), reason);
        }
    }
}

/// Brings back what was frozen. Exit code 1 if anything did not come back as it was.
pub fn resume(store: &Store, args: &SystemResumeArgs) -> Result<i32> {
    let kept = if args.keep { Kept::Checkpoints } else { Kept::Nothing };
    let all = store.resume(kept)?;
    let rows: Vec<Value> = all.iter().map(resumed_row).collect();
    all.iter().for_each(tell_resumed);
    LISTING.print(&rows, Look::of(args.quiet, args.format.as_deref()))?;
    Ok(i32::from(!all.iter().all(|one| matches!(one.how, Came::Back(_) | Came::ByPolicy))))
}

fn resumed_row(resumed: &Resumed) -> Value {
    let (word, bytes) = match &resumed.how {
        Came::Back(report) => ("resumed", Some(report.stats.nr_pages * 4096)),
        Came::ByPolicy | Came::Anew(_) => ("started anew", None),
        Came::Stays => ("stopped", None),
        Came::Failed(_) => ("failed", None),
    };
    row(&resumed.container, word, resumed.took, bytes)
}

fn tell_resumed(resumed: &Resumed) {
    let name = &resumed.container.config.name;
    match &resumed.how {
        Came::Back(report) => process::tell(report, false),
        Came::ByPolicy => {}
        Came::Anew(reason) => warn_why(
            &format!("container {name} was started anew, since it could not be brought back"),
            reason,
        ),
        Came::Stays => warn(&format!(
            "container {name} stays stopped: system save had to stop it, and it has no restart policy"
        )),
        Came::Failed(reason) => warn_why(&format!("container {name} does not run"), reason),
    }
}

fn warn(text: &str) {
    eprintln!("warning: {text}");
}

fn warn_why(text: &str, reason: &Error) {
    eprintln!("warning: {text}\ncause: {reason}");
}

fn row(container: &Container, word: &str, took: Duration, bytes: Option<u64>) -> Value {
    json!({
        "ID": container.short_id(),
        "Name": container.config.name,
        "Result": word,
        "Took": format!("{:.2}s", took.as_secs_f64()),
        "Size": bytes.map(size::human).unwrap_or_default(),
    })
}
