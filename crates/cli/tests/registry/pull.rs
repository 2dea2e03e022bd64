//! Pulling: names, platforms, output, and what is moved.

use std::fs;

use crate::{
    container_support::finish,
    registry_support::{
        PASSWORD, Registry, USER,
        front::{Act, Front, Request},
        image::{Form, Image, Kind, digest, put_index},
        with_tokens,
    },
    user::User,
};

/// The blobs that were asked for.
fn blobs(seen: &[Request]) -> usize {
    seen.iter()
        .filter(|request| request.method == "GET" && request.path.contains("/blobs/"))
        .count()
}

fn short(blob: &[u8]) -> String {
    digest(blob)["sha256:".len()..][..12].to_owned()
}

#[test]
fn output_is_dockers_and_a_second_pull_moves_no_layer() {
    let (user, registry) = (User::new(), Registry::open());
    let front = Front::new(registry.port(), |_| Act::Pass);
    let image = Image::new(Kind::Oci, Form::Gzip, &[&[("a", b"1")], &[("b", b"2")]]);
    image.put(registry.port(), "me/app", "latest");
    let name = format!("{}/me/app", front.name());
    let first = user.run(&["pull", &name]);
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!(lines[..2], ["Using default tag: latest", "latest: Pulling from me/app"], "{first}");
    for layer in &image.layers {
        for step in ["Pulling fs layer", "Download complete", "Pull complete"] {
            assert!(lines.contains(&format!("{}: {step}", short(layer)).as_str()), "{first}");
        }
    }
    let end = [
        format!("Digest: {}", image.digest()),
        format!("Status: Downloaded newer image for {name}:latest"),
        format!("{name}:latest"),
    ];
    assert_eq!(lines[lines.len() - 3..], end);
    assert_eq!(blobs(&front.seen()), 3);
    front.forget();
    let second = user.run(&["pull", &name]);
    assert!(second.contains(&format!("Status: Image is up to date for {name}:latest")), "{second}");
    assert_eq!(user.run(&["pull", "-q", &name]), format!("{name}:latest\n"));
    assert_eq!(blobs(&front.seen()), 0);
    for (layer, file) in user.layers(&image).iter().zip(["a", "b"]) {
        assert!(layer.join(file).is_file(), "{layer:?}");
    }
}

#[test]
fn layers_that_are_here_are_not_fetched() {
    let (user, registry) = (User::new(), Registry::open());
    let front = Front::new(registry.port(), |_| Act::Pass);
    let base = Image::new(Kind::Docker, Form::Gzip, &[&[("base", b"1")]]);
    let app = Image::new(Kind::Docker, Form::Gzip, &[&[("base", b"1")], &[("app", b"2")]]);
    base.put(registry.port(), "me/base", "1");
    app.put(registry.port(), "me/app", "1");
    user.run(&["pull", &format!("{}/me/base:1", front.name())]);
    front.forget();
    let out = user.run(&["pull", &format!("{}/me/app:1", front.name())]);
    assert!(out.contains(&format!("{}: Already exists", short(&app.layers[0]))), "{out}");
    assert!(!out.contains(&format!("{}: Pull complete", short(&app.layers[0]))), "{out}");
    assert_eq!(blobs(&front.seen()), 2, "one layer and the configuration");
}

#[test]
fn a_layer_that_is_there_twice_is_fetched_once() {
    let (user, registry) = (User::new(), Registry::open());
    let front = Front::new(registry.port(), |_| Act::Pass);
    let same: &[(&str, &[u8])] = &[("a", b"1")];
    let image = Image::new(Kind::Oci, Form::Gzip, &[same, &[("b", b"2")], same]);
    image.put(registry.port(), "me/app", "1");
    user.run(&["pull", &format!("{}/me/app:1", front.name())]);
    assert_eq!(blobs(&front.seen()), 3);
    assert_eq!(user.layers(&image).len(), 3);
}

#[test]
fn an_index_gives_the_image_for_this_machine_or_another() {
    let (user, registry) = (User::new(), Registry::open());
    let port = registry.port();
    let here = Image::new(Kind::Oci, Form::Gzip, &[&[("here", b"1")]]);
    let there = Image::for_platform(Kind::Docker, Form::Plain, &[&[("there", b"2")]], "arm64");
    here.put(port, "me/app", "here");
    there.put(port, "me/app", "there");
    let entries = [there.entry("arm64"), here.entry("amd64")];
    let index = put_index(port, "me/app", "both", &entries);
    let name = format!("{}/me/app:both", registry.name());
    let out = user.run(&["pull", &name]);
    assert!(out.contains(&format!("Digest: {index}")), "{out}");
    assert!(user.layers(&here)[0].join("here").exists());
    let out = user.run(&["pull", "--platform", "linux/arm64", &name]);
    assert!(out.contains("Downloaded newer image"), "{out}");
    assert!(user.layers(&there)[0].join("there").exists());
    let none = user.try_run(&["pull", "--platform", "linux/s390x", &name]);
    assert_eq!(none.code, 1);
    assert!(
        none.err.contains("is not for linux/s390x, but for linux/arm64, linux/amd64"),
        "{}",
        none.err
    );
    let single = format!("{}/me/app:here", registry.name());
    let wrong = user.try_run(&["pull", "--platform", "linux/arm64", &single]);
    assert!(wrong.err.contains("is not for linux/arm64, but for linux/amd64"), "{}", wrong.err);
}

