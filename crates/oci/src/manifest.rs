//! Manifests and indexes, OCI's and Docker's (image manifest version 2, schema 2), in one type each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

use crate::{
    MAX_LAYERS, check_size,
    descriptor::{Descriptor, media_type},
    error::{Error, Result},
    platform::Platform,
};

const MAX_MANIFESTS_IN_INDEX: usize = 4096;

/// In whose words a manifest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    Oci,
    Docker,
}

/// One image: its configuration and its layers, the lowest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(
        default,
        deserialize_with = "crate::null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields that we do not know, as they came.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Several manifests of one name, for different platforms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    pub manifests: Vec<Descriptor>,
    #[serde(
        default,
        deserialize_with = "crate::null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields that we do not know, as they came.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// What a name in a registry or an archive leads to.
#[derive(Clone, Debug, PartialEq)]
// Few are made, and none is kept in a list.
#[allow(clippy::large_enum_variant)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Tells a manifest from an index, and reads it.
    ///
    /// # Errors
    /// [`Error::Document`] if it is too large, garbled, both at once, or of another kind.
    pub fn parse(bytes: &[u8]) -> Result<Document> {
        match Face::of(bytes)? {
            Face { manifests: Some(_), .. } => Ok(Document::Index(Index::parse(bytes)?)),
            _ => Ok(Document::Manifest(Manifest::parse(bytes)?)),
        }
    }
}

