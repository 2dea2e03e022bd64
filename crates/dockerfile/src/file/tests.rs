use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    Access, Base, Command, Copy, Expander, Globals, Healthcheck, MountKind, Origin, Pair, Platform,
    RunNetwork, Scope, Script, Source,
};

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse(text.as_bytes()).unwrap()
}

fn error(text: &str) -> Error {
    Dockerfile::parse(text.as_bytes()).unwrap_err()
}

/// The only instruction after a `FROM`.
fn instruction(text: &str) -> Instruction {
    let mut file = parse(&format!("FROM scratch\n{text}\n"));
    assert_eq!(file.stages[0].steps.len(), 1, "{text}");
    file.stages[0].steps.remove(0).instruction
}

fn refused(text: &str, place: (usize, usize), what: &str) {
    let error = error(text);
    assert_eq!((error.place.line, error.place.column), place, "{text:?}: {error}");
    assert!(error.what.contains(what), "{text:?}: {error}");
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pair(key: &str, value: &str) -> Pair {
    Pair { key: key.into(), value: value.into() }
}

fn amd64() -> Platform {
    Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() }
}

fn globals(given: &[(&str, &str)]) -> Globals {
    let given = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Globals::new(given, &amd64(), &amd64())
}

#[test]
fn commands_have_two_forms() {
    let shell = |text: &str| Command::Shell(text.into());
    assert_eq!(
        instruction("CMD [\"a\", \"b c\"]"),
        Instruction::Cmd(Command::Exec(strings(&["a", "b c"])))
    );
    assert_eq!(instruction("cmd  a  b "), Instruction::Cmd(shell("a  b")));
    assert_eq!(instruction("CMD [a, b]"), Instruction::Cmd(shell("[a, b]")));
    assert_eq!(instruction("ENTRYPOINT []"), Instruction::Entrypoint(Command::Exec(vec![])));
    assert_eq!(instruction("SHELL [\"/bin/sh\"]"), Instruction::Shell(strings(&["/bin/sh"])));
    refused("FROM a\nSHELL /bin/sh", (2, 7), "JSON form");
    refused("FROM a\nCMD [1]", (2, 5), "not a string");
    refused("FROM a\nRUN", (2, 1), "at least one argument");
    refused("FROM a\nRUN []", (2, 1), "at least one argument");
}

#[test]
fn pairs_in_both_forms() {
    assert_eq!(
        instruction("ENV a=1 b=\"x y\" c=$a"),
        Instruction::Env(vec![pair("a", "1"), pair("b", "\"x y\""), pair("c", "$a")])
    );
    assert_eq!(
        instruction("LABEL key the value"),
        Instruction::Label(vec![pair("key", "the value")])
    );
    assert_eq!(instruction("ENV a=b=c"), Instruction::Env(vec![pair("a", "b=c")]));
    refused("FROM a\nENV a=1 b", (2, 9), "cannot find =");
    refused("FROM a\nENV a", (2, 5), "needs a value");
    refused("FROM a\nENV =x", (2, 5), "blank");
    refused("FROM a\nENV a=1 \\\n   =2", (3, 4), "blank");
}

#[test]
fn copies_with_flags() {
    let Instruction::Copy(Copy { from, transfer }) = instruction(
        "COPY --from=b --chown=1:2 --chmod=755 --link --exclude=*.o --exclude=x a b c/",
    ) else {
        panic!()
    };
    assert_eq!(from.as_deref(), Some("b"));
    assert_eq!(transfer.sources, [Source::Path("a".into()), Source::Path("b".into())]);
    assert_eq!(transfer.destination, "c/");
    assert_eq!((transfer.owner.as_deref(), transfer.mode.as_deref()), (Some("1:2"), Some("755")));
    assert_eq!(transfer.exclude, ["*.o", "x"]);
    let Instruction::Add(add) = instruction("ADD [\"a b\", \"/c\"]") else { panic!() };
    assert_eq!(add.transfer.sources, [Source::Path("a b".into())]);
    refused("FROM a\nCOPY --frm=x a b", (2, 6), "unknown flag --frm of COPY");
    refused("FROM a\nCOPY --chown=1 --chown=2 a b", (2, 16), "twice");
    refused("FROM a\nCOPY --chown a b", (2, 6), "needs a value");
    refused("FROM a\nCOPY a", (2, 1), "two arguments");
    refused("FROM a\nUSER --x=1 b", (2, 6), "unknown flag");
}

