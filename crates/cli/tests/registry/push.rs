//! Pushing: what arrives, and what need not be sent.

use serde_json::Value;

use crate::{
    registry_support::{
        PASSWORD, Registry, USER,
        front::{Act, Front, Request},
        image::{self, Form, Image, Kind, digest, gunzip},
        with_tokens,
    },
    user::User,
};

const FILES: &[&[(&str, &[u8])]] = &[&[("a", b"1")], &[("b", b"2")]];

/// Requests that bring something.
fn uploads(seen: &[Request]) -> usize {
    let brings = |request: &&Request| {
        request.method != "GET" && request.method != "HEAD" && request.path.contains("/blobs/")
    };
    seen.iter().filter(brings).count()
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Reads an image back through the registry's own interface, and checks it against the rules of the
/// OCI image-spec ("Image Manifest", "Image Configuration", "Content Descriptors").
fn read_back(registry: u16, repository: &str, tag: &str) -> Image {
    let answer = image::get(registry, &format!("/v2/{repository}/manifests/{tag}"));
    assert_eq!(answer.status, 200);
    let manifest = parse(&answer.body);
    let media_type = answer.header("Content-Type").to_owned();
    assert_eq!(manifest["mediaType"], media_type.as_str());
    assert_eq!(manifest["schemaVersion"], 2);
    let blob = |descriptor: &Value| {
        let name = descriptor["digest"].as_str().unwrap();
        let blob = image::get(registry, &format!("/v2/{repository}/blobs/{name}")).body;
        assert_eq!(digest(&blob), name);
        assert_eq!(descriptor["size"], blob.len());
        blob
    };
    let config = blob(&manifest["config"]);
    let layers = manifest["layers"].as_array().unwrap();
    let diff_ids = &parse(&config)["rootfs"]["diff_ids"];
    assert_eq!(layers.len(), diff_ids.as_array().unwrap().len());
    let mut blobs = Vec::new();
    for (layer, diff_id) in layers.iter().zip(diff_ids.as_array().unwrap()) {
        let bytes = blob(layer);
        let kind = layer["mediaType"].as_str().unwrap();
        let plain = match kind.rsplit(['+', '.']).next().unwrap() {
            "gzip" => gunzip(&bytes),
            "zstd" => zstd::decode_all(&bytes[..]).unwrap(),
            "tar" => bytes.clone(),
            _ => panic!("the media type {kind}"),
        };
        assert_eq!(digest(&plain), diff_id.as_str().unwrap());
        blobs.push(bytes);
    }
    Image { layers: blobs, config, manifest: answer.body, media_type }
}

#[test]
fn what_came_by_pull_goes_on_byte_for_byte() {
    let user = User::new();
    for kind in [Kind::Oci, Kind::Docker] {
        let (from, to) = (Registry::open(), Registry::open());
        let image = Image::new(kind, Form::Gzip, FILES);
        image.put(from.port(), "me/app", "1");
        let (old, new) = (format!("{}/me/app:1", from.name()), format!("{}/you/app:2", to.name()));
        user.run(&["pull", "-q", &old]);
        user.run(&["tag", &old, &new]);
        let out = user.run(&["push", &new]);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], format!("The push refers to repository [{}/you/app]", to.name()));
        assert_eq!(lines.iter().filter(|line| line.ends_with(": Preparing")).count(), 2, "{out}");
        assert_eq!(lines.iter().filter(|line| line.ends_with(": Pushed")).count(), 2, "{out}");
        let size = image.manifest.len();
        assert_eq!(lines.last().unwrap(), &format!("2: digest: {} size: {size}", image.digest()));
        let back = read_back(to.port(), "you/app", "2");
        assert_eq!((back.manifest, back.media_type), (image.manifest, image.media_type));
        assert_eq!((back.config, back.layers), (image.config, image.layers));
    }
}

#[test]
fn what_is_there_is_not_sent_again() {
    let (user, registry) = (User::new(), Registry::open());
    let front = Front::new(registry.port(), |_| Act::Pass);
    Image::new(Kind::Oci, Form::Gzip, FILES).put(registry.port(), "me/app", "1");
    let name = format!("{}/me/app", front.name());
    user.run(&["pull", "-q", &format!("{name}:1")]);
    user.run(&["tag", &format!("{name}:1"), &format!("{name}:2")]);
    front.forget();
    let out = user.run(&["push", &format!("{name}:2")]);
    assert_eq!(out.matches(": Layer already exists").count(), 2, "{out}");
    assert_eq!(uploads(&front.seen()), 0);
    assert_eq!(user.run(&["push", "-q", &format!("{name}:2")]), format!("{name}:2\n"));
}

