//! A conversation with a registry about one repository: found, authorized, asked.
//!
//! `oci-client` moves the blobs. Small documents we fetch ourselves, since it reads answers of any
//! size into memory and asks for tokens of one repository only, with passwords only.

use std::{path::PathBuf, sync::Mutex};

use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use stasis_oci::{Digest, Document, MAX_DOCUMENT_BYTES, Reference, Repository, Tag, media_type};

use crate::{
    authorization::Authorization,
    blobs::Blobs,
    body, certificates,
    challenge::Challenge,
    credentials::Credentials,
    error::{Error, Result},
    failure::{Asked, Shown},
    keyring::Keyring,
    server::{Scope, Server},
    transport::{Direction, TlsCheck, Transport},
};

/// The documents that we understand, for the header `Accept`.
const DOCUMENTS: [&str; 4] = [
    media_type::OCI_MANIFEST,
    media_type::OCI_INDEX,
    media_type::DOCKER_MANIFEST,
    media_type::DOCKER_LIST,
];
const DIGEST_HEADER: &str = "docker-content-digest";
const TAGS_LIMIT_BYTES: u64 = 4 << 20;
const TAGS_PER_PAGE: usize = 1000;
const MAX_TAGS: usize = 100_000;

/// How registries are reached, and as whom.
#[derive(Clone, Debug)]
pub struct Access {
    pub tls: TlsCheck,
    /// Stands in for the usual directories of certificates.
    pub certificates: Option<PathBuf>,
    /// Stand in for those of the keyring.
    pub credentials: Option<Credentials>,
    pub keyring: Keyring,
    /// Where files may be put that the next boot may remove.
    pub scratch: PathBuf,
}

/// What a conversation is for; a token is asked for exactly this.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    Pull,
    /// Blobs may be taken over from these repositories.
    Push {
        from: &'a [Repository],
    },
}

/// A conversation about one repository.
pub struct Session {
    repository: Repository,
    transport: Transport,
    credentials: Option<Credentials>,
    scopes: Vec<String>,
    authorization: Mutex<Authorization>,
    blobs: Blobs,
}