#[test]
fn heredocs() {
    let Instruction::Copy(copy) = instruction("COPY <<a <<\"b\" /d/\n1\na\n$x\nb") else {
        panic!()
    };
    let names: Vec<_> = copy
        .transfer
        .sources
        .iter()
        .map(|source| match source {
            Source::Inline(heredoc) => (heredoc.name.clone(), heredoc.body.clone()),
            Source::Path(path) => panic!("{path}"),
        })
        .collect();
    assert_eq!(names, [("a".into(), "1\n".into()), ("b".to_owned(), "$x\n".to_owned())]);

    let script = |text: &str| match instruction(text) {
        Instruction::Run(run) => run.script(),
        other => panic!("{other:?}"),
    };
    assert_eq!(script("RUN <<E\na\nb\nE"), Script::Shell("a\nb\n".into()));
    assert_eq!(script("RUN <<-E\n\ta\n\tE"), Script::Shell("a\n".into()));
    assert_eq!(script("RUN <<E\n#!/bin/x\nE"), Script::Program("#!/bin/x\n".into()));
    assert_eq!(script("RUN cat <<E > /x\na\nE"), Script::Shell("cat <<E > /x\na\nE\n".into()));
    assert_eq!(script("RUN [\"a\"]"), Script::Exec(strings(&["a"])));
    assert_eq!(
        instruction("ONBUILD RUN cat <<E\nx\nE"),
        Instruction::Onbuild("RUN cat <<E\nx\nE\n".into())
    );
    refused("FROM a\nRUN <<E\nx\n", (2, 1), "never closed");
}

#[test]
fn mounts_and_networks_of_run() {
    let Instruction::Run(run) = instruction("RUN --mount=from=a,target=/x --network=none true")
    else {
        panic!()
    };
    assert_eq!(run.network, RunNetwork::None);
    assert_eq!(run.mount_origins().map(|(name, _)| name).collect::<Vec<_>>(), ["a"]);
    let none = |_: &str| None;
    let mounts = run.mounts(&Expander::new('\\', &none)).unwrap();
    let MountKind::Bind { target, access, .. } = &mounts[0].kind else { panic!() };
    assert_eq!((target.as_str(), *access), ("/x", Access::ReadOnly));
    refused("FROM a\nRUN --mount=type=x,target=/a true", (2, 5), "unknown type");
    refused("FROM a\nRUN --network=bridge true", (2, 5), "unknown network");
}

#[test]
fn health_checks() {
    let Instruction::Healthcheck(Healthcheck::Probe(probe)) =
        instruction("HEALTHCHECK --interval=1m30s --retries=3 CMD curl x")
    else {
        panic!()
    };
    assert_eq!((probe.interval_ns, probe.retries), (Some(90_000_000_000), Some(3)));
    assert_eq!(probe.test, Command::Shell("curl x".into()));
    assert_eq!(instruction("HEALTHCHECK NONE"), Instruction::Healthcheck(Healthcheck::None));
    refused("FROM a\nHEALTHCHECK --interval=3 CMD x", (2, 13), "not a duration");
    refused("FROM a\nHEALTHCHECK ONCE", (2, 13), "unknown form");
}

#[test]
fn stages_and_what_stands_before_them() {
    refused("RUN x\nFROM a", (1, 1), "no build stage");
    refused("# only a comment\n", (1, 1), "no stage");
    refused("FROM a b", (1, 1), "one or three");
    refused("FROM a AS 1", (1, 11), "cannot be the name");
    refused("FORM a", (1, 1), "unknown instruction \"FORM\"");
    refused("FROM a\nONBUILD FROM b", (2, 9), "FROM cannot be");
    refused("FROM a\nONBUILD RNU b", (2, 9), "unknown instruction");
    assert_eq!(
        Dockerfile::parse(b"FROM a\nRUN \xff").unwrap_err().place,
        Place { line: 2, column: 5 }
    );
    assert_eq!(parse("# escape=`\nFROM a\nRUN x `\n y\n").stages[0].steps[0].text, "RUN x  y");
}

const STAGES: &str = "\
ARG TAG=1
FROM base:${TAG} AS one
FROM one AS two
COPY --from=three:x / /
FROM scratch AS unused
FROM --platform=$BUILDPLATFORM other
COPY --from=two / /
RUN --mount=from=0,target=/x true
";

fn planned(target: Option<&str>, given: &[(&str, &str)]) -> Vec<(usize, Base)> {
    let file = parse(STAGES);
    let plan = file.plan(target, globals(given)).unwrap();
    plan.stages.into_iter().map(|stage| (stage.index, stage.base)).collect()
}

