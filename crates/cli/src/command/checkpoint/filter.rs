//! `--filter` of `checkpoint ls` and `checkpoint prune`.

use jiff::Timestamp;
use stasis_container::Stored;

use super::shelf::Shelf;
use crate::{
    failure::{Failure, Result},
    time,
};

#[derive(Debug, PartialEq, Eq)]
pub struct Filters(Vec<Filter>);

#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Name(String),
    Id(String),
    /// Name or id.
    Container(String),
    Tag(String),
    /// Name or id of what it came from.
    Parent(String),
    Label(String, Option<String>),
    NoLabel(String, Option<String>),
    Before(Timestamp),
    Since(Timestamp),
    /// Its container is gone, or there.
    Dangling(Dangling),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dangling {
    Yes,
    No,
}

impl Filters {
    /// Those of `ls`.
    pub fn parse(texts: &[String]) -> Result<Filters> {
        texts.iter().map(|text| parse(text)).collect::<Result<_>>().map(Filters)
    }

    /// Those of `prune`.
    pub fn parse_prune(texts: &[String]) -> Result<Filters> {
        let filters = Filters::parse(texts)?;
        let fits = |filter: &Filter| {
            matches!(filter, Filter::Before(_) | Filter::Label(..) | Filter::NoLabel(..))
        };
        match filters.0.iter().zip(texts).find(|(filter, _)| !fits(filter)) {
            None => Ok(filters),
            Some((_, text)) => Err(Failure::new(format!("prune has no filter {text:?}"))
                .hint("use until=, label= or label!=")),
        }
    }

    pub fn matches(&self, shelf: &Shelf, stored: &Stored) -> bool {
        self.0.iter().all(|filter| filter.matches(shelf, stored))
    }
}

fn parse(text: &str) -> Result<Filter> {
    let wrong = || {
        Failure::new(format!("{text:?} is not a filter")).hint(
            "use name=, id=, container=, tag=, parent=, label=, label!=, until=, since= or dangling=",
        )
    };
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let owned = || value.to_owned();
    let label = || match value.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (owned(), None),
    };
    Ok(match (key, value) {
        ("name", _) => Filter::Name(owned()),
        ("id", _) => Filter::Id(owned()),
        ("container", _) => Filter::Container(owned()),
        ("tag", _) => Filter::Tag(owned()),
        ("parent", _) => Filter::Parent(owned()),
        ("label", _) => {
            let (key, value) = label();
            Filter::Label(key, value)
        }
        ("label!", _) => {
            let (key, value) = label();
            Filter::NoLabel(key, value)
        }
        ("until" | "before", _) => Filter::Before(time::point(value)?),
        ("since", _) => Filter::Since(time::point(value)?),
        ("dangling", "true" | "1") => Filter::Dangling(Dangling::Yes),
        ("dangling", "false" | "0") => Filter::Dangling(Dangling::No),
        _ => return Err(wrong()),
    })
}

impl Filter {
    fn matches(&self, shelf: &Shelf, stored: &Stored) -> bool {
        let checkpoint = &stored.checkpoint;
        let has = |key: &String, value: &Option<String>| {
            let have = checkpoint.container.labels.get(key);
            have.is_some_and(|have| value.as_ref().is_none_or(|wanted| wanted == have))
        };
        match self {
            Filter::Name(part) => checkpoint.name.contains(part.as_str()),
            Filter::Id(start) => checkpoint.id.starts_with(start.as_str()),
            Filter::Container(key) => {
                shelf.container(stored) == key || checkpoint.container.id.starts_with(key.as_str())
            }
            Filter::Tag(tag) => shelf.tags(stored).contains(&tag.as_str()),
            Filter::Parent(key) => checkpoint
                .parent
                .as_ref()
                .is_some_and(|parent| parent.name == *key || parent.id.starts_with(key.as_str())),
            Filter::Label(key, value) => has(key, value),
            Filter::NoLabel(key, value) => !has(key, value),
            Filter::Before(time) => checkpoint.created < *time,
            Filter::Since(time) => checkpoint.created > *time,
            Filter::Dangling(Dangling::Yes) => !shelf.has_container(stored),
            Filter::Dangling(Dangling::No) => shelf.has_container(stored),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_known_by_name() {
        assert_eq!(parse("label=a=b=c").unwrap(), Filter::Label("a".into(), Some("b=c".into())));
        assert_eq!(parse("dangling=1").unwrap(), Filter::Dangling(Dangling::Yes));
        for wrong in ["name", "dangling=maybe", "size=3", "until=never"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(Filters::parse_prune(&["until=10m".into(), "label!=keep".into()]).is_ok());
        assert!(Filters::parse_prune(&["name=x".into()]).is_err());
    }
}
