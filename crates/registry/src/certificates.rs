//! Whose signature below a registry's certificate is believed.
//!
//! Those whom the machine believes (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or where distributions keep
//! them), on a machine without any those that browsers believe, and for a registry of one's own the
//! files `*.crt` in `/etc/containers/certs.d/HOST:PORT` (containers-certs.d(5)) and
//! `/etc/docker/certs.d/HOST:PORT`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Once,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    error::{Context, Error, Result},
    server::Server,
};

const PLACES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Certificates of those who may sign for this registry besides the usual ones.
///
/// `directory` stands in for the usual places, as `--cert-dir` has it.
///
/// # Errors
/// [`Error::Damaged`] if a file holds no certificate, [`Error::Refused`] by the kernel.
pub fn signers_of(
    server: &Server,
    directory: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>> {
    let usual = || PLACES.iter().map(|place| Path::new(place).join(server.name()));
    let directories: Vec<PathBuf> = directory.map_or_else(|| usual().collect(), |d| vec![d.into()]);
    let mut signers = Vec::new();
    for file in directories.iter().flat_map(|directory| certificate_files(directory)) {
        let text = fs::read(&file).context("read", file.display())?;
        let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(found) if !found.is_empty() => signers.extend(found),
            Ok(_) => return Err(damaged(&file, "it holds no certificate")),
            Err(error) => return Err(damaged(&file, error)),
        }
    }
    Ok(signers)
}

/// Sees to it that there is somebody to believe, and that TLS has its arithmetic.
///
/// Both are matters of the whole process, and done once. On a machine without certificates the
/// ones that are built in are written to a file that `SSL_CERT_FILE` names, since that is the only
/// way to hand them to all connections.
///
/// # Errors
/// [`Error::Refused`] if that file cannot be written.
pub fn prepare_process(scratch: &Path) -> Result<()> {
    static PROVIDER: Once = Once::new();
    // Fails only if somebody else has installed one, which is as good.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    if !rustls_native_certs::load_native_certs().certs.is_empty() {
        return Ok(());
    }
    let path = scratch.join("built-in-certificates.pem");
    write_whole(&path, built_in_signers().as_bytes()).context("write", path.display())?;
    stasis_sys::environment::set("SSL_CERT_FILE", &path).context("set", "SSL_CERT_FILE")
}

/// Others may read it at this moment: they see the old file or the new one.
fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut beside = tempfile::NamedTempFile::new_in(directory)?;
    beside.write_all(content)?;
    beside.persist(path)?;
    Ok(())
}

fn certificate_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "crt")).collect();
    files.sort();
    files
}

/// The certificates that are built in, as PEM (RFC 7468).
fn built_in_signers() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text += "-----BEGIN CERTIFICATE-----\n";
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            text += std::str::from_utf8(line).expect("base64 is ASCII");
            text.push('\n');
        }
        text += "-----END CERTIFICATE-----\n";
    }
    text
}

fn damaged(path: &Path, reason: impl ToString) -> Error {
    Error::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_can_be_read_again() {
        let text = built_in_signers();
        let read = CertificateDer::pem_slice_iter(text.as_bytes()).map(|found| found.unwrap());
        assert!(read.eq(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned()));
    }

    #[test]
    fn only_certificates_of_the_directory_count() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::parse("r.example").unwrap();
        fs::write(dir.path().join("notes.txt"), "x").unwrap();
        assert!(signers_of(&server, Some(dir.path())).unwrap().is_empty());
        fs::write(dir.path().join("ca.crt"), built_in_signers()).unwrap();
        let signers = signers_of(&server, Some(dir.path())).unwrap();
        assert_eq!(signers.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        fs::write(dir.path().join("other.crt"), "no certificate").unwrap();
        assert!(signers_of(&server, Some(dir.path())).is_err());
    }
}
