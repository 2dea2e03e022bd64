//! The part of Go's templates that people use with `--format`.
//!
//! `{{.Field}}`, `{{.A.B}}`, `{{json .}}`, `{{json .A}}`, `{{index .A "key"}}`, `{{len .A}}`,
//! `{{upper .A}}`, `{{lower .A}}`, `{{println ...}}`, in front of which `table ` may stand.
//! Everything else is refused by name.

use serde_json::Value;

use crate::{
    failure::{Failure, Result},
    table,
};

/// A template taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    is_table: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value { path: Vec<String>, shape: Shape },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    Json,
    Length,
    Upper,
    Lower,
    Line,
}

impl Template {
    /// Takes a template apart. `json` alone is the same as `{{json .}}`.
    pub fn parse(text: &str) -> Result<Template> {
        if text == "json" {
            return Template::parse("{{json .}}");
        }
        let (text, is_table) = match text.strip_prefix("table ") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = after
                .split_once("}}")
                .ok_or_else(|| Failure::new("the template has {{ without }}"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(action_part(action.trim_matches('-').trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Template { parts, is_table })
    }

    /// One line per object; with a header if it is a table.
    pub fn render_all(&self, objects: &[Value], titles: &[(&str, &str)]) -> Result<String> {
        let lines: Vec<String> =
            objects.iter().map(|object| self.render(object)).collect::<Result<_>>()?;
        if !self.is_table {
            return Ok(lines.join("\n"));
        }
        let header = self.header(titles);
        let cells = |line: &String| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        let header: Vec<&str> = header.split('\t').collect();
        Ok(table::render(&header, &lines.iter().map(cells).collect::<Vec<_>>()))
    }

    /// The template filled with one object.
    pub fn render(&self, object: &Value) -> Result<String> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Ok(text.clone()),
                Part::Value { path, shape } => shape.render(look_up(object, path)?),
            })
            .collect()
    }

    fn header(&self, titles: &[(&str, &str)]) -> String {
        let title = |path: &[String]| {
            let name = path.last().map_or("", String::as_str);
            let known = titles.iter().find(|(field, _)| *field == name);
            known.map_or_else(|| name.to_uppercase(), |(_, title)| (*title).to_owned())
        };
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Value { path, .. } => title(path),
            })
            .collect()
    }
}

fn action_part(action: &str) -> Result<Part> {
    let words: Vec<&str> = action.split_whitespace().collect();
    let unsupported = || {
        Failure::new(format!("the template {{{{{action}}}}} is not supported"))
            .hint("use {{.Field}}, {{json .Field}} or {{index .Field \"key\"}}")
    };
    let (shape, operands) = match words.split_first() {
        Some((&"json", rest)) => (Shape::Json, rest),
        Some((&"len", rest)) => (Shape::Length, rest),
        Some((&"upper", rest)) => (Shape::Upper, rest),
        Some((&"lower", rest)) => (Shape::Lower, rest),
        Some((&"println", rest)) => (Shape::Line, rest),
        Some((&"index", rest)) => (Shape::Plain, rest),
        Some(_) => (Shape::Plain, words.as_slice()),
        None => return Err(unsupported()),
    };
    let Some((field, keys)) = operands.split_first() else { return Err(unsupported()) };
    let Some(field) = field.strip_prefix('.') else { return Err(unsupported()) };
    let mut path: Vec<String> =
        field.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if !keys.is_empty() && words[0] != "index" {
        return Err(unsupported());
    }
    path.extend(keys.iter().map(|key| key.trim_matches('"').to_owned()));
    Ok(Part::Value { path, shape })
}

fn look_up<'a>(object: &'a Value, path: &[String]) -> Result<&'a Value> {
    path.iter().try_fold(object, |value, name| {
        let found = match value {
            Value::Object(map) => map.get(name),
            Value::Array(list) => name.parse::<usize>().ok().and_then(|index| list.get(index)),
            _ => None,
        };
        found.ok_or_else(|| Failure::new(format!("the template names {name:?}, which is not there")))
    })
}

impl Shape {
    fn render(self, value: &Value) -> Result<String> {
        let plain = plain(value);
        Ok(match self {
            Shape::Plain => plain,
            Shape::Json => value.to_string(),
            Shape::Upper => plain.to_uppercase(),
            Shape::Lower => plain.to_lowercase(),
            Shape::Line => plain + "\n",
            Shape::Length => match value {
                Value::Array(list) => list.len().to_string(),
                Value::Object(map) => map.len().to_string(),
                _ => plain.chars().count().to_string(),
            },
        })
    }
}

/// As Go prints values.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{key}:{}", plain(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(template: &str, expect: &str) {
        let object = json!({"Id": "7", "State": {"Pid": 3}, "L": ["a", "b"], "M": {"k": "v"}});
        assert_eq!(Template::parse(template).unwrap().render(&object).unwrap(), expect, "{template}");
    }

    #[test]
    fn what_people_use() {
        check("{{.Id}}", "7");
        check("{{ .State.Pid }}!", "3!");
        check("{{json .State}}", "{\"Pid\":3}");
        check("{{.L}} {{.M}} {{len .L}}", "[a b] map[k:v] 2");
        check("{{index .M \"k\"}}", "v");
        check("a\\tb", "a\tb");
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        for template in ["{{range .L}}", "{{.Id", "{{if .Id}}", "{{}}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
        assert!(Template::parse("{{.Nope}}").unwrap().render(&json!({})).is_err());
    }

    #[test]
    fn tables_have_a_header() {
        let template = Template::parse("table {{.ID}}\t{{.Names}}").unwrap();
        let rows = [json!({"ID": "1", "Names": "x"})];
        let text = template.render_all(&rows, &[("ID", "CONTAINER ID")]).unwrap();
        assert_eq!(text, "CONTAINER ID   NAMES\n1              x");
    }
}