impl Manifest {
    pub fn new(kind: ManifestKind, config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        let media_type = match kind {
            ManifestKind::Oci => media_type::OCI_MANIFEST,
            ManifestKind::Docker => media_type::DOCKER_MANIFEST,
        };
        Manifest {
            schema_version: 2,
            media_type: Some(media_type.into()),
            config,
            layers,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::Document`] if it is too large, garbled, or of another kind.
    pub fn parse(bytes: &[u8]) -> Result<Manifest> {
        let face = Face::of(bytes)?;
        if face.manifests.is_some() {
            return Err(Error::document(MANIFEST, "it is an index"));
        }
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| Error::document(MANIFEST, error))?;
        if manifest.layers.len() > MAX_LAYERS {
            let reason =
                format!("it has {} layers, {MAX_LAYERS} can be stacked", manifest.layers.len());
            return Err(Error::document(MANIFEST, reason));
        }
        Ok(manifest)
    }

    /// The bytes of a manifest that we made. One that came from elsewhere has its own.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and maps with text keys are always JSON")
    }

    pub fn kind(&self) -> ManifestKind {
        match self.media_type.as_deref() {
            Some(media_type::DOCKER_MANIFEST) => ManifestKind::Docker,
            _ => ManifestKind::Oci,
        }
    }

    /// What to call it towards others.
    pub fn media_type(&self) -> &str {
        match self.kind() {
            ManifestKind::Oci => media_type::OCI_MANIFEST,
            ManifestKind::Docker => media_type::DOCKER_MANIFEST,
        }
    }
}

impl Index {
    /// An OCI index of these manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.into()),
            manifests,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// Reads an index, or what Docker calls a manifest list.
    ///
    /// # Errors
    /// [`Error::Document`] if it is too large, garbled, or of another kind.
    pub fn parse(bytes: &[u8]) -> Result<Index> {
        Face::of(bytes)?;
        let index: Index =
            serde_json::from_slice(bytes).map_err(|error| Error::document("index", error))?;
        if index.manifests.len() > MAX_MANIFESTS_IN_INDEX {
            let reason = format!("it has {} manifests", index.manifests.len());
            return Err(Error::document("index", reason));
        }
        Ok(index)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and maps with text keys are always JSON")
    }

    /// What to call it towards others.
    pub fn media_type(&self) -> &str {
        match self.media_type.as_deref() {
            Some(media_type::DOCKER_LIST) => media_type::DOCKER_LIST,
            _ => media_type::OCI_INDEX,
        }
    }

    /// The first manifest for a platform; one that names no platform fits all.
    pub fn choose(&self, platform: &Platform) -> Option<&Descriptor> {
        let fits = |offered: &Platform| platform.accepts(offered);
        self.manifests.iter().find(|manifest| manifest.platform.as_ref().is_none_or(fits))
    }
}

const MANIFEST: &str = "manifest";

/// The fields by which documents are told apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Face {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

impl Face {
    /// One and the same bytes must not mean an image to us and an index to somebody else, so a
    /// document that could be both is refused (OCI image-spec, "Image Manifest", on `mediaType`).
    fn of(bytes: &[u8]) -> Result<Face> {
        check_size(MANIFEST, bytes)?;
        let refused = |reason: String| Err(Error::document(MANIFEST, reason));
        let face: Face =
            serde_json::from_slice(bytes).map_err(|error| Error::document(MANIFEST, error))?;
        if face.schema_version != Some(2) {
            return refused(
                "it is of an old schema; push the image again with a newer tool".into(),
            );
        }
        let says_index = match face.media_type.as_deref() {
            None => face.manifests.is_some(),
            Some(media_type::OCI_INDEX | media_type::DOCKER_LIST) => true,
            Some(media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => false,
            Some(other) => return refused(format!("its media type is {other:?}")),
        };
        if face.manifests.is_some() != says_index || face.layers.is_some() == says_index {
            return refused("it is not clear whether it is an image or an index".into());
        }
        Ok(face)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"mediaType":"c","size":2,"digest":
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;

    fn manifest(kind: &str, extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{CONFIG},"layers":[{CONFIG}]{extra}}}"#
        )
    }

    #[test]
    fn both_families_are_read_and_remembered() {
        let oci = Manifest::parse(manifest(media_type::OCI_MANIFEST, "").as_bytes()).unwrap();
        let docker = Manifest::parse(manifest(media_type::DOCKER_MANIFEST, "").as_bytes()).unwrap();
        assert_eq!((oci.kind(), docker.kind()), (ManifestKind::Oci, ManifestKind::Docker));
        assert_eq!(Manifest::parse(&docker.to_bytes()).unwrap(), docker);
        assert_eq!(oci.layers[0].digest, crate::Digest::of(b"{}"));
    }

    #[test]
    fn unknown_fields_are_kept() {
        let text = manifest(media_type::OCI_MANIFEST, r#","x":{"y":[1]}"#);
        let again =
            String::from_utf8(Manifest::parse(text.as_bytes()).unwrap().to_bytes()).unwrap();
        assert!(again.contains(r#""x":{"y":[1]}"#), "{again}");
    }

    #[test]
    fn an_index_gives_the_manifest_of_a_platform() {
        let entry = |platform: &str| {
            format!(
                r#"{},"platform":{{"os":"linux","architecture":"{platform}"}}}}"#,
                &CONFIG[..CONFIG.len() - 1]
            )
        };
        let text =
            format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, entry("arm64"), entry("amd64"));
        let Document::Index(index) = Document::parse(text.as_bytes()).unwrap() else { panic!() };
        let chosen = index.choose(&Platform::host()).unwrap();
        assert_eq!(chosen.platform.as_ref().unwrap().architecture, "amd64");
        assert!(index.choose(&"linux/s390x".parse().unwrap()).is_none());
    }

    #[test]
    fn what_is_unclear_is_refused() {
        let refused = |text: &str| assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        refused("");
        refused("[]");
        refused(&manifest("application/json", ""));
        refused(&manifest(media_type::OCI_INDEX, ""));
        refused(&manifest(media_type::OCI_MANIFEST, r#","manifests":[]"#));
        refused(&manifest(media_type::OCI_MANIFEST, "").replace(":2,\"media", ":1,\"media"));
        refused(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#);
        refused(&manifest(media_type::OCI_MANIFEST, "").replace("\"size\":2", "\"size\":-2"));
        refused(&" ".repeat(crate::MAX_DOCUMENT_BYTES + 1));
        let many = vec![CONFIG; MAX_LAYERS + 1].join(",");
        refused(&format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{many}]}}"#));
    }
}
