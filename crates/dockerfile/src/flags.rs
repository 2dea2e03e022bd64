//! The flags of an instruction: `--name=value` and `--name` before its arguments.

use crate::{
    error::{Error, Fault, Place, Result},
    expand,
    line::Line,
    words,
};

struct Flag {
    name: String,
    value: Option<String>,
    place: Place,
}

/// What stands before the arguments; each instruction takes what it knows, the rest is refused.
pub(crate) struct Flags {
    keyword: String,
    flags: Vec<Flag>,
    known: Vec<&'static str>,
    /// Where the arguments begin in the line.
    pub rest: usize,
}

impl Flags {
    /// Cuts the flags off; `from` is the end of the keyword.
    pub fn cut(line: &Line, keyword: &str, from: usize, escape: char) -> Result<Flags> {
        let mut flags = Vec::new();
        let mut rest = from;
        while let Some(word) = words::next(&line.text, rest, escape) {
            let Some(text) = word.text.strip_prefix("--") else { break };
            rest = word.end();
            if text.is_empty() {
                break;
            }
            let place = line.place_of(word.offset);
            let text = expand_quotes(text).map_err(|fault| fault.at(place))?;
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (text, None),
            };
            flags.push(Flag { name, value, place });
        }
        Ok(Flags { keyword: keyword.to_owned(), flags, known: Vec::new(), rest })
    }

    /// The value of a flag that is given at most once.
    pub fn value(&mut self, name: &'static str) -> Result<Option<String>> {
        let place = self.flags.iter().rev().find(|flag| flag.name == name).map(|flag| flag.place);
        let mut values = self.values(name)?;
        match (values.len(), place) {
            (0 | 1, _) | (_, None) => Ok(values.pop()),
            (_, Some(place)) => Err(Error::new(place, format!("--{name} is given twice"))),
        }
    }

    /// The values of a flag that can be given several times.
    pub fn values(&mut self, name: &'static str) -> Result<Vec<String>> {
        Ok(self.placed_values(name)?.into_iter().map(|(value, _)| value).collect())
    }

    /// The same with their places.
    pub fn placed_values(&mut self, name: &'static str) -> Result<Vec<(String, Place)>> {
        self.take(name)
            .into_iter()
            .map(|flag| match flag.value {
                Some(value) => Ok((value, flag.place)),
                None => Err(Error::new(flag.place, format!("--{name} needs a value"))
                    .hint(format!("write --{name}=VALUE"))),
            })
            .collect()
    }

    /// Whether a flag without value is there, or is set to true.
    pub fn is_set(&mut self, name: &'static str) -> Result<bool> {
        let mut is_set = false;
        for flag in self.take(name) {
            is_set = match flag.value.as_deref() {
                None | Some("true" | "1") => true,
                Some("false" | "0") => false,
                Some(other) => {
                    return Err(Error::new(flag.place, format!("--{name} cannot be {other:?}"))
                        .hint("expected true or false"));
                }
            };
        }
        Ok(is_set)
    }

    /// Refuses the flags that nobody took.
    pub fn finish(&self) -> Result<()> {
        let Some(flag) = self.flags.first() else { return Ok(()) };
        let what = format!("unknown flag --{} of {}", flag.name, self.keyword);
        let error = Error::new(flag.place, what);
        Err(match self.known.as_slice() {
            [] => error.hint(format!("{} takes no flags", self.keyword)),
            known => error.hint(format!("it takes --{}", known.join(", --"))),
        })
    }

    fn take(&mut self, name: &'static str) -> Vec<Flag> {
        self.known.push(name);
        self.flags.extract_if(.., |flag| flag.name == name).collect()
    }
}

/// Quotes group; variables stay for later, so only words that have quotes are touched.
fn expand_quotes(text: &str) -> std::result::Result<String, Fault> {
    if text.contains(['"', '\'']) { expand::unquote(text) } else { Ok(text.to_owned()) }
}
