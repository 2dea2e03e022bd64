//! The store from outside: what is added is found, what nobody needs goes, nothing else does.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt},
};

use stasis_oci::{
    Descriptor, Digest, ImageConfig, Manifest, ManifestKind, Reference, RootFs, media_type,
};

use crate::{Adding, Error, Force, Image, ImageStore, Layer, Silent, User, Users};

fn store() -> (tempfile::TempDir, ImageStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::new(dir.path());
    (dir, store)
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A tar of regular files.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, content) in files {
        let mut entry = tar_core::builder::EntryBuilder::new_ustar();
        entry.path(*path).entry_type(tar_core::EntryType::Regular);
        entry.mode(0o644).unwrap().uid(0).unwrap().gid(0).unwrap();
        entry.size(content.len() as u64).unwrap().mtime(0).unwrap();
        archive.extend(entry.finish_bytes());
        archive.extend(content.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn layer(adding: &Adding, tar: &[u8]) -> Layer {
    let packed = gzip(tar);
    adding.add_bytes(&packed).unwrap();
    Layer { blob: Descriptor::of(media_type::OCI_LAYER_GZIP, &packed), diff_id: Digest::of(tar) }
}

fn manifest(adding: &Adding, layers: &[Layer]) -> Vec<u8> {
    let diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    let config = ImageConfig { rootfs: RootFs::new(diff_ids), ..ImageConfig::scratch() };
    let config = config.to_bytes();
    adding.add_bytes(&config).unwrap();
    let config = Descriptor::of(media_type::OCI_CONFIG, &config);
    let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
    Manifest::new(ManifestKind::Oci, config, blobs).to_bytes()
}

fn add(store: &ImageStore, tars: &[Vec<u8>], names: &[&str]) -> Image {
    let adding = store.begin().unwrap();
    let layers: Vec<Layer> = tars.iter().map(|tar| layer(&adding, tar)).collect();
    let names: Vec<Reference> = names.iter().map(|text| name(text)).collect();
    adding.add_image(&manifest(&adding, &layers), &names, &mut Silent).unwrap()
}

fn nobody() -> crate::Result<Users> {
    Ok(Users::new())
}

fn nr_files(dir: &std::path::Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn an_empty_store_is_not_made() {
    let (dir, store) = store();
    assert!(store.list().unwrap().is_empty());
    assert!(matches!(store.find("a"), Err(Error::NoSuchImage(_))));
    assert_eq!(nr_files(dir.path()), 0);
}

#[test]
fn what_is_added_is_found() {
    let (_dir, store) = store();
    let image = add(&store, &[tar(&[("a", "1")])], &["app", "q.io/app:2"]);
    for key in [
        "app",
        "docker.io/library/app:latest",
        "q.io/app:2",
        &image.short_id(),
        &image.id.to_string(),
    ] {
        assert_eq!(store.find(key).unwrap().id, image.id, "{key}");
    }
    assert_eq!(store.find("app").unwrap().names.len(), 2);
    assert!(matches!(store.find("app:1"), Err(Error::NoSuchImage(_))));
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn lower_directories_are_the_topmost_first_and_shared() {
    let (_dir, store) = store();
    let base = tar(&[("a", "base"), ("b", "base")]);
    let one = add(&store, &[base.clone(), tar(&[("a", "one")])], &["one"]);
    let two = add(&store, &[base, tar(&[(".wh.b", "")])], &["two"]);
    let (one, two) = (
        store.lower_dirs(&one, &mut Silent).unwrap(),
        store.lower_dirs(&two, &mut Silent).unwrap(),
    );
    assert_eq!(one[1], two[1]);
    assert_eq!(fs::read_to_string(one[0].join("a")).unwrap(), "one");
    let whiteout = fs::symlink_metadata(two[0].join("b")).unwrap();
    assert!(whiteout.file_type().is_char_device());
    assert_eq!(whiteout.rdev(), 0);
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let (dir, store) = store();
    let adding = store.begin().unwrap();
    let mut wrong = layer(&adding, &tar(&[("a", "1")]));
    wrong.diff_id = Digest::of(b"something else");
    let manifest = manifest(&adding, &[wrong]);
    let error = adding.add_image(&manifest, &[name("a")], &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Layer { .. }), "{error}");
    assert!(store.list().unwrap().is_empty());
    assert_eq!(nr_files(&dir.path().join("images/layers")), 0);
}

#[test]
fn a_missing_content_is_named() {
    let (_dir, store) = store();
    let adding = store.begin().unwrap();
    let there = layer(&adding, &tar(&[]));
    let mut gone = there.clone();
    gone.blob.digest = Digest::of(b"never added");
    let manifest = manifest(&adding, &[there, gone.clone()]);
    let error = adding.add_image(&manifest, &[], &mut Silent).unwrap_err();
    assert!(matches!(error, Error::NoSuchBlob(digest) if digest == gone.blob.digest), "{error}");
}

#[test]
fn blobs_are_verified_and_resumed() {
    let (dir, store) = store();
    let adding = store.begin().unwrap();
    let digest = Digest::of(b"hello");
    let mut writer = adding.resume_blob(&digest).unwrap();
    writer.write_all(b"hel").unwrap();
    drop(writer);
    let mut writer = adding.resume_blob(&digest).unwrap();
    assert_eq!(writer.len_bytes(), 3);
    writer.write_all(b"lo").unwrap();
    assert_eq!(writer.finish(Some(&digest)).unwrap().size, 5);
    assert!(store.has_blob(&digest));
    let mut writer = adding.resume_blob(&Digest::of(b"other")).unwrap();
    writer.write_all(b"garbage").unwrap();
    assert!(matches!(writer.finish(Some(&Digest::of(b"other"))), Err(Error::WrongDigest { .. })));
    drop(adding.new_blob().unwrap());
    assert_eq!(nr_files(&dir.path().join("images/partial")), 0);
}

#[test]
fn the_last_name_takes_the_image_along_but_not_what_others_share() {
    let (dir, store) = store();
    let base = tar(&[("a", "base")]);
    add(&store, std::slice::from_ref(&base), &["one"]);
    let two = add(&store, &[base, tar(&[("b", "")])], &["two", "two:x"]);
    let removed = store.remove("two:x", Force::No, &nobody).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec![name("two:x")], None));
    let removed = store.remove("two", Force::No, &nobody).unwrap();
    assert_eq!((removed.deleted, removed.layers.len()), (Some(two.id), 1));
    assert_eq!(nr_files(&dir.path().join("images/layers")), 1);
    assert_eq!(nr_files(&dir.path().join("images/blobs/sha256")), 3);
    let one = store.find("one").unwrap();
    assert!(store.lower_dirs(&one, &mut Silent).unwrap()[0].join("a").exists());
}

#[test]
fn nothing_goes_while_somebody_adds() {
    let (_dir, store) = store();
    add(&store, &[tar(&[("a", "")])], &["one"]);
    let adding = store.begin().unwrap();
    let blob = adding.add_bytes(b"on its way").unwrap();
    store.remove("one", Force::No, &nobody).unwrap();
    assert!(store.sweep_all().unwrap().blobs.is_empty());
    drop(adding);
    assert_eq!(store.sweep_all().unwrap().blobs.len(), 4);
    assert!(!store.has_blob(&blob.digest));
}

#[test]
fn an_image_in_use_stays() {
    let (_dir, store) = store();
    let image = add(&store, &[tar(&[("a", "")])], &["one"]);
    let user = |kind: fn(String) -> User| BTreeMap::from([(image.id, vec![kind("c".into())])]);
    let refused = |key: &str, force, users: &Users| {
        let error = store.remove(key, force, &|| Ok(users.clone())).unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error}");
    };
    refused("one", Force::No, &user(User::StoppedContainer));
    refused("one", Force::No, &user(User::RunningContainer));
    refused(&image.short_id(), Force::Yes, &user(User::RunningContainer));
    let removed = store.remove("one", Force::Yes, &|| Ok(user(User::StoppedContainer))).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted), (1, None));
    assert!(store.find(&image.short_id()).unwrap().names.is_empty());
    store.remove(&image.short_id(), Force::No, &nobody).unwrap();
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn an_image_that_a_container_gets_meanwhile_stays() {
    let (_dir, store) = store();
    let image = add(&store, &[tar(&[("a", "")])], &["one"]);
    let nr_asked = std::cell::Cell::new(0);
    let users = || {
        nr_asked.set(nr_asked.get() + 1);
        let users = vec![User::StoppedContainer("c".into())];
        Ok(if nr_asked.get() == 1 { Users::new() } else { Users::from([(image.id, users)]) })
    };
    let removed = store.remove("one", Force::No, &users).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted), (1, None));
    assert!(store.find_id(&image.id).unwrap().names.is_empty());
    assert!(store.check().unwrap().is_empty());
}