#[test]
fn a_layer_of_another_repository_is_mounted() {
    let (user, registry) = (User::new(), Registry::open());
    let front = with_tokens(&registry);
    let base = Image::new(Kind::Oci, Form::Gzip, &FILES[..1]);
    base.put(registry.port(), "me/base", "1");
    assert_eq!(user.login(&front.name(), PASSWORD).code, 0);
    let (old, new) = (format!("{}/me/base:1", front.name()), format!("{}/me/app:1", front.name()));
    user.run(&["pull", "-q", &old]);
    user.run(&["tag", &old, &new]);
    front.forget();
    let out = user.run(&["push", &new]);
    assert!(out.contains(": Mounted from me/base"), "{out}");
    let seen = front.seen();
    let token = seen.iter().find(|request| request.path.starts_with("/token?")).unwrap();
    for scope in ["me%2Fapp%3Apull%2Cpush", "me%2Fbase%3Apull"] {
        assert!(token.path.contains(&format!("scope=repository%3A{scope}&")), "{}", token.path);
    }
    let sent =
        seen.iter().filter(|request| request.method == "PUT" && request.path.contains("/blobs/"));
    assert_eq!(sent.count(), 1, "the configuration alone");
    read_back(registry.port(), "me/app", "1");
}

#[test]
fn plain_layers_travel_compressed_and_always_alike() {
    for kind in [Kind::Oci, Kind::Docker] {
        let (user, registry) = (User::new(), Registry::open());
        let front = Front::new(registry.port(), |_| Act::Pass);
        let plain = Image::new(kind, Form::Plain, FILES);
        plain.put(registry.port(), "me/plain", "1");
        let (old, new) =
            (format!("{}/me/plain:1", front.name()), format!("{}/me/app:1", front.name()));
        user.run(&["pull", "-q", &old]);
        user.run(&["tag", &old, &new]);
        let out = user.run(&["push", &new]);
        let back = read_back(registry.port(), "me/app", "1");
        assert!(out.contains(&format!("1: digest: {}", back.digest())), "{out}");
        let layer = parse(&back.manifest)["layers"][0]["mediaType"].as_str().unwrap().to_owned();
        assert!(layer.ends_with("gzip"), "{layer}");
        assert_eq!(back.config, plain.config);
        assert_eq!(parse(&back.manifest)["unknown"], "kept");
        front.forget();
        let again = user.run(&["push", &new]);
        assert!(again.contains(&format!("1: digest: {}", back.digest())), "{again}");
        assert_eq!(uploads(&front.seen()), 0);
        // Somebody else comes to the same bytes.
        let other = User::new();
        other.run(&["pull", "-q", &old]);
        other.run(&["tag", &old, &new]);
        let out = other.run(&["push", &new]);
        assert!(out.contains(&format!("1: digest: {}", back.digest())), "{out}");
        let plainly = user.run(&["push", "--compression", "none", &new]);
        assert!(plainly.contains(&format!("1: digest: {}", plain.digest())), "{plainly}");
    }
}

#[test]
fn zstd_is_for_manifests_that_know_it() {
    let (user, registry) = (User::new(), Registry::open());
    for (kind, tag) in [(Kind::Oci, "oci"), (Kind::Docker, "docker")] {
        Image::new(kind, Form::Plain, FILES).put(registry.port(), "me/plain", tag);
        user.run(&["pull", "-q", &format!("{}/me/plain:{tag}", registry.name())]);
    }
    let push = |tag: &str| {
        let name = format!("{}/me/plain:{tag}", registry.name());
        user.try_run(&["push", "--compression=zstd", &name])
    };
    assert_eq!(push("oci").code, 0);
    let back = read_back(registry.port(), "me/plain", "oci");
    let layer = parse(&back.manifest)["layers"][1]["mediaType"].as_str().unwrap().to_owned();
    assert!(layer.ends_with("+zstd"), "{layer}");
    let refused = push("docker");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("cannot be compressed with zstd"), "{}", refused.err);
}

#[test]
fn all_tags_of_a_repository_go() {
    let (user, from, to) = (User::new(), Registry::open(), Registry::open());
    Image::new(Kind::Oci, Form::Gzip, FILES).put(from.port(), "me/app", "1");
    let old = format!("{}/me/app:1", from.name());
    user.run(&["pull", "-q", &old]);
    let new = format!("{}/me/app", to.name());
    for tag in ["x", "y"] {
        user.run(&["tag", &old, &format!("{new}:{tag}")]);
    }
    let out = user.run(&["push", "-a", &new]);
    assert!(out.contains("\nx: digest: ") && out.contains("\ny: digest: "), "{out}");
    let tags = image::get(to.port(), "/v2/me/app/tags/list").body;
    assert_eq!(parse(&tags)["tags"], serde_json::json!(["x", "y"]));
    assert!(user.try_run(&["push", "-a", &format!("{}/no/app", to.name())]).code == 1);
}

#[test]
fn who_may_not_push_is_told() {
    let (user, from, to) = (User::new(), Registry::open(), Registry::with_password());
    Image::new(Kind::Oci, Form::Gzip, FILES).put(from.port(), "me/app", "1");
    let (old, new) = (format!("{}/me/app:1", from.name()), format!("{}/me/app:1", to.name()));
    user.run(&["pull", "-q", &old]);
    user.run(&["tag", &old, &new]);
    let refused = user.try_run(&["push", &new]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("cause: unauthorized: "), "{}", refused.err);
    user.run(&["push", "--creds", &format!("{USER}:{PASSWORD}"), &new]);
    let unknown = user.try_run(&["push", &format!("{}/other:1", to.name())]);
    assert!(unknown.err.contains("cause: no such image: "), "{}", unknown.err);
    let by_digest = format!("{}/me/app@{}", to.name(), digest(b""));
    assert!(user.try_run(&["push", &by_digest]).err.contains("by tag, not by digest"));
}
