//! JSON form or plain text: how the arguments of most instructions can be written.

use serde_json::Value;

use crate::error::Fault;

/// The strings of a JSON array, or nothing if the text is no JSON array.
///
/// # Errors
/// An array that holds something else than strings.
pub(crate) fn json(text: &str) -> Result<Option<Vec<String>>, Fault> {
    let text = text.trim();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(Value::Array(values)) = serde_json::from_str(text) else { return Ok(None) };
    values
        .into_iter()
        .map(|value| match value {
            Value::String(text) => Ok(text),
            other => Err(Fault::new(format!("{other} is not a string"))
                .hint("the JSON form takes an array of strings only")),
        })
        .collect::<Result<Vec<String>, Fault>>()
        .map(Some)
}
