//! Files by HTTP and HTTPS from anywhere, as the `ADD` of a Dockerfile wants them.

use std::{io::Write, path::Path, time::Duration};

use jiff::Timestamp;
use reqwest::{Client, Response, Url, header::LAST_MODIFIED};

use crate::{
    certificates,
    error::{Context, Error, Result},
    failure::{Asked, Shown},
    runtime::EventLoop,
};

const USER_AGENT: &str = concat!("stasis/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes what stands at a URL; gives the time of its last change, if the server tells it.
///
/// `scratch` is a directory for certificates that this needs while it works.
///
/// # Errors
/// [`Error::Invalid`] for what is no URL, those of the connection and of the server, and
/// [`Error::Refused`] if it cannot be written.
pub fn download(url: &str, scratch: &Path, into: &mut dyn Write) -> Result<Option<Timestamp>> {
    let wrong = |reason: &dyn std::fmt::Display| Error::Invalid(format!("{url}: {reason}"));
    let parsed = Url::parse(url).map_err(|error| wrong(&error))?;
    let host = parsed.host_str().ok_or_else(|| wrong(&"it names no host"))?.to_owned();
    certificates::prepare_process(scratch)?;
    let client = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE_TIMEOUT)
        .build()
        .map_err(|error| wrong(&error))?;
    let asked = Asked { registry: &host, object: url, shown: Shown::Nothing };
    EventLoop::new()?.run(async {
        let answer = client.get(parsed).send().await.map_err(|error| asked.broken(&error))?;
        let answer = asked.check(answer).await?;
        let changed = last_change(&answer);
        copy(answer, &asked, into).await?;
        Ok(changed)
    })
}

async fn copy(mut answer: Response, asked: &Asked<'_>, into: &mut dyn Write) -> Result<()> {
    while let Some(piece) = answer.chunk().await.map_err(|error| asked.broken(&error))? {
        into.write_all(&piece).context("write", asked.object)?;
    }
    Ok(())
}

/// RFC 9110, "Last-Modified"; a server that does not keep to it tells nothing.
fn last_change(answer: &Response) -> Option<Timestamp> {
    let text = answer.headers().get(LAST_MODIFIED)?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// A server for one question.
    fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 4096];
            assert!(stream.read(&mut question).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        format!("http://{address}/file")
    }

    fn check(answer: &'static str) -> (Result<Option<Timestamp>>, String) {
        let scratch = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        let result = download(&serve(answer), scratch.path(), &mut bytes);
        (result, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn contents_and_times_come() {
        let (changed, text) = check(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\
             Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\nhello",
        );
        assert_eq!(text, "hello");
        assert_eq!(changed.unwrap().unwrap().to_string(), "2015-10-21T07:28:00Z");
    }

    #[test]
    fn what_is_not_there_or_breaks_off_is_an_error() {
        let missing = check("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").0;
        assert!(matches!(missing, Err(Error::Missing { .. })));
        assert!(check("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").0.is_err());
        assert!(download("nothing", Path::new("/nowhere"), &mut Vec::new()).is_err());
    }
}
