//! Bodies of answers, with a bound: a registry may send whatever it likes.

use reqwest::Response;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{error::Result, failure::Asked};

/// Nobody reads more of an explanation.
const EXPLANATION_LIMIT_BYTES: u64 = 64 << 10;
const EXPLANATION_SHOWN_CHARS: usize = 300;

/// Reads the whole body.
///
/// # Errors
/// [`TooLarge`](crate::Error::TooLarge) as soon as more than `limit_bytes` are announced or have come, and those of
/// the connection.
pub async fn read(mut response: Response, asked: &Asked<'_>, limit_bytes: u64) -> Result<Vec<u8>> {
    if response.content_length().is_some_and(|announced| announced > limit_bytes) {
        return Err(asked.too_large(limit_bytes));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| asked.broken(&error))? {
        if (body.len() + piece.len()) as u64 > limit_bytes {
            return Err(asked.too_large(limit_bytes));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Reads the whole body as JSON.
///
/// # Errors
/// As [`read`], and [`Unexpected`](crate::Error::Unexpected) if it is not what it should be.
pub async fn read_json<T: DeserializeOwned>(
    response: Response,
    asked: &Asked<'_>,
    limit_bytes: u64,
) -> Result<T> {
    let body = read(response, asked, limit_bytes).await?;
    serde_json::from_slice(&body).map_err(|error| asked.unexpected(error))
}

/// What a registry says about its refusal: the codes and messages of the distribution-spec
/// ("Error Codes"), or the beginning of whatever it said.
pub async fn read_explanation(response: Response, asked: &Asked<'_>) -> String {
    let body = read(response, asked, EXPLANATION_LIMIT_BYTES).await.unwrap_or_default();
    explanation(&body)
}

/// The part of [`read_explanation`] that needs no connection.
pub fn explanation(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Complaints>(body) {
        Ok(complaints) => complaints.to_text(),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    // What a stranger says must not steer the terminal.
    text.chars().filter(|c| !c.is_control()).take(EXPLANATION_SHOWN_CHARS).collect()
}

#[derive(Deserialize)]
struct Complaints {
    #[serde(default)]
    errors: Vec<Complaint>,
    /// As token servers answer.
    #[serde(default)]
    details: String,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Complaints {
    fn to_text(&self) -> String {
        let one = |complaint: &Complaint| match complaint.message.as_str() {
            "" => complaint.code.to_lowercase().replace('_', " "),
            message => message.to_owned(),
        };
        let all: Vec<String> = self.errors.iter().map(one).collect();
        if all.is_empty() { self.details.clone() } else { all.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expect: &str) {
        assert_eq!(explanation(body.as_bytes()), expect);
    }

    #[test]
    fn explanations() {
        check(r#"{"errors":[{"code":"DENIED","message":"not you","detail":[]}]}"#, "not you");
        check(r#"{"errors":[{"code":"NAME_UNKNOWN"},{"message":"b"}]}"#, "name unknown, b");
        check(r#"{"details":"incorrect username or password"}"#, "incorrect username or password");
        check("  out of order\n", "out of order");
        check("\u{1b}[31mred", "[31mred");
        check(&"x".repeat(1000), &"x".repeat(EXPLANATION_SHOWN_CHARS));
    }
}
