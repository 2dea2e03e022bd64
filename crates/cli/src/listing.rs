//! What verbs that list things print: a table, ids, or what a template says.

use serde_json::Value;

use crate::{failure::Result, format::Template, table};

/// A table of one kind of things.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// Fields and what stands above their columns.
    pub titles: &'a [(&'a str, &'a str)],
    /// The fields that are shown without a template.
    pub columns: &'a [&'a str],
    /// The field that is shown with `-q`.
    pub id: &'a str,
}

/// As the user wants it.
#[derive(Clone, Copy, Debug)]
pub enum Look<'a> {
    Table,
    Ids,
    Template(&'a str),
}

impl<'a> Look<'a> {
    /// `-q` goes before `--format`.
    pub fn of(quiet: bool, format: Option<&'a str>) -> Look<'a> {
        match format {
            _ if quiet => Look::Ids,
            None | Some("table") => Look::Table,
            Some(template) => Look::Template(template),
        }
    }
}

impl Listing<'_> {
    pub fn print(&self, rows: &[Value], look: Look<'_>) -> Result<()> {
        match look {
            Look::Ids => rows.iter().for_each(|row| say!("{}", text(row, self.id))),
            Look::Table => {
                let cells = |row| self.columns.iter().map(|field| text(row, field)).collect();
                let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
                let header: Vec<&str> =
                    self.columns.iter().map(|field| self.title(field)).collect();
                say!("{}", table::render(&header, &cells));
            }
            Look::Template(template) => {
                let rendered = Template::parse(template)?.render_all(rows, self.titles)?;
                if !rendered.is_empty() {
                    say!("{rendered}");
                }
            }
        }
        Ok(())
    }

    fn title(&self, field: &str) -> &str {
        self.titles.iter().find(|(known, _)| *known == field).map_or("", |(_, title)| title)
    }
}

fn text(row: &Value, field: &str) -> String {
    match &row[field] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
