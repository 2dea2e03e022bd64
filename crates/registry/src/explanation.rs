//! Why a registry refuses, in its own words.

use serde::Deserialize;

/// No more of it is shown.
const EXPLANATION_SHOWN_CHARS: usize = 300;

/// What the body of a refusal says: the codes and messages of the distribution-spec ("Error Codes"), or the
/// beginning of whatever it is.
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
