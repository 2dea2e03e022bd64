//! What all verbs called `inspect` print.

use serde_json::Value;

use crate::{failure::Result, format::Template};

/// Prints what is found under the names, as JSON or by a template. What is not found is told, and makes the
/// exit code 1.
pub fn print(
    names: &[String],
    format: Option<&str>,
    find: impl Fn(&str) -> Result<Value>,
) -> Result<i32> {
    let template = format.map(Template::parse).transpose()?;
    let mut objects = Vec::new();
    let mut code = 0;
    for name in names {
        match find(name) {
            Ok(object) => objects.push(object),
            Err(failure) => {
                eprintln!("{failure}");
                code = 1;
            }
        }
    }
    match template {
        Some(template) => {
            for object in &objects {
                say!("{}", template.render(object)?);
            }
        }
        None => say!("{}", serde_json::to_string_pretty(&objects).unwrap_or_default()),
    }
    Ok(code)
}
