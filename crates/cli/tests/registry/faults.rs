//! What goes wrong on the way: broken connections, lies, kills, a full disk.

use std::{
    fs,
    io::{self, Read},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    container_support::{Done, finish, wait_for},
    registry_support::{
        Registry,
        front::{Act, Answer, Front, Request},
        image::{Form, Image, Kind, digest, noise},
    },
    user::User,
};

fn asks_for(request: &Request, blob: &[u8]) -> bool {
    request.method == "GET" && request.path.ends_with(&digest(blob))
}

/// A store of which nothing is to be seen.
fn assert_empty(user: &User) {
    assert_eq!(user.run(&["images", "-aq"]), "");
    let blobs = fs::read_dir(user.engine.root().join("images/blobs/sha256")).unwrap();
    let names: Vec<_> = blobs.map(|entry| entry.unwrap().file_name()).collect();
    // The manifest and whatever is right of the image may be there; no name leads to it.
    assert!(names.len() < 4, "{names:?}");
    user.run(&["system", "check"]);
}

// Broken connections

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let (user, registry) = (User::new(), Registry::open());
    let content = noise(1 << 20, 1);
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("noise", &content)]]);
    image.put(registry.port(), "me/app", "1");
    let (layer, cuts) = (image.layers[0].clone(), AtomicUsize::new(0));
    let front = Front::new(registry.port(), move |request| {
        match asks_for(request, &layer) && cuts.fetch_add(1, Ordering::SeqCst) < 3 {
            true => Act::Cut(300_000),
            false => Act::Pass,
        }
    });
    user.run(&["pull", &format!("{}/me/app:1", front.name())]);
    assert_eq!(fs::read(user.layers(&image)[0].join("noise")).unwrap(), content);
    let asked = front.seen().into_iter().filter(|request| asks_for(request, &image.layers[0]));
    let ranges: Vec<String> =
        asked.map(|mut request| request.headers.remove("range").unwrap()).collect();
    assert_eq!(ranges, ["bytes=0-", "bytes=300000-", "bytes=600000-", "bytes=900000-"]);
}

#[test]
fn a_registry_that_cannot_begin_in_the_middle_begins_anew() {
    let (user, registry) = (User::new(), Registry::open());
    let content = noise(1 << 20, 2);
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("noise", &content)]]);
    image.put(registry.port(), "me/app", "1");
    let (layer, asked) = (image.layers[0].clone(), AtomicUsize::new(0));
    let front = Front::new(registry.port(), move |request| match asks_for(request, &layer) {
        true if asked.fetch_add(1, Ordering::SeqCst) == 0 => Act::Cut(300_000),
        true => Act::Answer(Answer::new(200, layer.clone())),
        false => Act::Pass,
    });
    user.run(&["pull", &format!("{}/me/app:1", front.name())]);
    assert_eq!(fs::read(user.layers(&image)[0].join("noise")).unwrap(), content);
}

#[test]
fn a_registry_with_a_bad_moment_is_asked_again() {
    let (user, registry) = (User::new(), Registry::open());
    let image = Image::new(Kind::Oci, Form::Gzip, &[&[("a", b"1")]]);
    image.put(registry.port(), "me/app", "1");
    let failures = AtomicUsize::new(0);
    let front = Front::new(registry.port(), move |request| {
        let is_content = request.path.contains("/manifests/") || request.path.contains("/blobs/");
        match is_content && failures.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            true => Act::Answer(Answer::new(503, "busy")),
            false => Act::Pass,
        }
    });
    user.run(&["pull", &format!("{}/me/app:1", front.name())]);
    assert!(user.layers(&image)[0].join("a").exists());
}

#[test]
fn an_upload_that_broke_off_is_sent_again() {
    let (user, from, to) = (User::new(), Registry::open(), Registry::open());
    let image = Image::new(Kind::Oci, Form::Gzip, &[&[("a", b"1")]]);
    image.put(from.port(), "me/app", "1");
    let breaks = AtomicUsize::new(0);
    let front = Front::new(to.port(), move |request| {
        match request.method == "PUT" && breaks.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            true => Act::Cut(0),
            false => Act::Pass,
        }
    });
    let (old, new) = (format!("{}/me/app:1", from.name()), format!("{}/me/app:1", front.name()));
    user.run(&["pull", "-q", &old]);
    user.run(&["tag", &old, &new]);
    user.run(&["push", "-q", &new]);
    user.run(&["rmi", "-f", &old, &new]);
    user.run(&["pull", "-q", &new]);
    assert!(user.layers(&image)[0].join("a").exists());
}

/// Both ask for the same blobs at once; the second one waits and takes what the first one brought.
#[test]
fn two_pulls_at_once_fetch_everything_once() {
    let (user, registry) = (User::new(), Registry::open());
    let (image, front) = slow_image(&registry);
    let name = format!("{}/me/app:1", front.name());
    let start = || user.command(&["pull", "-q", &name]).stdout(Stdio::null()).spawn().unwrap();
    let pulls = [start(), start(), start()];
    for mut pull in pulls {
        assert!(wait_for(&mut pull, Duration::from_secs(60)).success());
    }
    for blob in image.layers.iter().chain([&image.config]) {
        let asked = front.seen().iter().filter(|request| asks_for(request, blob)).count();
        assert_eq!(asked, 1, "{}", digest(blob));
    }
    user.run(&["system", "check"]);
}