#[test]
fn a_damaged_image_is_told_and_can_be_removed() {
    let (dir, store) = store();
    let sick = add(&store, &[tar(&[("a", "1")])], &["sick"]);
    let well = add(&store, &[tar(&[("a", "2")])], &["well"]);
    let config = dir.path().join("images/blobs/sha256").join(sick.id.hex());
    fs::write(config, "{}").unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
    assert!(store.find("sick").is_err());
    let faults = store.check().unwrap();
    assert!(faults.iter().any(|fault| fault.object.contains(&sick.short_id())), "{faults:?}");
    assert_eq!(store.sweep_all().unwrap(), crate::Swept::default());
    let removed = store.remove(&sick.short_id(), Force::No, &nobody).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec![name("sick")], Some(sick.id)));
    store.sweep_all().unwrap();
    assert!(store.check().unwrap().is_empty());
    assert!(store.lower_dirs(&well, &mut Silent).is_ok());
}

#[test]
fn an_id_with_names_in_several_repositories_needs_force() {
    let (_dir, store) = store();
    let image = add(&store, &[tar(&[("a", "")])], &["one", "two"]);
    let remove = |force| store.remove(&image.short_id(), force, &nobody);
    assert!(matches!(remove(Force::No), Err(Error::InUse { .. })));
    assert_eq!(remove(Force::Yes).unwrap().untagged.len(), 2);
}

