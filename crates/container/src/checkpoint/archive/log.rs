//! Logs in Podman's `k8s-file` form: `TIME STREAM F|P TEXT`, where `P` says that the line goes on.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use jiff::Timestamp;

use crate::{
    error::{Context, Result},
    log::{Entry, Reader, Stream},
};

/// A longer line is no log.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The log at `path` in Podman's form, in a file without a name; `None` if nothing was ever logged.
/// What follows after `len_bytes` came later.
///
/// # Errors
/// [`crate::Error::Refused`] by the file system.
pub(super) fn to_podman(path: &Path, len_bytes: Option<u64>) -> Result<Option<File>> {
    let Some(mut reader) = Reader::open_up_to(path, len_bytes.unwrap_or(u64::MAX))? else {
        return Ok(None);
    };
    let dir = path.parent().unwrap_or(Path::new("/"));
    let file = tempfile::tempfile_in(dir).context("make a file in", dir.display())?;
    let mut out = BufWriter::new(file);
    while let Some(entry) = reader.next_entry().context("read", path.display())? {
        write(&mut out, &entry).context("write", "the log")?;
    }
    let file = out.into_inner().map_err(|error| error.into_error()).context("write", "the log")?;
    Ok(Some(file))
}

fn write(out: &mut dyn Write, entry: &Entry) -> std::io::Result<()> {
    let stream = match entry.stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let (tag, text) = match entry.log.strip_suffix('\n') {
        Some(text) => ("F", text),
        None => ("P", entry.log.as_str()),
    };
    writeln!(out, "{} {stream} {tag} {text}", entry.time)
}

/// Begins a log with the first `len_bytes` of another one; one that is not there gives nothing.
///
/// # Errors
/// [`crate::Error::Refused`] by the file system.
pub(crate) fn copy(from: &Path, to: &Path, len_bytes: u64) -> Result<()> {
    let input = match File::open(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.context("open", from.display())?,
    };
    let mut out = create(to)?;
    std::io::copy(&mut input.take(len_bytes), &mut out).context("write", to.display())?;
    Ok(())
}

fn create(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).context("create", path.display())
}

/// Turns a log of Podman's form into one of ours; what is no line of a log is passed over.
///
/// # Errors
/// [`crate::Error::Refused`] by the file system.
pub(crate) fn from_podman(from: &Path, to: &Path) -> Result<()> {
    let input = File::open(from).context("open", from.display())?;
    let mut out = BufWriter::new(create(to)?);
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut input).take(MAX_LINE_BYTES);
        if bounded.read_until(b'\n', &mut line).context("read", from.display())? == 0 {
            break;
        }
        if let Some(entry) = parse(&String::from_utf8_lossy(&line)) {
            serde_json::to_writer(&mut out, &entry)
                .map_err(std::io::Error::from)
                .and_then(|()| out.write_all(b"\n"))
                .context("write", to.display())?;
        }
    }
    out.flush().context("write", to.display())
}

fn parse(line: &str) -> Option<Entry> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let mut words = line.splitn(4, ' ');
    let time: Timestamp = words.next()?.parse().ok()?;
    let stream = match words.next()? {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    let end = match words.next()? {
        "F" => "\n",
        "P" => "",
        _ => return None,
    };
    Some(Entry { log: format!("{}{end}", words.next().unwrap_or_default()), stream, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_podman_come_through() {
        let line = "2026-11-20T18:59:55.790857673+00:00 stdout F one two\n";
        let entry = parse(line).unwrap();
        assert_eq!((entry.log.as_str(), entry.stream), ("one two\n", Stream::Stdout));
        let mut out = Vec::new();
        write(&mut out, &entry).unwrap();
        assert_eq!(out, b"2026-11-20T18:59:55.790857673Z stdout F one two\n");
        assert_eq!(parse("2026-11-20T18:59:55Z stderr P part").unwrap().log, "part");
        assert!(parse("nonsense").is_none() && parse("").is_none());
    }
}
