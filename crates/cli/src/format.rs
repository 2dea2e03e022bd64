//! The part of Go's templates that people use with `--format`.
//!
//! `{{.Field}}`, `{{.A.B}}`, `{{json .}}`, `{{json .A}}`, `{{index .A "key"}}`, `{{len .A}}`,
//! `{{upper .A}}`, `{{lower .A}}`, `{{println ...}}`, `{{(index (index .A "key") 0).B}}`,
//! `{{range .A}}...{{end}}`, in front of which `table ` may stand. Everything else is refused by name.

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
    Value {
        path: Vec<String>,
        shape: Shape,
    },
    /// The parts once for each element of what is at the path.
    Range {
        path: Vec<String>,
        parts: Vec<Part>,
    },
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
        let mut rest = text.as_str();
        let parts = parse_parts(&mut rest, Inside::Template)?;
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
        render_parts(&self.parts, object)
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
                Part::Value { path, .. } | Part::Range { path, .. } => title(path),
            })
            .collect()
    }
}

fn render_parts(parts: &[Part], object: &Value) -> Result<String> {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Value { path, shape } => shape.render(look_up(object, path)?),
            Part::Range { path, parts } => elements(look_up(object, path)?)
                .map(|element| render_parts(parts, element))
                .collect(),
        })
        .collect()
}

/// What `range` goes through; a map's values in the order of its keys.
fn elements(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// Where a list of parts ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// With the text.
    Template,
    /// With `{{end}}`.
    Range,
}

/// Takes parts off the beginning of `rest`.
fn parse_parts(rest: &mut &str, inside: Inside) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) =
            after.split_once("}}").ok_or_else(|| Failure::new("the template has {{ without }}"))?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        *rest = after;
        match action.trim_matches('-').trim() {
            "end" if inside == Inside::Range => return Ok(parts),
            action => parts.push(action_part(action, rest)?),
        }
    }
    if inside == Inside::Range {
        return Err(Failure::new("the template has {{range}} without {{end}}"));
    }
    if !rest.is_empty() {
        parts.push(Part::Text((*rest).to_owned()));
    }
    Ok(parts)
}

/// `rest` is what stands behind the action.
fn action_part(action: &str, rest: &mut &str) -> Result<Part> {
    let unsupported = || {
        Failure::new(format!("the template {{{{{action}}}}} is not supported"))
            .hint("use {{.Field}}, {{json .Field}} or {{index .Field \"key\"}}")
    };
    let tokens = tokens(action).ok_or_else(unsupported)?;
    let (shape, operand) = match tokens.split_first() {
        Some((Token::Word("range"), operand)) => {
            let path = whole_operand(operand).ok_or_else(unsupported)?;
            return Ok(Part::Range { path, parts: parse_parts(rest, Inside::Range)? });
        }
        Some((Token::Word(word), operand)) => match Shape::named(word) {
            Some(shape) => (shape, operand),
            None => (Shape::Plain, tokens.as_slice()),
        },
        _ => (Shape::Plain, tokens.as_slice()),
    };
    let path = whole_operand(operand).ok_or_else(unsupported)?;
    Ok(Part::Value { path, shape })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    /// Between double quotes.
    Text(&'a str),
    Word(&'a str),
}

fn tokens(action: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' => (Token::Open, &rest[1..]),
            ')' => (Token::Close, &rest[1..]),
            '"' => {
                let (text, after) = rest[1..].split_once('"')?;
                (Token::Text(text), after)
            }
            _ => {
                let is_end = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"');
                let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
                (Token::Word(word), after)
            }
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Some(tokens)
}

/// The path of an operand, or of `index` with operand and keys, if that is all there is.
fn whole_operand(tokens: &[Token<'_>]) -> Option<Vec<String>> {
    let mut tokens = tokens;
    let path = expression(&mut tokens)?;
    tokens.is_empty().then_some(path)
}

fn expression(tokens: &mut &[Token<'_>]) -> Option<Vec<String>> {
    let [Token::Word("index"), rest @ ..] = *tokens else { return operand(tokens) };
    *tokens = rest;
    let mut path = operand(tokens)?;
    while let [Token::Text(key) | Token::Word(key), rest @ ..] = *tokens {
        path.push((*key).to_owned());
        *tokens = rest;
    }
    Some(path)
}

/// `.A.B`, or something in parentheses and perhaps a field of it.
fn operand(tokens: &mut &[Token<'_>]) -> Option<Vec<String>> {
    match *tokens {
        [Token::Word(word), rest @ ..] => {
            *tokens = rest;
            fields(word)
        }
        [Token::Open, rest @ ..] => {
            *tokens = rest;
            let mut path = expression(tokens)?;
            let [Token::Close, rest @ ..] = *tokens else { return None };
            *tokens = rest;
            if let [Token::Word(word), rest @ ..] = *tokens
                && let Some(more) = fields(word)
            {
                path.extend(more);
                *tokens = rest;
            }
            Some(path)
        }
        _ => None,
    }
}

fn fields(word: &str) -> Option<Vec<String>> {
    let names = word.strip_prefix('.')?.split('.');
    Some(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn look_up<'a>(object: &'a Value, path: &[String]) -> Result<&'a Value> {
    path.iter().try_fold(object, |value, name| {
        let found = match value {
            Value::Object(map) => map.get(name),
            Value::Array(list) => name.parse::<usize>().ok().and_then(|index| list.get(index)),
            _ => None,
        };
        found
            .ok_or_else(|| Failure::new(format!("the template names {name:?}, which is not there")))
    })
}

impl Shape {
    /// The function of this name.
    fn named(name: &str) -> Option<Shape> {
        Some(match name {
            "json" => Shape::Json,
            "len" => Shape::Length,
            "upper" => Shape::Upper,
            "lower" => Shape::Lower,
            "println" => Shape::Line,
            _ => return None,
        })
    }

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
        let object = json!({"Id": "7", "State": {"Pid": 3}, "L": ["a", "b"], "M": {"k": "v"},
            "P": {"80/tcp": [{"Port": "8080"}]}});
        assert_eq!(
            Template::parse(template).unwrap().render(&object).unwrap(),
            expect,
            "{template}"
        );
    }

    #[test]
    fn what_people_use() {
        check("{{.Id}}", "7");
        check("{{ .State.Pid }}!", "3!");
        check("{{json .State}}", "{\"Pid\":3}");
        check("{{.L}} {{.M}} {{len .L}}", "[a b] map[k:v] 2");
        check("{{index .M \"k\"}}", "v");
        check("a\\tb", "a\tb");
        check("{{(index .M \"k\")}} {{index (index .P \"80/tcp\") 0 \"Port\"}}", "v 8080");
        check("{{(index (index .P \"80/tcp\") 0).Port}}", "8080");
        check("{{json (index .P \"80/tcp\")}}", "[{\"Port\":\"8080\"}]");
        check("{{range .L}}<{{.}}>{{end}}!", "<a><b>!");
        check("{{range .P}}{{range .}}{{.Port}}{{end}}{{end}}", "8080");
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        for template in [
            "{{range .L}}",
            "{{.Id",
            "{{if .Id}}",
            "{{}}",
            "{{end}}",
            "{{(.Id}}",
            "{{.Id)}}",
            "{{.Id .L}}",
            "{{index \"k\"}}",
        ] {
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