#[test]
fn a_name_moves_and_its_old_image_stays_without() {
    let (_dir, store) = store();
    let old = add(&store, &[tar(&[("a", "1")])], &["app"]);
    let new = add(&store, &[tar(&[("a", "2")])], &["app"]);
    assert_eq!(store.find("app").unwrap().id, new.id);
    assert!(store.find_id(&old.id).unwrap().names.is_empty());
    store.tag(&old, &name("app")).unwrap();
    assert_eq!(store.find("app").unwrap().id, old.id);
}

#[test]
fn kept_layers_stay_until_they_are_forgotten() {
    let (_dir, store) = store();
    let adding = store.begin().unwrap();
    let stack = [layer(&adding, &tar(&[("a", "1")]))];
    store.keep_layers("k", &stack).unwrap();
    store.lower_dirs_of(&stack, &mut Silent).unwrap();
    drop(adding);
    assert_eq!(store.sweep_all().unwrap(), crate::Swept::default());
    assert_eq!(store.kept_layers().unwrap()["k"], stack);
    store.retain_layers(|_| false).unwrap();
    assert_eq!(store.sweep_all().unwrap().layers.len(), 1);
}

#[test]
fn a_committed_layer_is_the_same_for_the_same_content() {
    let (_dir, store) = store();
    let adding = store.begin().unwrap();
    let upper = tempfile::tempdir().unwrap();
    assert!(adding.commit_layer(upper.path()).unwrap().is_empty());
    fs::write(upper.path().join("a"), "1").unwrap();
    let layer = adding.commit_layer(upper.path()).unwrap();
    assert_eq!(layer, adding.commit_layer(upper.path()).unwrap());
    assert!(!layer.is_empty());
    let dirs = store.lower_dirs_of(&[layer], &mut Silent).unwrap();
    let times = |dir: &std::path::Path| fs::metadata(dir.join("a")).unwrap().modified().unwrap();
    assert_eq!(times(&dirs[0]), times(upper.path()));
}

#[test]
fn bombs_are_refused() {
    let (dir, store) = store();
    let bounds = crate::Bounds { max_members: 3, ..crate::Bounds::up_to(1 << 20) };
    let store = store.with_bounds(bounds);
    let adding = store.begin().unwrap();
    let zeros = "\0".repeat(2 << 20);
    let many = [("a", ""), ("b", ""), ("c", ""), ("d", "")];
    let mut trailing = tar(&[]);
    trailing.resize(2 << 20, 0);
    for tar in [tar(&[("a", &zeros)]), tar(&many), trailing] {
        let manifest = manifest(&adding, &[layer(&adding, &tar)]);
        let error = adding.add_image(&manifest, &[], &mut Silent).unwrap_err();
        let is_named = matches!(error, Error::Layer { .. });
        assert!(is_named, "{error}");
    }
    assert_eq!(nr_files(&dir.path().join("images/layers")), 0);
}