// Lies

#[test]
fn other_bytes_than_were_asked_for_are_refused_by_name() {
    let (user, registry) = (User::new(), Registry::open());
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")]]);
    image.put(registry.port(), "me/app", "1");
    let (layer, mut other) = (image.layers[0].clone(), image.layers[0].clone());
    other[512] ^= 1;
    let front = Front::new(registry.port(), move |request| match asks_for(request, &layer) {
        true => Act::Answer(Answer::new(200, other.clone())),
        false => Act::Pass,
    });
    let refused = user.try_run(&["pull", &format!("{}/me/app:1", front.name())]);
    assert_eq!(refused.code, 1);
    let cause = format!(
        "cause: the blob {} from {} has the digest ",
        digest(&image.layers[0]),
        front.name()
    );
    assert!(refused.err.contains(&cause), "{}", refused.err);
    assert_empty(&user);
}

#[test]
fn another_manifest_than_was_asked_for_is_refused_by_name() {
    let (user, registry) = (User::new(), Registry::open());
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")]]);
    image.put(registry.port(), "me/app", "1");
    let manifest = [&image.manifest[..], b" "].concat();
    let front =
        Front::new(registry.port(), move |request| match request.path.contains("/manifests/") {
            true => Act::Answer(Answer::new(200, manifest.clone())),
            false => Act::Pass,
        });
    let name = format!("{}/me/app@{}", front.name(), image.digest());
    let refused = user.try_run(&["pull", &name]);
    assert!(refused.err.contains(&format!("cause: the manifest {name} from ")), "{}", refused.err);
    assert!(refused.err.contains("which is wrong"), "{}", refused.err);
}

#[test]
fn a_layer_whose_content_is_another_than_the_configuration_says_is_refused() {
    let (user, registry) = (User::new(), Registry::open());
    let mut image = Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")]]);
    let other = Image::new(Kind::Oci, Form::Plain, &[&[("a", b"2")]]);
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    image.manifest = text.replace(&digest(&image.layers[0]), &digest(&other.layers[0])).into();
    image.layers = other.layers;
    image.put(registry.port(), "me/app", "1");
    let refused = user.try_run(&["pull", &format!("{}/me/app:1", registry.name())]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains(&digest(&image.layers[0])), "{}", refused.err);
    assert_empty(&user);
}

/// Blanks without end, and how many of them were taken.
struct Endless(Arc<AtomicU64>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b' ');
        self.0.fetch_add(buffer.len() as u64, Ordering::SeqCst);
        Ok(buffer.len())
    }
}

#[test]
fn a_manifest_of_a_gigabyte_is_refused_without_reading_it() {
    let (user, registry) = (User::new(), Registry::open());
    let taken = Arc::<AtomicU64>::default();
    let endless = taken.clone();
    let front = Front::new(registry.port(), move |request| {
        if !request.path.contains("/manifests/") {
            return Act::Pass;
        }
        let length = request.path.ends_with("told").then_some(1 << 30);
        let body = Box::new(Endless(endless.clone()));
        Act::Answer(Answer { status: 200, headers: Vec::new(), body, length })
    });
    for tag in ["told", "untold"] {
        let refused = user.try_run(&["pull", &format!("{}/me/app:{tag}", front.name())]);
        assert!(refused.err.contains("is larger than 4194304 bytes"), "{}", refused.err);
    }
    // What the connections buffer is read as well.
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken < 64 << 20, "{taken} bytes were taken");
}

#[test]
fn more_bytes_than_the_manifest_says_are_not_taken() {
    let (user, registry) = (User::new(), Registry::open());
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")]]);
    image.put(registry.port(), "me/app", "1");
    let (layer, taken) = (image.layers[0].clone(), Arc::<AtomicU64>::default());
    let endless = taken.clone();
    let front = Front::new(registry.port(), move |request| match asks_for(request, &layer) {
        true => {
            let body = Box::new(Endless(endless.clone()));
            Act::Answer(Answer { status: 200, headers: Vec::new(), body, length: None })
        }
        false => Act::Pass,
    });
    let refused = user.try_run(&["pull", &format!("{}/me/app:1", front.name())]);
    let cause = format!("is larger than {} bytes", image.layers[0].len());
    assert!(refused.err.contains(&cause), "{}", refused.err);
    assert!(taken.load(Ordering::SeqCst) < 64 << 20);
    assert_empty(&user);
}

// Kills, and a full disk

