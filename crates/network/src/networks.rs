//! The networks of an engine on disk, and who is in them.
//!
//! One file per network, `networks/NAME.json`, and one for all leases. Readers look at them as they
//! are; whoever changes something holds the lock and has a [`crate::Ledger`].

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use stasis_record::Lock;

use crate::{
    error::{Context, Error, Result},
    lease::{Book, Lease, Tenancy},
    network::Network,
};

/// Where the networks of an engine lie.
#[derive(Clone, Debug)]
pub struct Networks {
    dir: PathBuf,
    /// Name of our table in the packet filter: engines do not share one.
    table: String,
}

impl Networks {
    /// Those of the engine with this root directory.
    pub fn new(root: &Path) -> Networks {
        Networks { dir: root.join("networks"), table: table_of(root) }
    }

    /// All networks by name.
    ///
    /// # Errors
    /// [`Error::Record`] if one of them is damaged.
    pub fn list(&self) -> Result<Vec<Network>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("read", self.dir.display()),
        };
        let mut paths: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_record(path)).collect();
        paths.sort();
        let mut networks = Vec::new();
        for path in paths {
            networks.push(stasis_record::read(&path)?);
        }
        Ok(networks)
    }

    /// Finds a network by its name, its id, or the beginning of its id.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`], or [`Error::Invalid`] if it fits several.
    pub fn find(&self, key: &str) -> Result<Network> {
        find(self.list()?, key)
    }

    /// All leases as they are written down.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub fn leases(&self) -> Result<Vec<Lease>> {
        Ok(self.read_book()?.leases)
    }

    /// Is there anything in the book about a container?
    ///
    /// # Errors
    /// [`Error::Record`].
    pub fn knows(&self, id: &str) -> Result<bool> {
        let book = self.read_book()?;
        Ok(book.of_owner(id).next().is_some()
            || book.resting.iter().any(|resting| resting.owner == id))
    }

    /// Is something left of containers that do not run? Asked without the lock, and of everybody
    /// who comes by: it costs one file.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub fn needs_sweep(&self, tenancy: impl Fn(&str) -> Tenancy) -> Result<bool> {
        Ok(self.leases()?.iter().any(|lease| match tenancy(&lease.owner.id) {
            Tenancy::Up => false,
            Tenancy::Down => lease.is_plugged(),
            Tenancy::Gone => true,
        }))
    }

    /// Waits until nobody else changes anything.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub(crate) fn take_lock(&self) -> Result<Lock> {
        stasis_record::make_private_dir(&self.dir)?;
        Ok(Lock::take(&self.dir.join(".lock"))?)
    }

    pub(crate) fn read_book(&self) -> Result<Book> {
        match stasis_record::read(&self.book_path()) {
            Err(stasis_record::Error::Refused { source, .. })
                if source.kind() == ErrorKind::NotFound =>
            {
                Ok(Book::default())
            }
            other => Ok(other?),
        }
    }

    pub(crate) fn write_book(&self, book: &Book) -> Result<()> {
        Ok(stasis_record::write(&self.book_path(), book)?)
    }

    pub(crate) fn write_network(&self, network: &Network) -> Result<()> {
        Ok(stasis_record::write(&self.network_path(&network.name), network)?)
    }

    pub(crate) fn remove_network(&self, name: &str) -> Result<()> {
        fs::remove_file(self.network_path(name)).context("remove network", name)?;
        Ok(stasis_record::sync_dir(&self.dir)?)
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    fn network_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    fn book_path(&self) -> PathBuf {
        self.dir.join(".leases.json")
    }
}

/// Files that begin with a dot are ours, but no networks.
fn is_record(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    !name.starts_with(b".") && name.ends_with(b".json")
}

/// Finds a network among others.
pub(crate) fn find(mut networks: Vec<Network>, key: &str) -> Result<Network> {
    if let Some(at) = networks.iter().position(|network| network.name == key) {
        return Ok(networks.swap_remove(at));
    }
    networks.retain(|network| !key.is_empty() && network.id.starts_with(key));
    match networks.len() {
        0 => Err(Error::NoSuchNetwork(key.to_owned())),
        1 => Ok(networks.swap_remove(0)),
        _ => Err(Error::invalid(format!("{key:?} fits more than one network"))),
    }
}

/// The engine at the usual place has the plain name.
fn table_of(root: &Path) -> String {
    const USUAL: &str = "/var/lib/stasis";
    if root == Path::new(USUAL) {
        return "stasis".into();
    }
    format!("stasis-{:08x}", fnv(root.as_os_str().as_encoded_bytes()))
}

/// FNV-1a: short and the same for ever. Nobody gains by a collision in his own root directory's name.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_engines_differ() {
        assert_eq!(table_of(Path::new("/var/lib/stasis")), "stasis");
        assert_ne!(table_of(Path::new("/a")), table_of(Path::new("/b")));
    }
}
