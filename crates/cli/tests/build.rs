//! Images by Dockerfiles: what each instruction does, what is found in the cache, what is told of a
//! mistake, and that nothing is left of a build but its image.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod build_support;
mod container_support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use build_support::{Context, Workshop};
use container_support::{disk::SmallDisk, wait_for};

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n";

// What instructions do

#[test]
fn an_image_on_a_base_tells_its_history() {
    let shop = Workshop::new();
    let context = Context::of(&[("run.sh", "#!/bin/sh\necho ran in $(pwd)\n")]);
    context.set_mode("run.sh", 0o755);
    context.dockerfile("FROM one\nADD run.sh /\nVOLUME /data\nCMD [\"./run.sh\"]\n");
    // A base with one line of history, as those have that were imported.
    let archive = shop.dir().join("one.tar");
    tar(&shop.busybox(), &archive, &[]);
    shop.run(&["import", archive.to_str().unwrap(), "one"]);
    shop.build(&context, &["--tag", "counter"]);
    let history = shop.run(&["history", "counter", "--no-trunc", "--format", "{{.CreatedBy}}"]);
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 4, "{history}");
    assert_eq!(&lines[..3], ["CMD [\"./run.sh\"]", "VOLUME [/data]", "ADD run.sh / # buildkit"]);
    assert_eq!(shop.nr_layers("counter"), 2);
    assert_eq!(shop.run(&["run", "--rm", "--network", "none", "counter"]), "ran in /\n");
}