#[test]
fn by_digest_and_with_all_tags() {
    let (user, registry) = (User::new(), Registry::open());
    let port = registry.port();
    let one = Image::new(Kind::Oci, Form::Gzip, &[&[("one", b"1")]]);
    let two = Image::new(Kind::Docker, Form::Gzip, &[&[("two", b"2")]]);
    one.put(port, "me/app", "1");
    two.put(port, "me/app", "2");
    let name = format!("{}/me/app", registry.name());
    let by_digest = format!("{name}@{}", one.digest());
    let out = user.run(&["pull", &by_digest]);
    assert!(out.starts_with(&format!("{by_digest}: Pulling from me/app\n")), "{out}");
    let out = user.run(&["pull", "-a", &name]);
    assert!(
        out.contains("1: Pulling from me/app") && out.contains("2: Pulling from me/app"),
        "{out}"
    );
    assert!(
        out.ends_with(&format!("Status: Downloaded newer image for {name}\n{name}\n")),
        "{out}"
    );
    assert_eq!(user.try_run(&["pull", "-a", &format!("{name}:1")]).code, 1);
    let recorded = fs::read_to_string(user.engine.root().join("images/references.json")).unwrap();
    for name in [&by_digest, &format!("{name}:1"), &format!("{name}:2")] {
        assert!(recorded.contains(&format!("\"{name}\"")), "{recorded}");
    }
}

#[test]
fn what_is_not_there_or_not_for_us_is_told() {
    let (user, registry) = (User::new(), Registry::with_password());
    let name = format!("{}/me/app", registry.name());
    let refused = user.try_run(&["pull", &name]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.starts_with(&format!("error: cannot pull {name}:latest\n")),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("cause: unauthorized: "), "{}", refused.err);
    assert!(refused.err.contains(&format!("stasis login {}", registry.name())), "{}", refused.err);
    let creds = format!("{USER}:{PASSWORD}");
    let unknown = user.try_run(&["pull", "--creds", &creds, &name]);
    assert!(
        unknown.err.contains(&format!("cause: manifest unknown: {name}:latest")),
        "{}",
        unknown.err
    );
    assert_eq!(user.login(&registry.name(), PASSWORD).code, 0);
    let unknown = user.try_run(&["pull", &name]);
    assert!(unknown.err.contains("cause: manifest unknown: "), "{}", unknown.err);
    let nowhere = user.try_run(&["pull", "no-such-host.invalid/a"]);
    assert!(nowhere.err.contains("cause: no such host: no-such-host.invalid"), "{}", nowhere.err);
    assert!(user.try_run(&["pull", "Not/A/Name"]).err.contains("is not a name of an image"));
}

#[test]
fn tokens_are_asked_for_what_is_done() {
    let (user, registry) = (User::new(), Registry::open());
    let front = with_tokens(&registry);
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")]]);
    image.put(registry.port(), "me/app", "1");
    let name = format!("{}/me/app:1", front.name());
    assert!(user.try_run(&["pull", &name]).err.contains("cause: unauthorized: "));
    assert_eq!(user.login(&front.name(), PASSWORD).code, 0);
    front.forget();
    user.run(&["pull", &name]);
    let seen = front.seen();
    let tokens: Vec<&Request> = seen.iter().filter(|r| r.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1, "one token for all of it");
    assert!(tokens[0].path.contains("scope=repository%3Ame%2Fapp%3Apull&"), "{}", tokens[0].path);
}

/// Nobody listens at the proxy that the environment names.
#[test]
fn no_proxy_is_asked_on_this_machine() {
    let (user, registry) = (User::new(), Registry::open());
    Image::new(Kind::Oci, Form::Gzip, &[&[("a", b"1")]]).put(registry.port(), "me/app", "1");
    for host in ["localhost", "127.0.0.1"] {
        let name = format!("{host}:{}/me/app:1", registry.port());
        let mut pull = user.command(&["pull", "-q", &name]);
        for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
            pull.env(variable, "http://127.0.0.1:1");
        }
        let done = finish(pull.env_remove("NO_PROXY").env_remove("no_proxy"), |_| ());
        assert_eq!(done.out, format!("{name}\n"), "{done:?}");
    }
}
