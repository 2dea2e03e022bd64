//! Times as users write and read them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::failure::{Failure, Result};

/// `3 minutes`, as Docker rounds.
pub fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, (seconds + 1800) / 3600, seconds / 86400);
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 => format!("{minutes} minutes"),
        3600..5400 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if days < 14 => format!("{days} days"),
        _ if days < 60 => format!("{} weeks", days / 7),
        _ if days < 730 => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    }
}

/// How long ago that was.
pub fn since(time: Timestamp) -> String {
    human(Timestamp::now().duration_since(time))
}

/// `2026-11-21 00:30:00 +0000 UTC`.
pub fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// A length of time: `90s`, `2m`, or a number of seconds.
pub fn length(text: &str) -> Result<Duration> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => text.parse::<SignedDuration>().ok().and_then(|length| length.try_into().ok()),
    };
    parsed.ok_or_else(|| {
        Failure::new(format!("{text:?} is not a length of time")).hint("write 90s, 2m or 1m30s")
    })
}

/// A point in time: RFC 3339, seconds since 1970, or a duration before now such as `10m`.
pub fn point(text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Some(time) = seconds(text) {
        return Ok(time);
    }
    if let Ok(ago) = text.parse::<SignedDuration>() {
        return Ok(Timestamp::now() - ago);
    }
    if let Ok(time) = text.parse::<jiff::civil::DateTime>()
        && let Ok(zoned) = time.to_zoned(TimeZone::system())
    {
        return Ok(zoned.timestamp());
    }
    Err(Failure::new(format!("{text:?} is not a point in time"))
        .hint("write 2026-01-02T15:04:05Z, seconds since 1970, or a duration such as 10m"))
}

/// With or without a fraction.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanoseconds: i32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Timestamp::new(whole.parse().ok()?, nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_dockers() {
        let text = |seconds| human(SignedDuration::from_secs(seconds));
        assert_eq!(text(0), "Less than a second");
        assert_eq!(text(59), "59 seconds");
        assert_eq!(text(61), "About a minute");
        assert_eq!(text(600), "10 minutes");
        assert_eq!(text(3700), "About an hour");
        assert_eq!(text(7200), "2 hours");
        assert_eq!(text(86400 * 3), "3 days");
    }

    #[test]
    fn points_in_time() {
        assert_eq!(point("2026-01-01T00:00:00Z").unwrap().as_second(), 1_767_225_600);
        assert_eq!(point("10.5").unwrap().subsec_millisecond(), 500);
        assert!(point("10m").unwrap() < Timestamp::now());
        assert!(point("tomorrow").is_err());
    }
}
