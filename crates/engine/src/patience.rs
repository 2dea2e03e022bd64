//! Obstacles that pass by themselves.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use stasis_model::{Obstacle, Standing};

const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Tries until nothing is in the way, or something that lasts, or two seconds are over; the last
/// outcome is the one that counts.
pub fn until_passed<T>(
    mut attempt: impl FnMut() -> T,
    obstacles: impl Fn(&T) -> Vec<Obstacle>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let outcome = attempt();
        let found = obstacles(&outcome);
        let may_pass = found.iter().all(|obstacle| obstacle.stands == Standing::Passing);
        if found.is_empty() || !may_pass || Instant::now() > deadline {
            return outcome;
        }
        sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use stasis_model::Subject;

    use super::*;

    fn obstacle(stands: Standing) -> Obstacle {
        Obstacle { stands, ..Obstacle::lasting(Subject::Tree, "x", None) }
    }

    #[test]
    fn only_what_passes_is_waited_for() {
        let mut outcomes = vec![vec![], vec![obstacle(Standing::Passing)]];
        assert_eq!(until_passed(|| outcomes.pop().unwrap(), Clone::clone), []);
        let mixed = vec![obstacle(Standing::Passing), obstacle(Standing::Lasting)];
        let mut outcomes = vec![vec![], mixed.clone()];
        assert_eq!(until_passed(|| outcomes.pop().unwrap(), Clone::clone), mixed);
    }
}
