//! `--filter` of the verbs that list and remove images.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use jiff::Timestamp;
use stasis_oci::Reference;
use stasis_store::{Image, ImageStore};

use crate::{
    failure::{Failure, Result},
    time,
};

/// All that was asked for; an image must have all of it.
#[derive(Debug, Default)]
pub struct Filters(Vec<Filter>);

#[derive(Debug)]
enum Filter {
    /// Has it no name?
    Dangling(Dangling),
    Label(String, Option<String>),
    NoLabel(String, Option<String>),
    /// Made before, or after, that time.
    Before(Timestamp),
    Since(Timestamp),
    /// Each pattern by itself; one of all must match.
    Reference(GlobMatcher),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dangling {
    Yes,
    No,
}

impl Filters {
    /// Those of `images`, with the name that may stand behind.
    pub fn parse(texts: &[String], name: Option<&str>, images: &ImageStore) -> Result<Filters> {
        let mut filters: Vec<Filter> =
            texts.iter().map(|text| Filter::parse(text, images)).collect::<Result<_>>()?;
        if let Some(name) = name {
            filters.push(Filter::Reference(pattern(name)?));
        }
        Ok(Filters(filters))
    }

    /// Those of `prune`.
    pub fn parse_prune(texts: &[String]) -> Result<Filters> {
        let parse = |text: &String| match text.split_once('=') {
            Some(("until", value)) => Ok(Filter::Before(time::point(value)?)),
            Some((key @ ("label" | "label!"), value)) => Ok(label(key, value)),
            _ => Err(wrong(text, "use until=, label= or label!=")),
        };
        Ok(Filters(texts.iter().map(parse).collect::<Result<_>>()?))
    }

    pub fn match_image(&self, image: &Image) -> bool {
        let dangles = |filter: &Filter| match filter {
            Filter::Dangling(wanted) => (*wanted == Dangling::Yes) == image.names.is_empty(),
            _ => true,
        };
        self.match_labels(&image.config.config.labels, image.config.created)
            && self.0.iter().all(dangles)
            && (!self.has_patterns() || self.match_any_name(image))
    }

    /// Those that look at labels and at the time, which are the same for containers.
    pub fn match_labels(
        &self,
        labels: &BTreeMap<String, String>,
        created: Option<Timestamp>,
    ) -> bool {
        let created = created.unwrap_or(Timestamp::UNIX_EPOCH);
        self.0.iter().all(|filter| filter.matches(labels, created))
    }

    /// Shall this name of a matching image be shown?
    pub fn match_name(&self, name: &Reference) -> bool {
        let patterns = self.0.iter().filter_map(|filter| match filter {
            Filter::Reference(pattern) => Some(pattern),
            _ => None,
        });
        let whole = name.familiar();
        let repository = name.repository().familiar();
        let fits =
            |pattern: &GlobMatcher| pattern.is_match(&whole) || pattern.is_match(&repository);
        !self.has_patterns() || patterns.into_iter().any(fits)
    }

    fn has_patterns(&self) -> bool {
        self.0.iter().any(|filter| matches!(filter, Filter::Reference(_)))
    }

    fn match_any_name(&self, image: &Image) -> bool {
        image.names.iter().any(|name| self.match_name(name))
    }
}

impl Filter {
    fn parse(text: &str, images: &ImageStore) -> Result<Filter> {
        const HINT: &str = "use dangling=, label=, before=, since= or reference=";
        let (key, value) = text.split_once('=').ok_or_else(|| wrong(text, HINT))?;
        let created = |key: &str| -> Result<Timestamp> {
            Ok(images.find(key)?.config.created.unwrap_or(Timestamp::UNIX_EPOCH))
        };
        Ok(match (key, value) {
            ("dangling", "true" | "1") => Filter::Dangling(Dangling::Yes),
            ("dangling", "false" | "0") => Filter::Dangling(Dangling::No),
            ("label", _) => label(key, value),
            ("before", _) => Filter::Before(created(value)?),
            ("since", _) => Filter::Since(created(value)?),
            ("until", _) => Filter::Before(time::point(value)?),
            ("reference", _) => Filter::Reference(pattern(value)?),
            _ => return Err(wrong(text, HINT)),
        })
    }

    fn matches(&self, labels: &BTreeMap<String, String>, created: Timestamp) -> bool {
        let has = |key: &String, value: &Option<String>| {
            let have = labels.get(key);
            have.is_some_and(|have| value.as_ref().is_none_or(|wanted| wanted == have))
        };
        match self {
            Filter::Label(key, value) => has(key, value),
            Filter::NoLabel(key, value) => !has(key, value),
            Filter::Before(time) => created < *time,
            Filter::Since(time) => created > *time,
            Filter::Dangling(_) | Filter::Reference(_) => true,
        }
    }
}

fn label(key: &str, value: &str) -> Filter {
    let (name, value) = match value.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    };
    if key == "label" { Filter::Label(name, value) } else { Filter::NoLabel(name, value) }
}

/// As in Go's `path.Match`, `*` does not go over a slash.
fn pattern(text: &str) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
    let glob = glob.map_err(|error| wrong(text, &error.to_string()))?;
    Ok(glob.compile_matcher())
}

fn wrong(text: &str, hint: &str) -> Failure {
    Failure::new(format!("{text:?} is not a filter")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expect: bool) {
        let store = ImageStore::new(std::path::Path::new("/nowhere"));
        let filters = Filters::parse(&[format!("reference={pattern}")], None, &store).unwrap();
        assert_eq!(filters.match_name(&name.parse().unwrap()), expect, "{pattern} {name}");
    }

    #[test]
    fn references_match_as_in_docker() {
        check("busybox", "busybox:1", true);
        check("busybox:1", "busybox:1", true);
        check("busybox:2", "busybox:1", false);
        check("*box", "busybox", true);
        check("busybox:1.*", "busybox:1.36", true);
        check("*", "q.io/a/b", false);
        check("q.io/*/b", "q.io/a/b", true);
    }

    #[test]
    fn other_filters_are_refused() {
        let store = ImageStore::new(std::path::Path::new("/nowhere"));
        for text in ["dangling", "dangling=x", "size=3", "before=nothing"] {
            assert!(Filters::parse(&[text.to_owned()], None, &store).is_err(), "{text}");
        }
        assert!(Filters::parse_prune(&["dangling=true".to_owned()]).is_err());
        assert!(Filters::parse_prune(&["until=10m".to_owned()]).is_ok());
    }
}