#[test]
fn settings_come_into_the_configuration() {
    let shop = Workshop::new();
    let context = Context::of(&[]);
    context.dockerfile(
        "ARG FROM_ABOVE=above\nFROM base\nARG FROM_ABOVE\nARG GIVEN=default UNSET\n\
         ENV A=1 B=\"two words\"\nENV C $A-${B}-${GIVEN}-${FROM_ABOVE}-${UNSET:-none}\n\
         LABEL a=b \"c d\"=\"e f\"\nEXPOSE 80 53/udp\nUSER ann:ann\nSTOPSIGNAL SIGINT\n\
         HEALTHCHECK --interval=5s --retries=2 CMD true\nSHELL [\"/bin/sh\", \"-ec\"]\n\
         ENTRYPOINT [\"echo\"]\nCMD shell form\nONBUILD RUN echo later\nWORKDIR /a\nWORKDIR b\n",
    );
    shop.build(&context, &["-t", "x", "--build-arg", "GIVEN=given", "--label", "a=own"]);
    let field = |format: &str| shop.run(&["image", "inspect", "-f", format, "x"]).trim().to_owned();
    assert!(
        field("{{json .Config.Env}}")
            .ends_with(r#""A=1","B=two words","C=1-two words-given-above-none"]"#)
    );
    assert_eq!(field("{{json .Config.Labels}}"), r#"{"a":"own","c d":"e f"}"#);
    assert_eq!(field("{{json .Config.ExposedPorts}}"), r#"{"53/udp":{},"80/tcp":{}}"#);
    assert_eq!(field("{{.Config.User}} {{.Config.StopSignal}}"), "ann:ann SIGINT");
    assert_eq!(field("{{.Config.WorkingDir}}"), "/a/b");
    assert_eq!(field("{{json .Config.Entrypoint}}"), r#"["echo"]"#);
    assert_eq!(field("{{json .Config.Cmd}}"), r#"["/bin/sh","-ec","shell form"]"#);
    assert_eq!(field("{{json .Config.OnBuild}}"), r#"["RUN echo later"]"#);
    assert!(field("{{json .Config.Healthcheck}}").contains(r#""Interval":5000000000"#));
    let history = shop.run(&["history", "x", "--no-trunc", "--format", "{{.CreatedBy}}"]);
    assert!(history.contains("ENV C=1-two words-given-above-none\n"), "{history}");
    assert!(history.contains("EXPOSE map[53/udp:{} 80/tcp:{}]\n"), "{history}");
}

#[test]
fn an_entry_point_puts_the_command_of_the_base_away() {
    let shop = Workshop::new();
    let context = Context::of(&[]);
    context.dockerfile("FROM base\nCMD [\"from base\"]\n");
    shop.build(&context, &["-t", "below"]);
    context.dockerfile("FROM below\nENTRYPOINT [\"echo\", \"entry\"]\n");
    shop.build(&context, &["-t", "x"]);
    let run =
        |words: &[&str]| shop.run(&[&["run", "--rm", "--network", "none", "x"], words].concat());
    assert_eq!(run(&[]), "entry\n");
    assert_eq!(run(&["typed"]), "entry typed\n");
}

#[test]
fn copies_follow_dockers_rules() {
    let shop = Workshop::new();
    let context = Context::of(&[
        ("a.txt", "a"),
        ("b.txt", "b"),
        ("dir/c.txt", "c"),
        ("dir/deep/d.txt", "d"),
        ("dir/skip.log", "x"),
        ("hidden/secret", "x"),
        (".dockerignore", "# comment\nhidden\n**/*.log\n!hidden/shown\n"),
        ("hidden/shown", "s"),
    ]);
    context.set_mode("a.txt", 0o4711);
    symlink("a.txt", context.path("link")).unwrap();
    symlink("deep", context.path("dir/inner")).unwrap();
    context.dockerfile(
        "FROM base\nWORKDIR /w\nCOPY a.txt renamed\nCOPY a.txt b.txt ./\nCOPY dir /new/\n\
         COPY *.txt /glob/\nCOPY --chown=ann --chmod=640 a.txt /owned/\nCOPY --chown=7:8 dir /ids\n\
         COPY link /followed\nCOPY --parents dir/deep/d.txt /p/\nCOPY --exclude=deep dir /less/\n\
         COPY hidden /hidden/\nCOPY [\"a.txt\", \"/with blank/\"]\nCOPY <<one <<\"two\" /texts/\n\
         $PATH\none\n$PATH\ntwo\n",
    );
    shop.build(&context, &["-t", "x"]);
    let find = |path: &str| shop.in_image("x", &format!("find {path} | sort | tr '\\n' ' '"));
    let stat = |path: &str| shop.in_image("x", &format!("stat -c '%a %u:%g' {path}"));
    assert_eq!(find("/w"), "/w /w/a.txt /w/b.txt /w/renamed ");
    assert_eq!(find("/new"), "/new /new/c.txt /new/deep /new/deep/d.txt /new/inner ");
    assert_eq!(find("/glob"), "/glob /glob/a.txt /glob/b.txt ");
    assert_eq!(find("/p"), "/p /p/dir /p/dir/deep /p/dir/deep/d.txt ");
    assert_eq!(find("/less"), "/less /less/c.txt /less/inner ");
    assert_eq!(find("/hidden"), "/hidden /hidden/shown ");
    assert_eq!(find("'/with blank'"), "/with blank /with blank/a.txt ");
    assert_eq!(stat("/w/renamed"), "4711 0:0\n");
    assert_eq!(stat("/owned /owned/a.txt"), "755 1000:1001\n640 1000:1001\n");
    assert_eq!(stat("/ids /ids/deep/d.txt"), "755 7:8\n644 7:8\n");
    assert_eq!(shop.in_image("x", "cat /followed; readlink /new/inner"), "adeep\n");
    let texts = shop.in_image("x", "cat /texts/one /texts/two");
    let (expanded, literal) = texts.split_once('\n').unwrap();
    assert!(expanded.starts_with("/usr/local/sbin:") && literal == "$PATH\n", "{texts}");
}

#[test]
fn archives_are_unpacked_by_add_and_by_nobody_else() {
    let shop = Workshop::new();
    let context = Context::of(&[("tree/f", "inside"), ("plain.gz", "no archive")]);
    for (name, options) in [("a.tar", &[][..]), ("a.tgz", &["-z"]), ("a.txz", &["-J"])] {
        tar(&context.path("tree"), &context.path(name), options);
    }
    context.dockerfile(
        "FROM base\nADD a.tar /tar/\nADD a.tgz /tgz\nADD --chown=5:6 a.txz /txz/\n\
         ADD plain.gz /plain/\nCOPY a.tar /copied\n",
    );
    shop.build(&context, &["-t", "x"]);
    assert_eq!(shop.in_image("x", "cat /tar/f /tgz/f /txz/f"), "insideinsideinside");
    assert_eq!(shop.in_image("x", "stat -c %u:%g /txz/f; cat /plain/plain.gz"), "5:6\nno archive");
    assert_eq!(shop.in_image("x", "tar tf /copied | tail -1"), "./f\n");
}

#[test]
fn commands_run_in_all_forms() {
    let shop = Workshop::new();
    let context = Context::of(&[]);
    context.dockerfile(
        "FROM base\nARG WHO=arg\nENV X=env\nWORKDIR /w\n\
         RUN echo \"$WHO $X $(pwd) $(id -u)\" > shell && chmod 1777 /tmp\n\
         RUN [\"/bin/sh\", \"-c\", \"echo $WHO > exec\"]\n\
         RUN <<EOF\necho first > heredoc\necho second >> heredoc\nEOF\n\
         RUN cat <<A - <<B > both && echo end >> both\none\nA\ntwo\nB\n\
         RUN <<EOF\n#!/bin/cat\nprogram\nEOF\n\
         SHELL [\"/bin/sh\", \"-xc\"]\nRUN echo traced\n\
         RUN --network=none ip -o addr | grep -v ' lo ' | wc -l > interfaces\n\
         USER ann\nRUN id -u > /tmp/user; echo $HOME >> /tmp/user\n",
    );
    let told = shop.build(&context, &["-t", "x"]);
    assert!(told.contains(" program\n") && told.contains(" + echo traced\n"), "{told}");
    let cat = |path: &str| shop.in_image("x", &format!("cat {path}"));
    assert_eq!(cat("/w/shell"), "arg env /w 0\n");
    assert_eq!(cat("/w/exec"), "arg\n");
    assert_eq!(cat("/w/heredoc"), "first\nsecond\n");
    assert_eq!(cat("/w/both"), "two\nend\n");
    assert_eq!(cat("/w/interfaces"), "0\n");
    assert_eq!(cat("/tmp/user"), "1000\n/home/ann\n");
    let history = shop.run(&["history", "x", "--no-trunc", "--format", "{{.CreatedBy}}"]);
    assert!(history.contains("RUN |1 WHO=arg /bin/sh -c echo \"$WHO"), "{history}");
}

#[test]
fn mounts_are_seen_by_the_command_and_by_no_layer() {
    let shop = Workshop::new();
    let context =
        Context::of(&[("from-context", "1"), (".dockerignore", "ignored\n"), ("ignored", "")]);
    let secret = shop.dir().join("secret");
    fs::write(&secret, "sesame-open").unwrap();
    context.dockerfile(
        "FROM base AS other\nRUN echo other > /other\n\
         FROM base\nARG ROUND\n\
         RUN --mount=type=cache,target=/root/.cache/tool echo $ROUND >> /root/.cache/tool/n && \
             cat /root/.cache/tool/n\n\
         RUN --mount=type=secret,id=key --mount=type=secret,id=key,env=KEY,target=/k \
             cat /run/secrets/key /k && test ${#KEY} = 11 && stat -c %a /k\n\
         RUN --mount=from=other,source=/other,target=/seen/other cat /seen/other\n\
         RUN --mount=target=/context,rw ls /context && touch /context/new\n\
         RUN --mount=type=tmpfs,target=/memory,size=1m echo x > /memory/x && df /memory | tail -1\n\
         RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n",
    );
    let key = format!("id=key,src={}", secret.display());
    let build =
        |round: &str| shop.build(&context, &["-t", "x", "--secret", &key, "--build-arg", round]);
    let told = build("ROUND=one");
    for line in ["one", "sesame-opensesame-open400", "other", "from-context"] {
        assert!(told.contains(&format!(" {line}\n")), "{line}: {told}");
    }
    assert!(!told.contains(" ignored\n"), "{told}");
    assert!(build("ROUND=two").contains(" one\n#"), "the cache was lost");
    // Nothing but the base: every mount point is gone, and no step has changed a file.
    assert_eq!(shop.nr_layers("x"), shop.nr_layers("base"));
    assert!(!context.path("new").exists());
    let found =
        Command::new("grep").args(["-rl", "sesame-open"]).arg(shop.root()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    fs::remove_file(secret).unwrap();
}

#[test]
fn a_layer_holds_what_its_step_has_changed_and_nothing_else() {
    let shop = Workshop::new();
    let context = Context::of(&[("f", "x")]);
    context.dockerfile("FROM base\nRUN echo x > /etc/made && rm /bin/ls\nCOPY f /etc/\nRUN true\n");
    shop.build(&context, &["-t", "x"]);
    assert_eq!(shop.nr_layers("x"), shop.nr_layers("base") + 2);
    assert_eq!(shop.layer("x", 1), ["bin/", "bin/.wh.ls", "etc/", "etc/made"]);
    assert_eq!(shop.layer("x", 0), ["etc/", "etc/f"]);
}

#[test]
fn files_come_from_urls() {
    let shop = Workshop::new();
    let context = Context::of(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/dir/file.txt?x=1", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut question = [0; 4096];
            let _ = stream.read(&mut question);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\
                  Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\nhello",
            );
        }
    });
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    context.dockerfile(&format!("FROM base\nADD --checksum={digest} {url} /got/\nADD {url} /as\n"));
    shop.build(&context, &["-t", "x"]);
    let seen = shop.in_image("x", "cat /got/file.txt; stat -c '%a %Y' /got/file.txt /as");
    assert_eq!(seen, "hello600 1445412480\n600 1445412480\n");
    context
        .dockerfile(&format!("FROM base\nADD --checksum={} {url} /\n", digest.replace('f', "e")));
    let refused = shop.try_build(&context, &[]);
    assert!(refused.code == 1 && refused.err.contains("--checksum says"), "{refused:?}");
}

// Stages

#[test]
fn stages_are_built_when_they_are_needed() {
    let shop = Workshop::new();
    let context = Context::of(&[]);
    context.dockerfile(
        "FROM base AS first\nRUN echo one > /one && chown ann /one\n\
         FROM base AS unused\nRUN false\n\
         FROM first AS second\nRUN echo two > /two\n\
         FROM scratch\nCOPY --from=second /one /two /\nCOPY --from=0 /one /again\n\
         COPY --from=base /bin/busybox /busybox\nCMD [\"/busybox\"]\n",
    );
    shop.build(&context, &["-t", "x"]);
    assert_eq!(shop.layer("x", 2), ["one", "two"]);
    let seen = shop.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "x",
        "/busybox",
        "stat",
        "-c",
        "%u",
        "/one",
    ]);
    assert_eq!(seen, "1000\n");
    shop.build(&context, &["-t", "y", "--target", "second"]);
    assert_eq!(shop.in_image("y", "cat /one /two"), "one\ntwo\n");
    let failed = shop.try_build(&context, &["--target", "unused"]);
    assert!(failed.code == 1 && failed.err.contains("Dockerfile:4:1: RUN false\n"), "{failed:?}");
    let none = shop.try_build(&context, &["--target", "nine"]);
    assert!(none.err.contains("\"nine\" could not be found"), "{none:?}");
}

#[test]
fn triggers_are_followed_by_who_builds_on_the_image() {
    let shop = Workshop::new();
    let context = Context::of(&[("f", "x")]);
    context.dockerfile("FROM base\nONBUILD COPY f /copied\nONBUILD RUN echo $HOME > /ran\n");
    shop.build(&context, &["-t", "below"]);
    assert_eq!(shop.nr_layers("below"), shop.nr_layers("base"));
    context.dockerfile("FROM below\n");
    shop.build(&context, &["-t", "x"]);
    assert_eq!(shop.in_image("x", "cat /copied /ran"), "x/root\n");
    let left = shop.run(&["image", "inspect", "-f", "{{json .Config.OnBuild}}", "x"]);
    assert_eq!(left, "null\n");
}

// The cache

#[test]
fn what_was_done_before_is_not_done_again() {
    let shop = Workshop::new();
    let context = Context::of(&[("a", "1"), ("b", "1")]);
    context.dockerfile("FROM base\nCOPY a /a\nRUN cat /a > /copy\nCOPY b /b\nENV X=1\n");
    let cached = |told: &str| told.matches(" CACHED\n").count();
    let first = shop.build(&context, &["-t", "x"]);
    assert_eq!(cached(&first), 0);
    let id = shop.id("x");
    assert_eq!(cached(&shop.build(&context, &["-t", "x"])), 4);
    assert_eq!(shop.id("x"), id);
    // Times do not count, contents and modes do.
    fs::File::open(context.path("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(cached(&shop.build(&context, &["-t", "x"])), 4);
    context.write("b", "2");
    assert_eq!(cached(&shop.build(&context, &["-t", "x"])), 2);
    context.set_mode("a", 0o600);
    assert_eq!(cached(&shop.build(&context, &["-t", "x"])), 0);
    assert_eq!(cached(&shop.build(&context, &["-t", "x", "--no-cache"])), 0);
    assert_ne!(shop.id("x"), id);
    shop.run(&["builder", "prune", "-f"]);
    assert_eq!(cached(&shop.build(&context, &["-t", "x"])), 0);
    assert_eq!(shop.run(&["system", "check"]), "nothing is wrong\n");
}

#[test]
fn the_same_context_makes_the_same_layers() {
    let shop = Workshop::new();
    let context = Context::of(&[("d/f", "1"), ("g", "2")]);
    context.dockerfile(
        "FROM base\nWORKDIR /new/dir\nCOPY d /etc/\nCOPY g /bin/g\nCOPY <<E /text\nx\nE\n",
    );
    let layers = || {
        shop.build(&context, &["-t", "x", "--no-cache"]);
        shop.run(&["image", "inspect", "-f", "{{json .RootFS.Layers}}", "x"])
    };
    assert_eq!(layers(), layers());
    let made = |seconds: &str| {
        let mut command = shop.command(&["build", "-q", "--no-cache"]);
        command.arg(context.dir()).env("SOURCE_DATE_EPOCH", seconds);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(made("1000"), made("1000"));
    assert_ne!(made("1000"), made("2000"));
}

#[test]
fn one_layer_if_asked_for() {
    let shop = Workshop::new();
    let context = Context::of(&[("f", "x")]);
    context.dockerfile(
        "FROM base\nRUN echo 1 > /one && rm /bin/ls\nRUN rm /one && echo 2 > /two\nCOPY f /etc/f\n",
    );
    shop.build(&context, &["-t", "x", "--squash"]);
    assert_eq!(shop.nr_layers("x"), shop.nr_layers("base") + 1);
    assert_eq!(shop.layer("x", 0), ["bin/", "bin/.wh.ls", "etc/", "etc/f", "two"]);
    assert_eq!(shop.in_image("x", "cat /two /etc/f; ls /one"), "2\nx");
}

// Where things come from

#[test]
fn dockerfiles_and_contexts_come_from_standard_input() {
    let shop = Workshop::new();
    let context = Context::of(&[("f", "from context"), ("sub/Other", "FROM base\nCOPY f /g\n")]);
    let piped = |args: &[&str], file: &Path| {
        let mut command = shop.command(args);
        let done = command.stdin(fs::File::open(file).unwrap()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let text = shop.dir().join("text");
    fs::write(&text, "FROM base\nRUN echo alone > /f\n").unwrap();
    piped(&["build", "-t", "a", "-"], &text);
    assert_eq!(shop.in_image("a", "cat /f"), "alone\n");
    fs::write(&text, "FROM base\nCOPY f /f\n").unwrap();
    piped(&["build", "-t", "b", "-f", "-", context.dir()], &text);
    assert_eq!(shop.in_image("b", "cat /f"), "from context");
    let archive = shop.dir().join("context.tar.gz");
    tar(Path::new(context.dir()), &archive, &["-z"]);
    piped(&["build", "-t", "c", "-f", "sub/Other", "-"], &archive);
    assert_eq!(shop.in_image("c", "cat /g"), "from context");
    shop.build(&context, &["-t", "d", "-f", context.path("sub/Other").to_str().unwrap()]);
    assert_eq!(shop.id("c"), shop.id("d"));
    let ids = shop.dir().join("id");
    let quiet = shop.run(&[
        "image",
        "build",
        "-q",
        "--iidfile",
        ids.to_str().unwrap(),
        "-f",
        "sub/Other",
        context.dir(),
    ]);
    assert_eq!(quiet.trim(), fs::read_to_string(ids).unwrap());
}

#[test]
fn links_lead_nowhere_else() {
    let shop = Workshop::new();
    let context = Context::of(&[("d/f", "mine")]);
    let outside = shop.dir().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("theirs"), "theirs").unwrap();
    symlink(&outside, context.path("out")).unwrap();
    context.dockerfile("FROM base\nCOPY out/theirs /x\n");
    let refused = shop.try_build(&context, &[]);
    assert!(refused.err.contains("\"out/theirs\" is not there"), "{refused:?}");
    context.dockerfile("FROM base\nCOPY ../outside/theirs /x\n");
    assert_eq!(shop.try_build(&context, &[]).code, 1);
    // A link of the image that would lead out of it, for each who follows it outside.
    let up = format!("{}{}", "../".repeat(12), outside.strip_prefix("/").unwrap().display());
    context.dockerfile(&format!(
        "FROM base\nRUN ln -s {up} /up && mkdir -p {0}\nCOPY d /up/\nCOPY <<E /up/text\nx\nE\n\
         WORKDIR /up/made\nRUN --mount=type=tmpfs,target=/up/point true\n",
        outside.display()
    ));
    shop.build(&context, &["-t", "x"]);
    let names = fs::read_dir(&outside).unwrap().count();
    assert_eq!(names, 1, "something was written outside");
    let inside = shop.in_image("x", &format!("ls {}", outside.display()));
    assert_eq!(inside, "f\nmade\ntext\n");
}

#[test]
fn mistakes_are_told_with_their_place() {
    let shop = Workshop::new();
    let context = Context::of(&[("f", "")]);
    let check = |dockerfile: &str, parts: &[&str]| {
        context.dockerfile(dockerfile);
        let done = shop.try_build(&context, &["-t", "wrong"]);
        assert_eq!(done.code, 1, "{done:?}");
        for part in parts {
            assert!(done.err.contains(part), "{part:?} is not in {done:?}");
        }
    };
    check(
        "FORM base\n",
        &["Dockerfile:1:1: unknown instruction \"FORM\"", "hint:  expected one of"],
    );
    check("FROM base\nCOPY --frm=x a b\n", &["Dockerfile:2:6: unknown flag --frm of COPY"]);
    check(
        "FROM base\nRUN echo before && \\\n  exit 7\n",
        &[
            "before\n",
            "error: Dockerfile:2:1: RUN echo before &&",
            "cause: the command ended with exit code 7",
        ],
    );
    check("FROM base\nRUN nothing-here\n", &["exit code 127", "hint:  the program was not found"]);
    check("FROM base\nRUN [\"nothing-here\"]\n", &["Dockerfile:2:1:", "executable file not found"]);
    check("FROM base\n\nCOPY nothing /\n", &["Dockerfile:3:1:", "\"nothing\" is not there"]);
    check("FROM base\nCOPY f f /x\n", &["end the destination with a slash"]);
    check("FROM base\nUSER eve\nRUN true\n", &["Dockerfile:3:1:", "unable to find user eve"]);
    check("FROM base\nCOPY --chown=eve f /\n", &["unable to find user eve"]);
    check("FROM base\nENV a=${b\n", &["Dockerfile:2:1:", "is not closed"]);
    check("FROM base\nRUN --mount=type=secret,id=k,required true\n", &["--secret id=k,src=FILE"]);
    check("FROM base\nRUN --security=insecure true\n", &["--security=insecure is not supported"]);
    check("FROM base\nADD https://host.example/x.git /\n", &["git repositories are not supported"]);
    assert_eq!(shop.run(&["images", "-q", "wrong"]), "");
    assert!(shop.try_run(&["build", "https://host.example/x.git"]).err.contains("contexts are"));
}

// Being cut off

/// A build whose command prints and sleeps.
fn sleeping(shop: &Workshop, context: &Context) -> std::process::Child {
    context.dockerfile("FROM base\nRUN echo asleep && sleep 1000\n");
    let mut child = shop
        .command(&["build", "-t", "cut", context.dir()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    let output = child.stderr.as_mut().unwrap();
    while !told.ends_with(b" asleep\n") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&told));
        told.push(byte[0]);
    }
    child
}

#[test]
fn a_build_that_is_cut_off_leaves_nothing() {
    let shop = Workshop::new();
    let context = Context::of(&[]);
    let mut child = sleeping(&shop, &context);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(wait_for(&mut child, Duration::from_secs(20)).code(), Some(130));
    assert_eq!(shop.traces(), Vec::<String>::new());

    let mut child = sleeping(&shop, &context);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!shop.traces().is_empty(), "there was nothing to clean");
    shop.run(&["ps"]);
    assert_eq!(shop.traces(), Vec::<String>::new());
    assert_eq!(shop.run(&["images", "-q", "cut"]), "");
    assert_eq!(shop.run(&["system", "check"]), "nothing is wrong\n");
}

/// Killed at every part of its time, also while a container is just being made.
#[test]
fn builds_that_are_killed_at_any_moment_are_cleaned_up() {
    let shop = Workshop::new();
    let context = Context::of(&[("f", "x")]);
    context.dockerfile(
        "FROM base\nARG N\nRUN echo $N > /a\nCOPY f /f\n\
         RUN --mount=type=cache,target=/c echo $N >> /c/x\nWORKDIR /w\n",
    );
    let began = Instant::now();
    shop.build(&context, &["-t", "whole", "--build-arg", "N=0"]);
    let whole = began.elapsed();
    let rounds = 20;
    for round in 1..=rounds {
        let number = format!("N={round}");
        let mut command = shop.command(&["build", "-q", "-t", "cut", "--build-arg", &number]);
        let mut child = command.arg(context.dir()).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(whole * round / rounds);
        child.kill().unwrap();
        child.wait().unwrap();
        shop.run(&["ps"]);
        assert_eq!(shop.traces(), Vec::<String>::new(), "round {round}");
    }
    assert_eq!(shop.run(&["system", "check"]), "nothing is wrong\n");
    shop.build(&context, &["-t", "cut", "--build-arg", "N=last"]);
    assert_eq!(shop.in_image("cut", "cat /a /f"), "last\nx");
}

#[test]
fn a_full_disk_is_told_and_leaves_no_half_image() {
    let shop = Workshop::on_disk(|root| SmallDisk::new(root, 9000));
    let context = Context::of(&[]);
    context
        .dockerfile("FROM base\nRUN echo x > /x\nRUN dd if=/dev/zero of=/large bs=64k count=150\n");
    let done = shop.try_build(&context, &["-t", "large"]);
    assert!(done.code == 1 && done.err.contains("No space left"), "{done:?}");
    assert_eq!(shop.traces(), Vec::<String>::new());
    assert_eq!(shop.run(&["images", "-q", "large"]), "");
    assert_eq!(shop.run(&["system", "check"]), "nothing is wrong\n");
    context.dockerfile("FROM base\nRUN echo x > /x\nRUN echo small > /y\n");
    assert!(shop.build(&context, &["-t", "small"]).contains(" CACHED\n"));
}

// A real program

#[test]
fn a_counter_server_in_python_is_built_and_runs() {
    let Some(python) = build_support::python() else {
        panic!("this test needs Debian's python3, which cargo xtask test installs");
    };
    let shop = Workshop::new();
    let context = Context::of(&[(
        "counter.py",
        "import http.server\n\
         class Counter(http.server.BaseHTTPRequestHandler):\n\
         \x20   count = 0\n\
         \x20   def do_GET(self):\n\
         \x20       Counter.count += 1\n\
         \x20       self.send_response(200)\n\
         \x20       self.end_headers()\n\
         \x20       self.wfile.write(b'%d\\n' % Counter.count)\n\
         http.server.HTTPServer(('127.0.0.1', 8080), Counter).serve_forever()\n",
    )]);
    python.copy_to(&context.path("python"));
    context.dockerfile(&format!(
        "FROM base\nCOPY python /\nCOPY counter.py /\nENV PYTHONDONTWRITEBYTECODE=1\nEXPOSE 8080\n\
         CMD [\"{}\", \"/counter.py\"]\n",
        python.program()
    ));
    shop.build(&context, &["-t", "counter"]);
    shop.run(&["run", "-d", "--name", "c", "--network", "none", "counter"]);
    let ask = || shop.try_run(&["exec", "c", "wget", "-qO-", "http://127.0.0.1:8080/"]).out;
    shop.eventually("the server never answered", || ask() == "1\n");
    assert_eq!(ask(), "2\n");
}

fn tar(dir: &Path, archive: &Path, options: &[&str]) {
    let mut command = Command::new("tar");
    command.args(options).arg("-C").arg(dir).arg("-cf").arg(archive).arg(".");
    assert!(command.status().unwrap().success());
}
