//! ARCHITECTURE.md is true: which room uses which, where `unsafe` is, what is supported and by which
//! program of the zoo that is proved. Needs no root, and reads nothing but the repository.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // a test that cannot go on says so

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Files of `objects` that are no kernel objects.
const NO_OBJECTS: [&str; 7] =
    ["content.rs", "error.rs", "gathering.rs", "lib.rs", "ranges.rs", "system_v.rs", "thawing.rs"];

/// Where `unsafe` may be written, from the repository's root.
const UNSAFE_PLACES: [&str; 2] = ["crates/sys/src", "zoo/src/raw.rs"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths of all files below a directory, from the repository's root.
fn files_below(directory: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut left = vec![PathBuf::from(directory)];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(repository().join(&directory)).unwrap().map(Result::unwrap) {
            let path = directory.join(entry.file_name());
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => left.push(path),
                _ => files.push(path.to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort();
    files
}

/// Our own directories, but not what a build puts there.
fn sources() -> Vec<String> {
    let below = ["crates", "docs", "fuzz/fuzz_targets", "xtask", "zoo", ".ci", ".cargo"];
    let single = ["ARCHITECTURE.md", "CHANGELOG.md", "README.md", "Cargo.toml", "fuzz/README.md"];
    let below = below.into_iter().flat_map(files_below).filter(|file| !file.contains("/target/"));
    below.chain(single.map(str::to_owned)).collect()
}

/// Rows of the table whose head starts with these words, cell by cell.
fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let mut rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let cells = |line: &str| {
        let inner = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let table: Vec<Vec<String>> = rows.by_ref().map_while(cells).collect();
    assert!(!table.is_empty(), "no table {head}");
    let width = head.matches('|').count() - 1;
    for row in &table {
        assert_eq!(row.len(), width, "cells of the row {row:?}");
    }
    table
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

// Rooms

fn rooms_of_the_picture() -> BTreeMap<String, BTreeSet<String>> {
    let rows = table(&read("ARCHITECTURE.md"), "| room | purpose | uses |");
    let room = |row: Vec<String>| {
        let uses = quoted(&row[2]).map(str::to_owned).collect();
        (row[0].trim_matches('`').to_owned(), uses)
    };
    rows.into_iter().map(room).collect()
}

/// Our own crates that a manifest names under `[dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    section
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("stasis-"))
        .map(|rest| rest.split(['.', ' ', '=']).next().unwrap().to_owned())
        .collect()
}

#[test]
fn rooms_use_what_the_picture_says() {
    let picture = rooms_of_the_picture();
    let crates = fs::read_dir(repository().join("crates")).unwrap().map(Result::unwrap);
    let found: BTreeMap<String, BTreeSet<String>> = crates
        .map(|entry| entry.file_name().into_string().unwrap())
        .map(|room| (room.clone(), dependencies(&read(&format!("crates/{room}/Cargo.toml")))))
        .collect();
    assert_eq!(found, picture, "left: the manifests, right: the table of ARCHITECTURE.md");
}

#[test]
fn rooms_look_only_down() {
    let picture = rooms_of_the_picture();
    let mut ground: BTreeSet<&str> = BTreeSet::new();
    while ground.len() < picture.len() {
        let rests =
            |uses: &BTreeSet<String>| uses.iter().all(|room| ground.contains(room.as_str()));
        let next: Vec<&str> = picture
            .iter()
            .filter(|(room, uses)| !ground.contains(room.as_str()) && rests(uses))
            .map(|(room, _)| room.as_str())
            .collect();
        assert!(!next.is_empty(), "rooms above {ground:?} use each other in a circle");
        ground.extend(next);
    }
}

#[test]
fn pure_rooms_have_no_kernel() {
    for room in ["model", "plan", "proctext", "files", "oci", "dockerfile"] {
        let manifest = read(&format!("crates/{room}/Cargo.toml"));
        let own = manifest.split("[dev-dependencies]").next().unwrap();
        for reach in ["rustix", "nix", "libcontainer", "stasis-sys", "stasis-tracee"] {
            assert!(!own.lines().any(|line| line.starts_with(reach)), "{room} uses {reach}");
        }
    }
}

#[test]
fn a_container_does_not_know_ptrace_nor_the_command_line_the_supervisor() {
    for file in files_below("crates/container/src").iter().chain(&files_below("crates/cli/src")) {
        let code = without_comments_and_texts(&read(file));
        for word in ["ptrace", "stasis_tracee", "stasis_objects"] {
            assert!(!words(&code).any(|found| found == word), "{file} has {word}");
        }
    }
}

// Unsafe code

/// Blanks what is no code, roughly: `//` to the end of the line and texts in double quotes.
fn without_comments_and_texts(source: &str) -> String {
    let mut code = String::new();
    for line in source.lines() {
        let mut inside_text = false;
        let mut before = ' ';
        for (at, character) in line.char_indices() {
            let next = line[at..].chars().nth(1);
            match character {
                '"' if before != '\\' && before != '\'' => inside_text = !inside_text,
                '/' if !inside_text && next == Some('/') => break,
                _ if !inside_text => code.push(character),
                _ => {}
            }
            before = if before == '\\' { ' ' } else { character };
        }
        code.push('\n');
    }
    code
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_alphanumeric() && character != '_')
}

#[test]
fn comments_and_texts_are_no_code() {
    let source = "let a = \"unsafe \\\" unsafe\"; // unsafe\nlet b = '\"'; keep";
    let code = without_comments_and_texts(source);
    assert!(!words(&code).any(|word| word == "unsafe"), "{code}");
    assert!(words(&code).any(|word| word == "keep"), "{code}");
    assert!(words(&without_comments_and_texts("a { unsafe { } }")).any(|word| word == "unsafe"));
}

#[test]
fn unsafe_is_only_where_it_may_be() {
    for file in sources().iter().filter(|file| file.ends_with(".rs")) {
        let may = UNSAFE_PLACES.iter().any(|place| file.starts_with(place));
        let code = without_comments_and_texts(&read(file));
        assert!(may || !words(&code).any(|word| word == "unsafe"), "{file} has unsafe code");
    }
}

#[test]
fn every_other_room_forbids_unsafe() {
    let roots = files_below("crates").into_iter().filter(|file| {
        let is_root = file.ends_with("/src/lib.rs") || file.ends_with("/src/main.rs");
        is_root && !file.starts_with("crates/sys/")
    });
    for root in roots.chain(["xtask/src/main.rs".to_owned()]) {
        assert!(read(&root).contains("\n#![forbid(unsafe_code)]\n"), "{root} does not forbid it");
    }
    assert!(read("zoo/src/main.rs").contains("\n#![deny(unsafe_code)]\n"));
}

// Support table

/// Groups of the zoo and the programs they declare.
fn zoo() -> BTreeMap<String, BTreeSet<String>> {
    let mut groups = BTreeMap::new();
    for file in files_below("zoo/src").iter().filter(|file| file.ends_with("/mod.rs")) {
        let text = read(file);
        let Some((_, list)) = text.split_once("crate::programs! {") else { continue };
        let (head, rest) = list.split_once(';').unwrap();
        let names = rest.split_once('}').unwrap().0.split_whitespace().map(str::to_owned);
        groups.insert(head.trim().trim_matches('"').to_owned(), names.collect());
    }
    assert!(groups.len() > 5, "only {} groups in the zoo", groups.len());
    groups
}

fn support_table() -> Vec<Vec<String>> {
    const HEAD: &str = "| object | file | freeze | thaw | not kept | kernel | zoo |";
    table(&read("ARCHITECTURE.md"), HEAD)
}

#[test]
fn every_kernel_object_is_in_the_support_table() {
    let named: Vec<String> = support_table().iter().map(|row| row[1].replace('`', "")).collect();
    let rooms_own = |file: &String| file.matches('/').count() == 3;
    let files = files_below("crates/objects/src");
    for file in files.iter().filter(|file| rooms_own(file)).map(|file| &file[19..]) {
        let listed = named.iter().any(|name| name == file);
        assert_ne!(listed, NO_OBJECTS.contains(&file), "{file} in the support table: {listed}");
    }
    for name in &named {
        let in_objects = format!("crates/objects/src/{name}");
        let path = if name.contains('/') { name.as_str() } else { in_objects.as_str() };
        assert!(repository().join(path).is_file(), "the support table names {path}");
        assert_eq!(named.iter().filter(|other| *other == name).count(), 1, "rows of {name}");
    }
}

#[test]
fn programs_of_the_support_table_exist() {
    let zoo = zoo();
    let mut met: BTreeSet<&str> = BTreeSet::new();
    let rows = support_table();
    for row in &rows {
        assert!(quoted(&row[6]).next().is_some(), "no program of the zoo proves {}", row[0]);
        for program in quoted(&row[6]) {
            let (group, name) = program.split_once('/').unwrap_or((program, ""));
            let names = zoo.get(group).unwrap_or_else(|| panic!("the zoo has no group {group}"));
            assert!(name == "*" || names.contains(name), "the zoo has no program {program}");
            met.insert(group);
        }
    }
    let unmet: Vec<&String> = zoo.keys().filter(|group| !met.contains(group.as_str())).collect();
    assert!(unmet.is_empty(), "groups of the zoo that the support table does not name: {unmet:?}");
}

#[test]
fn the_zoo_declares_all_its_programs() {
    for (group, names) in zoo() {
        let files = files_below(&format!("zoo/src/{group}"));
        let own = files.iter().map(|file| Path::new(file).file_stem().unwrap().to_str().unwrap());
        let own: BTreeSet<String> = own.filter(|name| *name != "mod").map(str::to_owned).collect();
        assert_eq!(own, names, "files and declared programs of the group {group}");
    }
}

/// What the test of checkpoint and restore leaves out, the text must not hide.
#[test]
fn gaps_are_told() {
    let test = read("crates/cli/tests/process_zoo.rs");
    let gaps = test.split_once("const GAPS").unwrap().1.split_once("];").unwrap().0;
    let text = read("ARCHITECTURE.md");
    let told = text.split_once("### Known gaps").unwrap().1.split_once("\n## ").unwrap().0;
    let zoo = zoo();
    let programs = gaps.split('"').filter_map(|word| word.split("::").next());
    let is_program = |program: &&str| {
        program.split_once('/').is_some_and(|(group, name)| {
            zoo.get(group).is_some_and(|programs| programs.contains(name))
        })
    };
    for program in programs.filter(is_program) {
        assert!(quoted(told).any(|name| name == program), "{program} is no known gap of the text");
    }
}

// Texts

/// Texts are about the project and not about a machine on which it was written.
#[test]
fn texts_name_no_foreign_places() {
    let foreign = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "brief"),
        concat!("work", "tree"),
        concat!("sub", "agent"),
        concat!("lang", "uage model"),
        concat!("arti", "factory"),
    ];
    let is_text = |file: &&String| {
        let extensions = ["md", "rs", "toml", "json"];
        let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
        extension.is_none_or(|extension| extensions.contains(&extension))
    };
    for file in sources().iter().filter(is_text) {
        let Ok(text) = fs::read_to_string(repository().join(file)) else { continue };
        let text = text.to_lowercase();
        for word in foreign {
            assert!(!text.contains(word), "{file} names {word}");
        }
    }
}

#[test]
fn packages_come_from_the_public_registry() {
    let lock = read("Cargo.lock");
    for source in lock.lines().filter(|line| line.starts_with("source = ")) {
        assert!(source.contains("https://github.com/rust-lang/crates.io-index"), "{source}");
    }
}

#[test]
fn texts_lead_to_files_that_exist() {
    for file in sources().iter().filter(|file| file.ends_with(".md")) {
        let text = read(file);
        let directory = Path::new(file).parent().unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = repository().join(directory).join(link.split('#').next().unwrap());
            assert!(target.exists(), "{file} leads to {link}");
        }
        let tops = ["crates/", "zoo/src/", "xtask/", "fuzz/", "docs/"];
        let paths = quoted(&text).filter(|path| tops.iter().any(|top| path.starts_with(top)));
        for path in paths.filter(|path| !path.contains(char::is_uppercase)) {
            assert!(repository().join(path).exists(), "{file} names {path}");
        }
    }
}
