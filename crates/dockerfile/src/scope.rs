//! The values of variables: `ARG` of the file, of the stage and of the caller, and `ENV`.

use std::{collections::BTreeMap, fmt};

use crate::instruction::{ArgDeclaration, Pair};

/// Arguments that a `RUN` may see without any `ARG`, and that no cache and no history knows.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// A platform as its parts; `linux/arm64/v8` has all three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: String,
}

/// The values before the first stage: those of the platforms, and of `ARG` there.
#[derive(Clone, Debug)]
pub struct Globals {
    /// By the caller: `--build-arg`.
    given: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
}

/// What variables stand for at one place of a stage.
#[derive(Clone, Debug)]
pub struct Scope {
    globals: Globals,
    args: Vec<(String, Option<String>)>,
    env: Vec<(String, String)>,
}

impl Globals {
    /// `build` is this machine, `target` what the image is for.
    pub fn new(given: BTreeMap<String, String>, build: &Platform, target: &Platform) -> Globals {
        let mut values = BTreeMap::new();
        for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
            values.insert(format!("{prefix}PLATFORM"), platform.to_string());
            values.insert(format!("{prefix}OS"), platform.os.clone());
            values.insert(format!("{prefix}ARCH"), platform.architecture.clone());
            values.insert(format!("{prefix}VARIANT"), platform.variant.clone());
        }
        Globals { given, values }
    }

    pub fn value(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    pub(crate) fn declare(&mut self, arg: &ArgDeclaration) {
        if let Some(value) = self.value_of(arg) {
            self.values.insert(arg.name.clone(), value);
        }
    }

    /// The scope at the beginning of a stage: arguments must be declared again to be seen in it.
    pub fn stage(&self, env: Vec<(String, String)>) -> Scope {
        Scope { globals: self.clone(), args: Vec::new(), env }
    }

    /// The caller's value, or the default, or the value from before the first stage.
    fn value_of(&self, arg: &ArgDeclaration) -> Option<String> {
        let given = self.given.get(&arg.name).or(arg.default.as_ref());
        given.or_else(|| self.values.get(&arg.name)).cloned()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl Scope {
    /// `ARG`
    pub fn declare(&mut self, arg: &ArgDeclaration) {
        let value = self.globals.value_of(arg);
        match self.args.iter_mut().find(|(name, _)| *name == arg.name) {
            Some((_, known)) => *known = value,
            None => self.args.push((arg.name.clone(), value)),
        }
    }

    /// `ENV`: from here on, above every argument of that name.
    pub fn set(&mut self, pairs: &[Pair]) {
        for Pair { key, value } in pairs {
            match self.env.iter_mut().find(|(name, _)| name == key) {
                Some((_, known)) => known.clone_from(value),
                None => self.env.push((key.clone(), value.clone())),
            }
        }
    }

    /// The value of a variable here; `ENV` stands above `ARG`.
    pub fn value(&self, name: &str) -> Option<String> {
        let env = self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        env.or_else(|| self.args.iter().find(|(key, _)| key == name)?.1.clone())
    }

    /// All of `ENV`, in the order in which they were first set.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// The arguments that a `RUN` sees as variables: those with a value, and no `ENV` above them.
    pub fn run_args(&self) -> Vec<(String, String)> {
        let is_env = |name: &str| self.env.iter().any(|(key, _)| key == name);
        self.args
            .iter()
            .filter(|(name, _)| !is_env(name))
            .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
            .collect()
    }

    /// The caller's proxies, which every `RUN` sees.
    pub fn proxies(&self) -> Vec<(String, String)> {
        self.globals
            .given
            .iter()
            .filter(|(name, _)| is_proxy(name) && self.value(name).is_none())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

fn is_proxy(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let is_one_case = name == upper || name == name.to_ascii_lowercase();
    is_one_case && PROXIES.contains(&upper.as_str())
}
