//! Health checks: what is typed stands above what the image says.

use jiff::SignedDuration;
use stasis_oci::Healthcheck;

use crate::{
    args::health::HealthArgs,
    failure::{Failure, Result},
};

const MIN_NANOSECONDS: i128 = 1_000_000;

/// The health check of a new container.
pub fn check(args: &HealthArgs, image: Option<&Healthcheck>) -> Result<Option<Healthcheck>> {
    if args.no_healthcheck {
        return Ok(None);
    }
    let mut check = image.cloned().unwrap_or_default();
    if let Some(command) = &args.health_cmd {
        check.test = match command.as_str() {
            "none" => vec!["NONE".into()],
            text => vec!["CMD-SHELL".into(), text.to_owned()],
        };
    }
    let set = |value: &mut i64, typed: &Option<String>, name: &str| match typed {
        Some(text) => duration(text, name).map(|nanoseconds| *value = nanoseconds),
        None => Ok(()),
    };
    set(&mut check.interval, &args.health_interval, "--health-interval")?;
    set(&mut check.timeout, &args.health_timeout, "--health-timeout")?;
    set(&mut check.start_period, &args.health_start_period, "--health-start-period")?;
    set(&mut check.start_interval, &args.health_start_interval, "--health-start-interval")?;
    check.retries = args.health_retries.map_or(check.retries, i64::from);
    Ok(Some(check).filter(|check| !check.test.is_empty()))
}

/// Nanoseconds; 0 is the default.
fn duration(text: &str, name: &str) -> Result<i64> {
    let wrong = || {
        Failure::new(format!("{text:?} is not a duration for {name}"))
            .hint("write 0, or at least 1ms, such as 30s or 1m30s")
    };
    if text == "0" {
        return Ok(0);
    }
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    let nanoseconds = duration.as_nanos();
    match i64::try_from(nanoseconds) {
        Ok(fits) if nanoseconds == 0 || nanoseconds >= MIN_NANOSECONDS => Ok(fits),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1m30s", "").unwrap(), 90_000_000_000);
        assert_eq!(duration("0", "").unwrap(), 0);
        for text in ["", "x", "-1s", "1ns", "99999999999h"] {
            assert!(duration(text, "").is_err(), "{text}");
        }
    }
}
