//! How far the layers of an image are: moving bars on a terminal, Docker's lines elsewhere.

use std::{
    io::{IsTerminal, stderr, stdout},
    sync::Arc,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use stasis_oci::Digest;
use stasis_registry::{LayerProgress, Progress, Step};

const REDRAWS_PER_SECOND: u8 = 10;
const STEADY: Duration = Duration::from_millis(100);

/// In which words the steps are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    Pull,
    Push,
}

/// Where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Out,
    /// Standard output is somebody else's.
    Err,
}

/// Shows all layers of an image.
pub struct Bars {
    words: Words,
    place: Place,
    /// None where lines are printed.
    terminal: Option<MultiProgress>,
}

/// Shows one layer.
struct Line {
    words: Words,
    place: Place,
    short: String,
    bar: Option<ProgressBar>,
}

impl Bars {
    pub fn new(words: Words, place: Place) -> Bars {
        let (is_terminal, target) = match place {
            Place::Out => {
                (stdout().is_terminal(), ProgressDrawTarget::stdout_with_hz(REDRAWS_PER_SECOND))
            }
            Place::Err => {
                (stderr().is_terminal(), ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND))
            }
        };
        let terminal = is_terminal.then(|| MultiProgress::with_draw_target(target));
        Bars { words, place, terminal }
    }
}

impl Progress for Bars {
    fn layer(&self, digest: &Digest, size_bytes: u64) -> Arc<dyn LayerProgress> {
        let short = digest.short();
        let bar = self.terminal.as_ref().map(|terminal| {
            let bar = terminal.add(ProgressBar::new(size_bytes).with_prefix(short.clone()));
            bar.with_style(style("{prefix}: {msg}"))
        });
        Arc::new(Line { words: self.words, place: self.place, short, bar })
    }
}

impl LayerProgress for Line {
    fn step(&self, step: Step<'_>) {
        let text = text(self.words, step);
        match &self.bar {
            Some(bar) if is_moving(step) => move_on(bar, text),
            Some(bar) => {
                stand_still(bar, text);
                if is_last(self.words, step) {
                    bar.abandon();
                }
            }
            None if is_moving(step) => {}
            None => match self.place {
                Place::Out => say!("{}: {text}", self.short),
                Place::Err => eprintln!("{}: {text}", self.short),
            },
        }
    }

    fn at(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }
}

fn move_on(bar: &ProgressBar, text: String) {
    bar.set_position(0);
    bar.set_style(style("{prefix}: {msg} [{bar:30}] {bytes}/{total_bytes}"));
    bar.enable_steady_tick(STEADY);
    bar.set_message(text);
}

fn stand_still(bar: &ProgressBar, text: String) {
    bar.disable_steady_tick();
    bar.set_style(style("{prefix}: {msg}"));
    bar.set_message(text);
}

/// Steps that take a while; they are seen only where something can move.
fn is_moving(step: Step<'_>) -> bool {
    matches!(step, Step::Compressing | Step::Moving | Step::Unpacking)
}

/// Steps after which nothing happens to a layer.
fn is_last(words: Words, step: Step<'_>) -> bool {
    match step {
        Step::Present | Step::Mounted(_) | Step::Unpacked => true,
        Step::Moved => words == Words::Push,
        Step::Waiting | Step::Compressing | Step::Moving | Step::Unpacking => false,
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the templates here are right");
    style.progress_chars("=> ")
}

/// Docker's words.
fn text(words: Words, step: Step<'_>) -> String {
    let text = match (words, step) {
        (Words::Pull, Step::Waiting) => "Pulling fs layer",
        (Words::Pull, Step::Present) => "Already exists",
        (Words::Pull, Step::Moving) => "Downloading",
        (Words::Pull, Step::Moved) => "Download complete",
        (Words::Push, Step::Waiting) => "Preparing",
        (Words::Push, Step::Present) => "Layer already exists",
        (Words::Push, Step::Moving) => "Pushing",
        (Words::Push, Step::Moved) => "Pushed",
        (_, Step::Mounted(from)) => return format!("Mounted from {}", from.path()),
        (_, Step::Compressing) => "Compressing",
        (_, Step::Unpacking) => "Extracting",
        (_, Step::Unpacked) => "Pull complete",
    };
    text.to_owned()
}
