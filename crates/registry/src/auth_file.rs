//! A file with credentials, as Docker (`config.json`) and Podman (`auth.json`) write it.
//!
//! Only `auths`, `credsStore` and `credHelpers` concern us; all else in the file is kept as it is.

use std::{
    fs::{self, File, Permissions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::fs::FlockOperation;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    credential_helper::Helper,
    credentials::Credentials,
    error::{Context, Error, Result},
    server::{Scope, Server},
};

/// No honest file is larger.
const LIMIT_BYTES: u64 = 1 << 20;

/// The content of one file.
#[derive(Debug)]
pub struct AuthFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl AuthFile {
    /// Reads a file; one that is missing or empty is the same as one without entries.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is no JSON object or too large, [`Error::Refused`] by the kernel.
    pub fn read(path: &Path) -> Result<AuthFile> {
        let content = read_bounded(path)?;
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let content = match content.trim_ascii() {
            b"" => Map::new(),
            text => serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?,
        };
        Ok(AuthFile { path: path.to_owned(), content })
    }

    /// The helper that keeps the credentials of a registry, if one does.
    pub fn helper(&self, server: &Server) -> Result<Option<Helper>> {
        let own = self.section("credHelpers").find(|(key, _)| means(key, server));
        let own = own.and_then(|(_, name)| name.as_str());
        let general = self.content.get("credsStore").and_then(Value::as_str);
        let name = own.or(general).filter(|name| !name.is_empty());
        name.map(Helper::named).transpose()
    }

    /// The credentials that stand in the file itself.
    pub fn credentials(&self, scope: &Scope) -> Result<Option<Credentials>> {
        let named = |name: &String| {
            let mut entries = self.section("auths");
            entries.find(|(key, _)| *key == name).map(|(_, entry)| entry)
        };
        let of_server = || {
            let mut entries = self.section("auths");
            entries.find(|(key, _)| means(key, scope.server())).map(|(_, entry)| entry)
        };
        let Some(entry) = scope.names().iter().find_map(named).or_else(of_server) else {
            return Ok(None);
        };
        decode(entry).map_err(|reason| Error::Damaged { path: self.path.clone(), reason })
    }

    /// Whether there is an entry for a registry, be it an empty one.
    pub fn has(&self, server: &Server) -> bool {
        self.section("auths").any(|(key, _)| means(key, server))
    }

    /// The registries that have an entry.
    pub fn servers(&self) -> Vec<Server> {
        let parsed = self.section("auths").map(|(key, _)| Server::parse(key));
        parsed.filter_map(Result::ok).collect()
    }

    /// Replaces the entry of a registry.
    pub fn set(&mut self, server: &Server, credentials: &Credentials) {
        self.remove(server);
        self.auths().insert(server.key().to_owned(), encode(credentials));
    }

    /// Notes that a helper has the credentials of a registry, as Docker does.
    pub fn note_helped(&mut self, server: &Server) {
        self.remove(server);
        self.auths().insert(server.key().to_owned(), json!({}));
    }

    /// Removes the entries of a registry, under all its names.
    pub fn remove(&mut self, server: &Server) {
        self.auths().retain(|key, _| !means(key, server));
    }

    fn section(&self, name: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.content.get(name).and_then(Value::as_object).into_iter().flatten()
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths.as_object_mut().expect("it was made an object above")
    }

    /// Written beside, synced, renamed; readable by the owner only.
    fn write(&self) -> Result<()> {
        // A link that somebody made to keep the file elsewhere stays a link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = directory_of(&path);
        let object = path.display();
        let mut beside = tempfile::NamedTempFile::new_in(directory).context("write", &object)?;
        beside
            .as_file()
            .set_permissions(Permissions::from_mode(0o600))
            .context("write", &object)?;
        beside.write_all(&pretty(&self.content)).context("write", &object)?;
        beside.as_file().sync_all().context("write", &object)?;
        beside.persist(&path).map_err(|error| error.error).context("write", &object)?;
        File::open(directory).and_then(|directory| directory.sync_all()).context("write", &object)
    }
}

/// Changes a file; who changes it at the same time waits.
///
/// # Errors
/// As [`AuthFile::read`], and those of writing.
pub fn change(path: &Path, act: impl FnOnce(&mut AuthFile)) -> Result<()> {
    let directory = directory_of(path);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).context("make", directory.display())?;
    let lock = File::open(directory).context("open", directory.display())?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock", directory.display())?;
    let mut file = AuthFile::read(path)?;
    act(&mut file);
    file.write()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).context("open", path.display()),
    };
    let mut content = Vec::new();
    file.take(LIMIT_BYTES + 1).read_to_end(&mut content).context("read", path.display())?;
    if content.len() as u64 > LIMIT_BYTES {
        let reason = format!("it is larger than {LIMIT_BYTES} bytes");
        return Err(Error::Damaged { path: path.to_owned(), reason });
    }
    Ok(content)
}

/// Whether an entry is that of a whole registry, under any of its names.
fn means(key: &str, server: &Server) -> bool {
    let path = key.split_once("://").map_or(key, |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    // `https://HOST/v1/` is Docker's old way to say HOST; any other path is a part of it.
    matches!(path, "" | "v1" | "v2") && Server::parse(key).is_ok_and(|found| found == *server)
}

/// Takes an entry apart; `None` if it is empty because a helper has the credentials.
fn decode(entry: &Value) -> std::result::Result<Option<Credentials>, String> {
    let text = |name: &str| {
        let text = entry.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::IdentityToken(token)));
    }
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credentials::RegistryToken(token)));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some(Credentials::Password { user, password }));
    }
    let Some(encoded) = text("auth") else { return Ok(None) };
    let decoded = STANDARD.decode(encoded).map_err(|error| format!("an entry: {error}"))?;
    let decoded = String::from_utf8(decoded).map_err(|_| "an entry is no text".to_owned())?;
    // Docker once padded passwords with zero bytes.
    let decoded = decoded.trim_end_matches('\0');
    let (user, password) = decoded.split_once(':').ok_or("an entry has no colon")?;
    Ok(Some(Credentials::Password { user: user.into(), password: password.into() }))
}