/// A manifest or index as it came, with the digest of its bytes.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub bytes: Vec<u8>,
    pub digest: Digest,
    pub document: Document,
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Session {
    /// Finds the registry and answers its challenge.
    ///
    /// # Errors
    /// Those of the connection, of the credentials' files and helpers, and
    /// [`Error::CredentialsWanted`] or [`Error::CredentialsRefused`].
    pub async fn open(
        repository: &Repository,
        access: &Access,
        purpose: Purpose<'_>,
    ) -> Result<Session> {
        let server = Server::parse(repository.registry())?;
        certificates::prepare_process(&access.scratch)?;
        let credentials = match &access.credentials {
            Some(credentials) => Some(credentials.clone()),
            None => access.keyring.find(&Scope::repository(&server, repository.path()))?,
        };
        let (transport, answer) =
            Transport::find(&server, access.tls, access.certificates.as_deref()).await?;
        let direction = match purpose {
            Purpose::Pull => Direction::Download,
            Purpose::Push { .. } => Direction::Upload,
        };
        let blobs = Blobs::new(
            transport.blob_client(direction)?,
            repository,
            Shown::of(credentials.as_ref()),
        );
        let session = Session {
            repository: repository.clone(),
            transport,
            credentials,
            scopes: scopes(repository, purpose),
            authorization: Mutex::new(Authorization::Nothing),
            blobs,
        };
        session.greet(answer).await?;
        Ok(session)
    }

    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Fetches a manifest or index by tag or digest, and checks its digest.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::TooLarge`], [`Error::WrongDigest`],
    /// [`Error::Unexpected`] for a document that is none; those of the connection.
    pub async fn document(&self, name: &Name) -> Result<Fetched> {
        let object = format!("the manifest {}", name.shown(&self.repository));
        let asked = self.asked(&object);
        let path = format!("{}/manifests/{}", self.repository.path(), name.word());
        let question = || {
            let question = self.transport.http().get(self.transport.url(&path));
            question.header(header::ACCEPT, DOCUMENTS.join(", "))
        };
        let answer = match self.ask(question, &asked).await {
            Err(Error::Missing { .. }) => {
                return Err(Error::ManifestUnknown { reference: name.shown(&self.repository) });
            }
            answer => answer?,
        };
        let promised = answer.headers().get(DIGEST_HEADER).and_then(|value| value.to_str().ok());
        let promised = promised.and_then(|text| text.parse::<Digest>().ok());
        let bytes = body::read(answer, &asked, MAX_DOCUMENT_BYTES as u64).await?;
        let digest = Digest::of(&bytes);
        let expected = match name {
            Name::Digest(expected) => Some(*expected),
            Name::Tag(_) => promised,
        };
        if expected.is_some_and(|expected| expected != digest) {
            return Err(asked.wrong_digest(&digest));
        }
        let document = Document::parse(&bytes).map_err(|error| asked.unexpected(error))?;
        Ok(Fetched { bytes, digest, document })
    }

    /// Gives a manifest a name in the repository.
    ///
    /// # Errors
    /// Those of the connection and of the registry.
    pub async fn put_document(&self, name: &Name, media_type: &str, bytes: &[u8]) -> Result<()> {
        let object = format!("the manifest {}", name.shown(&self.repository));
        let path = format!("{}/manifests/{}", self.repository.path(), name.word());
        let question = || {
            let question = self.transport.http().put(self.transport.url(&path));
            question.header(header::CONTENT_TYPE, media_type).body(bytes.to_vec())
        };
        self.ask(question, &self.asked(&object)).await.map(drop)
    }

    /// All tags of the repository.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is no end; [`Error::Missing`] if there is no such repository;
    /// those of the connection.
    pub async fn tags(&self) -> Result<Vec<Tag>> {
        let object = format!("the list of tags of {}", self.repository.familiar());
        let asked = self.asked(&object);
        let path = format!("{}/tags/list", self.repository.path());
        let mut tags: Vec<String> = Vec::new();
        loop {
            let question = || {
                let question = self.transport.http().get(self.transport.url(&path));
                let question = question.query(&[("n", TAGS_PER_PAGE)]);
                question.query(&tags.last().map(|last| [("last", last)]))
            };
            let answer = self.ask(question, &asked).await?;
            let has_more = answer.headers().contains_key(header::LINK);
            let page: TagList = body::read_json(answer, &asked, TAGS_LIMIT_BYTES).await?;
            let page = page.tags.unwrap_or_default();
            let is_end = page.is_empty() || !has_more;
            tags.extend(page);
            if tags.len() > MAX_TAGS {
                return Err(asked.unexpected(format!("more than {MAX_TAGS} tags")));
            }
            if is_end {
                let parsed = tags.iter().map(|tag| tag.parse());
                return parsed
                    .map(|tag| tag.map_err(|error: stasis_oci::Error| asked.unexpected(error)))
                    .collect();
            }
        }
    }

    /// Does something with blobs, and once more if what we showed has become too old meanwhile.
    ///
    /// # Errors
    /// Those of the act.
    pub async fn authorized<T>(&self, mut act: impl AsyncFnMut(&Blobs) -> Result<T>) -> Result<T> {
        match act(&self.blobs).await {
            Err(error) if error.is_unauthorized() => {
                let question = self.transport.http().get(self.transport.url(""));
                let asked = self.asked("the interface");
                let answer = question.send().await.map_err(|error| asked.broken(&error))?;
                self.greet(answer).await?;
                act(&self.blobs).await
            }
            other => other,
        }
    }

    /// Answers the challenge in the answer to a question that bore no name, if there is one.
    async fn greet(&self, answer: Response) -> Result<()> {
        let asked = self.asked("the interface");
        if answer.status() == StatusCode::UNAUTHORIZED {
            return self.answer_challenge(&answer, &asked).await;
        }
        // Some registries have no answer here and are in good health all the same.
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        asked.check(answer).await.map(drop)
    }

    async fn answer_challenge(&self, answer: &Response, asked: &Asked<'_>) -> Result<()> {
        let challenge = Challenge::of(answer.headers()).ok_or_else(|| asked.unauthorized())?;
        let credentials = self.credentials.as_ref();
        let new =
            Authorization::obtain(&self.transport, &challenge, credentials, &self.scopes).await?;
        self.blobs.authorize(&new).await;
        *self.authorization.lock().expect("nobody panics while holding it") = new;
        Ok(())
    }

    /// Asks, and once more with a new authorization if the old one is refused.
    async fn ask(
        &self,
        question: impl Fn() -> RequestBuilder,
        asked: &Asked<'_>,
    ) -> Result<Response> {
        let answer = self.ask_once(question(), asked).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return asked.check(answer).await;
        }
        self.answer_challenge(&answer, asked).await?;
        asked.check(self.ask_once(question(), asked).await?).await
    }

    async fn ask_once(&self, question: RequestBuilder, asked: &Asked<'_>) -> Result<Response> {
        let authorization =
            self.authorization.lock().expect("nobody panics while holding it").clone();
        let answer = authorization.apply(question).send().await;
        answer.map_err(|error| asked.broken(&error))
    }

    /// A question in this conversation, for errors about it.
    pub fn asked<'a>(&'a self, object: &'a str) -> Asked<'a> {
        let shown = Shown::of(self.credentials.as_ref());
        Asked { registry: self.repository.registry(), object, shown }
    }
}

/// By what a manifest is asked for.
#[derive(Clone, Debug)]
pub enum Name {
    Tag(Tag),
    Digest(Digest),
}

impl Name {
    /// A digest is more exact than a tag.
    pub fn of(reference: &Reference) -> Name {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Name::Digest(*digest),
            (None, tag) => Name::Tag(tag.cloned().unwrap_or_else(Tag::latest)),
        }
    }

    fn word(&self) -> String {
        match self {
            Name::Tag(tag) => tag.to_string(),
            Name::Digest(digest) => digest.to_string(),
        }
    }

    fn shown(&self, repository: &Repository) -> String {
        match self {
            Name::Tag(tag) => format!("{}:{tag}", repository.familiar()),
            Name::Digest(digest) => format!("{}@{digest}", repository.familiar()),
        }
    }
}

/// In the words of the token authentication specification ("Resource Scope").
fn scopes(repository: &Repository, purpose: Purpose<'_>) -> Vec<String> {
    let scope =
        |repository: &Repository, actions| format!("repository:{}:{actions}", repository.path());
    match purpose {
        Purpose::Pull => vec![scope(repository, "pull")],
        Purpose::Push { from } => {
            let others = from.iter().map(|from| scope(from, "pull"));
            std::iter::once(scope(repository, "pull,push")).chain(others).collect()
        }
    }
}