#[test]
fn only_needed_stages_are_planned() {
    let image = |name: &str, platform: Option<&str>| Base::Image {
        name: name.into(),
        platform: platform.map(str::to_owned),
    };
    assert_eq!(
        planned(None, &[]),
        [(0, image("base:1", None)), (1, Base::Stage(0)), (3, image("other", Some("linux/amd64")))]
    );
    assert_eq!(planned(Some("ONE"), &[("TAG", "9")]), [(0, image("base:9", None))]);
    assert_eq!(planned(Some("2"), &[]), [(2, Base::Scratch)]);
    let file = parse(STAGES);
    assert!(file.plan(Some("nine"), globals(&[])).unwrap_err().hint.unwrap().contains("unused"));
    assert_eq!(file.origin(1, "three:x", Place::START), Ok(Origin::Image("three:x".into())));
    assert!(file.origin(1, "two", Place::START).is_err());
    assert!(file.origin(1, "7", Place::START).is_err());
    let unset = parse("FROM $X");
    assert!(unset.plan(None, globals(&[])).unwrap_err().what.contains("empty"));
}

fn scope_after(declarations: &[(&str, Option<&str>)], globals: &Globals) -> Scope {
    let mut scope = globals.stage(vec![("E".into(), "env".into())]);
    for (name, default) in declarations {
        let default = default.map(str::to_owned);
        scope.declare(&crate::ArgDeclaration { name: (*name).into(), default });
    }
    scope
}

#[test]
fn arguments_are_seen_where_they_are_declared() {
    let file = parse("ARG G=global\nARG H=$G\nFROM scratch");
    let given = globals(&[("A", "given"), ("http_proxy", "p")]);
    let globals = file.plan(None, given).unwrap().globals;
    let scope = scope_after(
        &[
            ("A", Some("default")),
            ("H", None),
            ("G", Some("own")),
            ("E", Some("x")),
            ("TARGETARCH", None),
            ("U", None),
        ],
        &globals,
    );
    let value = |name: &str| scope.value(name);
    assert_eq!(value("A").as_deref(), Some("given"));
    assert_eq!(value("H").as_deref(), Some("global"));
    assert_eq!(value("G").as_deref(), Some("own"));
    assert_eq!(value("E").as_deref(), Some("env"));
    assert_eq!(value("TARGETARCH").as_deref(), Some("amd64"));
    assert_eq!((value("U"), value("TARGETOS")), (None, None));
    let seen: Vec<String> = scope.run_args().into_iter().map(|(name, _)| name).collect();
    assert_eq!(seen, ["A", "H", "G", "TARGETARCH"]);
    assert_eq!(scope.proxies(), [("http_proxy".to_owned(), "p".to_owned())]);
}

#[test]
fn variables_are_replaced_where_docker_does() {
    let lookup = |name: &str| (name == "v").then(|| "1 2".to_owned());
    let expander = Expander::new('\\', &lookup);
    let check = |text: &str, expect: Instruction| {
        let file = parse(&format!("FROM scratch\n{text}\n"));
        assert_eq!(file.stages[0].steps[0].expand(&expander), Ok(expect), "{text}");
    };
    check("EXPOSE $v 3", Instruction::Expose(strings(&["1", "2", "3"])));
    check("WORKDIR /$v", Instruction::Workdir("/1 2".into()));
    check("ENV a=\"$v\" b='$v'", Instruction::Env(vec![pair("a", "1 2"), pair("b", "$v")]));
    check("CMD $v", Instruction::Cmd(Command::Shell("$v".into())));
    let file = parse("FROM scratch\nUSER ${v\n");
    assert_eq!(file.stages[0].steps[0].expand(&expander).unwrap_err().place.line, 2);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(FROM|RUN|COPY|ENV|ARG|[ a-z=\"'\\\\$<{}\\[\\]\n#-]){0,60}") {
        if let Ok(file) = Dockerfile::parse(format!("FROM a\n{text}").as_bytes()) {
            let none = |_: &str| None;
            for step in file.stages.iter().flat_map(|stage| &stage.steps) {
                let _ = step.expand(&Expander::new(file.escape, &none));
            }
            let _ = file.plan(None, Globals::new(BTreeMap::new(), &amd64(), &amd64()));
        }
    }

    #[test]
    fn places_lie_in_the_file(text in "[ a-zA-Z\\\\\n#]{0,80}") {
        let text = format!("FROM a\n{text}");
        if let Err(error) = Dockerfile::parse(text.as_bytes()) {
            let line = text.split('\n').nth(error.place.line - 1).unwrap();
            prop_assert!(error.place.column <= line.chars().count() + 1);
        }
    }
}