fn encode(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::Password { user, password } => {
            json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
        }
        Credentials::IdentityToken(token) => json!({ "identitytoken": token }),
        Credentials::RegistryToken(token) => json!({ "registrytoken": token }),
    }
}

/// Indented by tabs, as Docker writes it.
fn pretty(content: &Map<String, Value>) -> Vec<u8> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    content.serialize(&mut serializer).expect("a map of texts becomes JSON");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: Value) -> AuthFile {
        AuthFile { path: "test".into(), content: content.as_object().unwrap().clone() }
    }

    fn server(name: &str) -> Server {
        Server::parse(name).unwrap()
    }

    fn password(user: &str, password: &str) -> Credentials {
        Credentials::Password { user: user.into(), password: password.into() }
    }

    fn find(file: &AuthFile, name: &str, repository: &str) -> Option<Credentials> {
        file.credentials(&Scope::repository(&server(name), repository)).unwrap()
    }

    #[test]
    fn entries_of_docker_are_found_under_all_names() {
        let entry = json!({ "auth": STANDARD.encode("me:se:cret") });
        for key in
            ["r.example", "https://r.example", "https://r.example/v1/", "http://r.example/v2/"]
        {
            let found = find(&file(json!({ "auths": { key: entry } })), "r.example", "a");
            assert_eq!(found, Some(password("me", "se:cret")), "{key}");
        }
        let hub = file(json!({ "auths": { "https://index.docker.io/v1/": entry } }));
        assert_eq!(find(&hub, "docker.io", "library/a"), Some(password("me", "se:cret")));
        assert_eq!(find(&hub, "r.example", "a"), None);
    }

    #[test]
    fn the_narrowest_entry_wins() {
        let entry = |user: &str| json!({ "auth": STANDARD.encode(format!("{user}:x")) });
        let file = file(json!({ "auths": {
            "r.example": entry("all"), "r.example/a": entry("part"), "r.example/a/b": entry("one"),
        }}));
        assert_eq!(find(&file, "r.example", "a/b"), Some(password("one", "x")));
        assert_eq!(find(&file, "r.example", "a/c"), Some(password("part", "x")));
        assert_eq!(find(&file, "r.example", "d"), Some(password("all", "x")));
    }

    #[test]
    fn tokens_and_empty_entries() {
        let file = file(json!({ "auths": {
            "i.example": { "identitytoken": "i" }, "t.example": { "registrytoken": "t" }, "e.example": {},
        }}));
        assert_eq!(find(&file, "i.example", "a"), Some(Credentials::IdentityToken("i".into())));
        assert_eq!(find(&file, "t.example", "a"), Some(Credentials::RegistryToken("t".into())));
        assert_eq!(find(&file, "e.example", "a"), None);
        assert!(file.has(&server("e.example")));
    }

    #[test]
    fn damaged_entries_are_told() {
        for auth in ["%%%", &STANDARD.encode("no colon"), &STANDARD.encode([0xff, b':'])] {
            let file = file(json!({ "auths": { "r.example": { "auth": auth } } }));
            assert!(file.credentials(&Scope::server_wide(&server("r.example"))).is_err(), "{auth}");
        }
    }

    #[test]
    fn what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.json");
        change(&path, |file| file.set(&server("r.example"), &password("me", "x"))).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, r#"{"HttpHeaders":{"a":"b"},"auths":{"o.example":{"auth":"bzp4"}}}"#)
            .unwrap();
        change(&path, |file| file.set(&server("r.example"), &password("me", "x"))).unwrap();
        let file = AuthFile::read(&path).unwrap();
        assert_eq!(file.content["HttpHeaders"], json!({ "a": "b" }));
        assert_eq!(find(&file, "o.example", "a"), Some(password("o", "x")));
        assert_eq!(find(&file, "r.example", "a"), Some(password("me", "x")));
        change(&path, |file| file.remove(&server("r.example"))).unwrap();
        assert_eq!(AuthFile::read(&path).unwrap().servers(), [server("o.example")]);
    }

    #[test]
    fn a_link_to_the_file_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.json"), dir.path().join("config.json"));
        fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        change(&link, |file| file.set(&server("r.example"), &password("me", "x"))).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(AuthFile::read(&real).unwrap().has(&server("r.example")));
    }

    #[test]
    fn no_file_is_no_entry_and_a_large_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert!(AuthFile::read(&path).unwrap().servers().is_empty());
        File::create(&path).unwrap().set_len(LIMIT_BYTES + 1).unwrap();
        assert!(matches!(AuthFile::read(&path), Err(Error::Damaged { .. })));
    }

    #[test]
    fn a_registrys_own_helper_comes_before_the_general_one() {
        let file = file(json!({ "credsStore": "all", "credHelpers": { "r.example": "own" } }));
        let helper = |name| file.helper(&server(name)).unwrap().unwrap();
        assert_eq!(helper("r.example"), Helper::named("own").unwrap());
        assert_eq!(helper("o.example"), Helper::named("all").unwrap());
    }
}
