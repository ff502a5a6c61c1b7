//! Durations as people write them: `30s`, `10m`, `1h30m`.

use bascule_crds::Duration;
use jiff::{SignedDuration, Timestamp};

use crate::outcome::{Outcome, assert_calm};

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// # Panics
/// When a promise is broken.
pub fn target(data: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(data);
    let parsed = text.parse::<Duration>();
    // The same by way of JSON, where text may be borrowed or not.
    let json = serde_json::to_string(&text).unwrap_or_default();
    let read = serde_json::from_str::<Duration>(&json);
    let value = serde_json::from_value::<Duration>(serde_json::Value::String(text.clone().into_owned()));
    assert_eq!(parsed.as_ref().ok(), read.as_ref().ok());
    assert_eq!(parsed.as_ref().ok(), value.as_ref().ok());
    match parsed {
        Ok(duration) => {
            assert!(duration.get() >= SignedDuration::ZERO && duration.get() <= YEAR, "{duration:?}");
            let printed = duration.to_string();
            assert_eq!(printed.parse(), Ok(duration), "what is printed is read the same");
            assert_eq!(printed.parse::<Duration>().map(|again| again.to_string()).as_deref(), Ok(printed.as_str()));
            assert_eq!(serde_json::to_string(&duration).ok(), Some(format!("\"{printed}\"")));
            // It is added to time stamps of this century.
            let now: Timestamp = "2026-01-05T10:00:00Z".parse().expect("a time");
            assert!(now.checked_add(duration.get()).is_ok());
            Outcome::accepted(if duration == Duration::ZERO { "zero" } else { "some time" })
        }
        Err(error) => {
            let message = error.to_string();
            assert_calm(&message);
            assert!(message.contains("is not a duration"), "{message}");
            Outcome::refused("not a duration")
        }
    }
}