#[test]
fn compression_is_told_by_the_content() {
    let (_dir, store) = store();
    let adding = store.begin().unwrap();
    let plain = tar(&[("a", "1")]);
    let halves = [gzip(&plain[..600]), gzip(&plain[600..])].concat();
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    for packed in [plain.clone(), halves, zstd] {
        adding.add_bytes(&packed).unwrap();
        let blob = Descriptor::of(media_type::DOCKER_LAYER_GZIP, &packed);
        let stack = [Layer { blob, diff_id: Digest::of(&plain) }];
        let dirs = store.lower_dirs_of(&stack, &mut Silent).unwrap();
        assert_eq!(fs::read_to_string(dirs[0].join("a")).unwrap(), "1");
        store.sweep_all().unwrap();
    }
    let xz = [b"\xfd7zXZ\0", &plain[..]].concat();
    adding.add_bytes(&xz).unwrap();
    let blob = Descriptor::of(media_type::OCI_LAYER, &xz);
    let stack = [Layer { blob, diff_id: Digest::of(b"another") }];
    let error = store.lower_dirs_of(&stack, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("xz"), "{error}");
}

/// The record of a layer, as an earlier boot may have left it.
fn rewrite_record(store: &ImageStore, image: &Image, change: impl FnOnce(String) -> String) {
    let layer = store.lower_dir_paths(image)[0].with_file_name("layer.json");
    fs::write(&layer, change(fs::read_to_string(&layer).unwrap())).unwrap();
}

#[test]
fn a_layer_that_an_earlier_boot_left_in_memory_is_unpacked_anew() {
    let left: [fn(String) -> String; 4] = [
        |record| record.replace(&stasis_record::boot_id(), "earlier"),
        // No more than its name was written, or its length.
        |_| String::new(),
        |record| "\0".repeat(record.len()),
        |_| "{}".into(),
    ];
    let (dir, store) = store();
    let image = add(&store, &[tar(&[("a", "1")])], &["app"]);
    let file = store.lower_dir_paths(&image)[0].join("a");
    for change in left {
        fs::write(&file, "").unwrap();
        rewrite_record(&store, &image, change);
        store.lower_dirs(&image, &mut Silent).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        assert_eq!(nr_files(&dir.path().join("images/layers")), 1);
    }
    assert!(store.check().unwrap().is_empty());
}

#[test]
fn a_layer_that_is_on_disk_outlives_the_boot() {
    let (_dir, store) = store();
    let image = add(&store, &[tar(&[("a", "1")])], &["app"]);
    let file = store.lower_dir_paths(&image)[0].join("a");
    store.settle().unwrap();
    rewrite_record(&store, &image, |record| {
        assert!(!record.contains(&stasis_record::boot_id()), "{record}");
        record
    });
    fs::write(&file, "still this one").unwrap();
    store.lower_dirs(&image, &mut Silent).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "still this one");
}

#[test]
fn what_is_left_of_a_layer_after_a_power_cut_is_no_fault() {
    let (_dir, store) = store();
    let image = add(&store, &[tar(&[("a", "1")])], &["app"]);
    rewrite_record(&store, &image, |_| String::new());
    assert!(store.check().unwrap().is_empty());
    let layer = store.lower_dir_paths(&image)[0].parent().unwrap().to_owned();
    fs::remove_dir_all(layer.join("fs")).unwrap();
    assert!(store.check().unwrap().is_empty());
    rewrite_record(&store, &image, |_| "{}".into());
    assert!(!store.check().unwrap().is_empty());
}

#[test]
fn a_layer_is_taken_for_being_on_disk_when_the_kernel_has_had_the_time() {
    let (_dir, store) = store();
    let image = add(&store, &[tar(&[("a", "1")])], &["app"]);
    let record = store.lower_dir_paths(&image)[0].with_file_name("layer.json");
    let names_a_boot = || fs::read_to_string(&record).unwrap().contains(&stasis_record::boot_id());
    store.lower_dirs(&image, &mut Silent).unwrap();
    assert!(names_a_boot());
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::open(&record).unwrap().set_modified(long_ago).unwrap();
    store.lower_dirs(&image, &mut Silent).unwrap();
    assert!(!names_a_boot());
}
