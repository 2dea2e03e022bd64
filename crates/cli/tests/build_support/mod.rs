//! An engine with a base image, contexts, and a look into the images that are built.

use std::{
    fs::{self, File},
    ops::Deref,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::container_support::{Done, Engine, disk::SmallDisk};

/// An engine with the image `base`: a static busybox, and the user ann.
pub struct Workshop {
    engine: Engine,
    _disk: Option<SmallDisk>,
}

impl Deref for Workshop {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Workshop {
    pub fn new() -> Workshop {
        Workshop::with(Engine::new(), None)
    }

    /// With its root on a disk that the caller makes.
    pub fn on_disk(make: impl FnOnce(&Path) -> SmallDisk) -> Workshop {
        let engine = Engine::new();
        let disk = make(&engine.root());
        Workshop::with(engine, Some(disk))
    }

    fn with(engine: Engine, disk: Option<SmallDisk>) -> Workshop {
        let dockerfile = format!(
            "FROM scratch\nADD . /\nCOPY <<E /etc/passwd\n{}E\n\
             COPY <<E /etc/group\nroot:x:0:\nann:x:1001:\nE\nCMD [\"sh\"]\n",
            crate::PASSWD
        );
        let busybox = engine.busybox();
        let args = ["build", "-q", "-t", "base", "-f", "-", busybox.to_str().unwrap()];
        let done = engine.run_with_input(&args, &dockerfile);
        assert_eq!(done.code, 0, "{done:?}");
        Workshop { engine, _disk: disk }
    }

    pub fn dir(&self) -> &Path {
        self.engine.dir.path()
    }

    pub fn try_build(&self, context: &Context, options: &[&str]) -> Done {
        self.try_run(&[&["build"], options, &[context.dir()]].concat())
    }

    /// Builds what must succeed; gives what was told of it.
    pub fn build(&self, context: &Context, options: &[&str]) -> String {
        let done = self.try_build(context, options);
        assert_eq!(done.code, 0, "{done:?}");
        done.err
    }

    /// What a shell in a container of the image prints.
    pub fn in_image(&self, image: &str, script: &str) -> String {
        self.try_run(&[
            "run",
            "--rm",
            "--network",
            "none",
            "-u",
            "0",
            "--entrypoint",
            "/bin/sh",
            image,
            "-c",
            script,
        ])
        .out
    }

    pub fn id(&self, image: &str) -> String {
        self.images().find(image).unwrap().id.to_string()
    }

    pub fn nr_layers(&self, image: &str) -> usize {
        self.images().find(image).unwrap().layers().len()
    }

    /// The members of a layer, counted from the top; sorted.
    pub fn layer(&self, image: &str, from_top: usize) -> Vec<String> {
        let layers = self.images().find(image).unwrap().layers();
        let digest = layers[layers.len() - 1 - from_top].blob.digest;
        let file: File = self.images().open_blob(&digest).unwrap();
        let listed = Command::new("tar").arg("-t").stdin(Stdio::from(file)).output().unwrap();
        let mut names: Vec<String> =
            String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// What builds have left: mounts, containers, directories.
    pub fn traces(&self) -> Vec<String> {
        let mut traces = self.leftovers();
        traces.retain(|trace| !trace.ends_with(" small rw") && !trace.contains(" tmpfs small "));
        for dir in ["root/builds", "run/builds"] {
            let entries = fs::read_dir(self.dir().join(dir)).into_iter().flatten().flatten();
            let dirs = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
            traces.extend(dirs.map(|path| path.display().to_string()));
        }
        traces
    }
}

/// A directory with the files of a build.
pub struct Context(tempfile::TempDir);

impl Context {
    pub fn of(files: &[(&str, &str)]) -> Context {
        let context = Context(tempfile::tempdir().unwrap());
        for (path, text) in files {
            context.write(path, text);
        }
        context
    }

    pub fn dir(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    pub fn dockerfile(&self, text: &str) {
        self.write("Dockerfile", text);
    }

    pub fn set_mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// The python of this machine: what of it a small server needs.
pub struct Python {
    program: PathBuf,
    files: Vec<PathBuf>,
    modules: PathBuf,
}

/// Parts of the library that are large, or another package's.
const LEFT_OUT: [&str; 8] = [
    "test",
    "__pycache__",
    "dist-packages",
    "idlelib",
    "lib2to3",
    "ensurepip",
    "pydoc_data",
    "distutils",
];

pub fn python() -> Option<Python> {
    let program = fs::canonicalize("/usr/bin/python3").ok()?;
    let listed = Command::new("ldd").arg(&program).output().ok()?;
    let text = String::from_utf8(listed.stdout).ok()?;
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    let files = libraries.map(PathBuf::from).chain([program.clone()]).collect();
    let modules = Path::new("/usr/lib").join(program.file_name()?);
    modules.is_dir().then_some(Python { program, files, modules })
}

impl Python {
    pub fn program(&self) -> &str {
        self.program.to_str().unwrap()
    }

    pub fn copy_to(&self, root: &Path) {
        for file in &self.files {
            let to = root.join(file.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, to).unwrap();
        }
        copy_modules(&self.modules, &root.join(self.modules.strip_prefix("/").unwrap()));
    }
}

fn copy_modules(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let is_left_out = LEFT_OUT.contains(&name.as_str()) || name.starts_with("config-");
        match entry.file_type().unwrap() {
            _ if is_left_out => {}
            kind if kind.is_dir() => copy_modules(&entry.path(), &to.join(name)),
            kind if kind.is_file() => drop(fs::copy(entry.path(), to.join(name)).unwrap()),
            _ => {}
        }
    }
}