/// Three layers that come slowly.
fn slow_image(registry: &Registry) -> (Image, Front) {
    let contents: Vec<Vec<u8>> = (0..3).map(|seed| noise(120_000, seed)).collect();
    let files: Vec<[(&str, &[u8]); 1]> =
        contents.iter().map(|content| [("noise", &content[..])]).collect();
    let layers: Vec<&[(&str, &[u8])]> = files.iter().map(|files| &files[..]).collect();
    let image = Image::new(Kind::Oci, Form::Gzip, &layers);
    image.put(registry.port(), "me/app", "1");
    let front = Front::new(registry.port(), |request| match request.path.contains("/blobs/") {
        true => Act::Slow { piece_bytes: 4096, pause: Duration::from_millis(1) },
        false => Act::Pass,
    });
    (image, front)
}

/// Each pull may live a little longer than the one before, until one comes to its end.
#[test]
fn a_killed_pull_leaves_no_half_image() {
    let (user, registry) = (User::new(), Registry::open());
    let (image, front) = slow_image(&registry);
    let name = format!("{}/me/app:1", front.name());
    let mut kills = 0;
    for round in 0.. {
        let life = Duration::from_millis(3 * round);
        let mut pull = user.command(&["pull", "-q", &name]);
        let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(life);
        if pull.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        pull.kill().unwrap();
        let has_ended_before = pull.wait().unwrap().success();
        if has_ended_before {
            break;
        }
        kills += 1;
        user.run(&["system", "check"]);
        let listed = user.run(&["images", "-q"]);
        assert!(listed.is_empty() || user.layers(&image).len() == 3, "{listed}");
        assert!(kills < 300, "it never comes to its end");
    }
    assert!(kills > 3, "killed {kills} times only");
    assert_eq!(user.run(&["images", "-q"]).lines().count(), 1);
    user.run(&["system", "check"]);
    for (seed, layer) in user.layers(&image).iter().enumerate() {
        assert_eq!(fs::read(layer.join("noise")).unwrap(), noise(120_000, seed as u64));
    }
}

#[test]
fn what_a_killed_pull_has_brought_is_not_fetched_again() {
    let (user, registry) = (User::new(), Registry::open());
    let content = noise(1 << 20, 3);
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("noise", &content)]]);
    image.put(registry.port(), "me/app", "1");
    let (layer, asked) = (image.layers[0].clone(), AtomicUsize::new(0));
    let front = Front::new(registry.port(), move |request| {
        match asks_for(request, &layer) && asked.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Act::Stop(300_000),
            false => Act::Pass,
        }
    });
    let name = format!("{}/me/app:1", front.name());
    let mut pull = user.command(&["pull", "-q", &name]).spawn().unwrap();
    let digits = digest(&image.layers[0])["sha256:".len()..].to_owned();
    let partial = user.engine.root().join("images/partial").join(digits);
    user.engine.eventually("no part of the layer comes", || {
        fs::metadata(&partial).is_ok_and(|partial| partial.len() == 300_000)
    });
    pull.kill().unwrap();
    pull.wait().unwrap();
    assert_eq!(user.run(&["images", "-q"]), "");
    user.run(&["system", "check"]);
    user.run(&["pull", "-q", &name]);
    assert_eq!(fs::read(user.layers(&image)[0].join("noise")).unwrap(), content);
    let seen = front.seen();
    let asked: Vec<&Request> = seen.iter().filter(|r| asks_for(r, &image.layers[0])).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1].headers["range"], "bytes=300000-");
}

/// In a mount namespace of its own the engine's root lies on a file system that is too small; then
/// it grows.
#[test]
fn a_full_disk_leaves_no_half_image_and_the_next_pull_goes_on() {
    let (user, registry) = (User::new(), Registry::open());
    let content = noise(3 << 20, 7);
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")], &[("noise", &content)]]);
    image.put(registry.port(), "me/app", "1");
    let front = Front::new(registry.port(), |_| Act::Pass);
    let root = user.engine.root();
    fs::create_dir_all(&root).unwrap();
    let script = "mount -t tmpfs -o size=2m none $0 || exit 99\n\
        \"$@\" pull NAME && exit 98\n\
        \"$@\" images -q > $0/../listed || exit 97\n\
        \"$@\" system check || exit 96\n\
        mount -o remount,size=64m $0 || exit 95\n\
        \"$@\" pull NAME || exit 94\n\
        \"$@\" system check || exit 93\n\
        cmp LAYER/noise $0/../noise\n";
    let layer = image.layer_dirs(&root).pop().unwrap();
    let script = script.replace("NAME", &format!("{}/me/app:1", front.name()));
    let script = script.replace("LAYER", layer.to_str().unwrap());
    fs::write(root.join("../noise"), &content).unwrap();
    let own = user.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(&root);
    command.arg(own.get_program()).args(own.get_args()).env("HOME", user.home());
    let done: Done = finish(command.stdin(Stdio::null()), |_| ());
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.err.contains("No space left on device"), "{}", done.err);
    assert_eq!(fs::read_to_string(root.join("../listed")).unwrap(), "");
    let big: Vec<Request> =
        front.seen().into_iter().filter(|r| asks_for(r, &image.layers[1])).collect();
    assert!(big.len() > 1 && big[big.len() - 1].headers["range"] != "bytes=0-", "{big:?}");
}
