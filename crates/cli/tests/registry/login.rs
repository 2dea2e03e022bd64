//! Logging in and out, and whom we believe.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    sync::Mutex,
};

use crate::{
    container_support::finish,
    registry_support::{
        IDENTITY_TOKEN, PASSWORD, Registry, TLS_HOST, USER, challenge,
        front::{Act, Answer, Front, Request},
        image::{Form, Image, Kind},
        with_tokens,
    },
    user::User,
};

#[test]
fn login_keeps_what_the_registry_accepts() {
    let (user, registry) = (User::new(), Registry::with_password());
    let name = registry.name();
    let wrong = user.login(&name, "wrong");
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("cause: unauthorized: "), "{}", wrong.err);
    assert!(wrong.err.contains("hint:  look for a mistake"), "{}", wrong.err);
    assert!(!user.docker_config().exists());
    let right = user.login(&name, &format!("{PASSWORD}\n"));
    assert_eq!((right.code, right.out.as_str()), (0, "Login Succeeded\n"));
    let kept = fs::metadata(user.docker_config()).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    assert_eq!(user.run(&["login", "--get-login", &name]), format!("{USER}\n"));
    assert!(user.run(&["login", &name]).contains("Login Succeeded"), "with what is kept");
    assert!(user.run(&["logout", &name]).starts_with("Removing login credentials"));
    assert!(user.run(&["logout", &name]).starts_with("Not logged in"));
    assert_eq!(user.try_run(&["login", "--get-login", &name]).code, 1);
}

#[test]
fn login_says_what_stands_in_its_way() {
    let user = User::new();
    let login = |server: &str| user.login(server, "x").err;
    assert!(login("no-such-host.invalid").contains("no such host: no-such-host.invalid"));
    assert!(login("localhost:1").contains("cannot reach localhost:1: Connection refused"));
    let asking = user.try_run(&["login", "localhost:1"]);
    assert!(asking.err.contains("without a terminal"), "{}", asking.err);
    assert_eq!(user.try_run(&["login", "-p", "x", "--password-stdin", "a"]).code, 125);
}

/// A helper is a script here that keeps what it is told in a file beside it.
#[test]
fn a_helper_keeps_credentials_instead_of_the_file() {
    let (user, registry) = (User::new(), Registry::with_password());
    let name = registry.name();
    let programs = user.engine.dir.path().join("bin");
    fs::create_dir_all(&programs).unwrap();
    let helper = programs.join("docker-credential-test");
    let script = "#!/bin/sh\ncd $(dirname $0)\ncase $1 in\n\
        store) cat > kept;;\n\
        get) [ -f kept ] && cat kept || { echo 'credentials not found in this test'; exit 1; };;\n\
        erase) rm kept;;\nesac\n";
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(user.docker_config().parent().unwrap()).unwrap();
    fs::write(user.docker_config(), r#"{"credsStore":"test","other":1}"#).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let run = |args: &[&str]| finish(user.command(args).env("PATH", &path), |_| ());
    let login = run(&["login", "-u", USER, "-p", PASSWORD, &name]);
    assert_eq!(login.code, 0, "{login:?}");
    assert!(!login.err.contains("unencrypted"), "{}", login.err);
    let kept = fs::read_to_string(programs.join("kept")).unwrap();
    assert!(kept.contains(PASSWORD) && kept.contains(&name), "{kept}");
    let config = fs::read_to_string(user.docker_config()).unwrap();
    assert!(!config.contains("\"auth\"") && config.contains("\"other\""), "{config}");
    assert_eq!(run(&["login", "--get-login", &name]).out, format!("{USER}\n"));
    assert_eq!(run(&["login", &name]).code, 0);
    assert_eq!(run(&["logout", &name]).code, 0);
    assert!(!programs.join("kept").exists());
    assert_eq!(run(&["login", "--get-login", &name]).code, 1);
}

/// The name of the registry leads here in a mount namespace with a file of host names of its own.
#[test]
fn a_registry_elsewhere_must_be_signed_for() {
    let (user, registry) = (User::new(), Registry::with_tls());
    let hosts = user.engine.dir.path().join("hosts");
    fs::write(&hosts, format!("127.0.0.1 {TLS_HOST}\n")).unwrap();
    let name = format!("{TLS_HOST}:{}", registry.port());
    let login = |options: &[&str]| {
        let args = [&["login", "-u", "x", "-p", "y"], options, &[name.as_str()]].concat();
        let own = user.command(&args);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind $0 /etc/hosts && exec \"$@\""]);
        command.arg(&hosts).arg(own.get_program()).args(own.get_args());
        command.env("HOME", user.home()).stdin(Stdio::null());
        finish(&mut command, |_| ())
    };
    let refused = login(&[]);
    assert!(refused.err.contains("is not trusted: "), "{}", refused.err);
    assert!(refused.err.contains("hint:  put the certificate"), "{}", refused.err);
    let certificates = registry.certificates();
    assert_eq!(login(&["--cert-dir", certificates.to_str().unwrap()]).code, 0);
    assert_eq!(login(&["--tls-verify=false"]).code, 0);
    // On this machine any certificate is good.
    assert_eq!(user.login(&registry.name(), "x").code, 0);
}

#[test]
fn tokens_are_fetched_with_the_password() {
    let (user, registry) = (User::new(), Registry::open());
    let front = with_tokens(&registry);
    let wrong = user.login(&front.name(), "wrong");
    assert!(wrong.err.contains("unauthorized: "), "{}", wrong.err);
    assert_eq!(user.login(&front.name(), PASSWORD).code, 0);
    let asked: Vec<Request> = front.seen();
    let token = asked.iter().rfind(|request| request.path.starts_with("/token")).unwrap();
    assert!(token.path.contains("service=test"), "{}", token.path);
}

#[test]
fn an_identity_token_is_exchanged() {
    let (user, registry) = (User::new(), Registry::open());
    Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")]]).put(registry.port(), "me/app", "1");
    let front = with_tokens(&registry);
    fs::create_dir_all(user.docker_config().parent().unwrap()).unwrap();
    let config = |token: &str| {
        format!(r#"{{"auths":{{"{}":{{"identitytoken":"{token}"}}}}}}"#, front.name())
    };
    let name = format!("{}/me/app:1", front.name());
    fs::write(user.docker_config(), config("wrong")).unwrap();
    let refused = user.try_run(&["pull", &name]);
    assert!(refused.err.contains("does not accept these credentials"), "{}", refused.err);
    fs::write(user.docker_config(), config(IDENTITY_TOKEN)).unwrap();
    user.run(&["pull", &name]);
}

#[test]
fn a_token_that_has_become_too_old_is_replaced() {
    let (user, registry) = (User::new(), Registry::open());
    let image = Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")], &[("b", b"2")]]);
    image.put(registry.port(), "me/app", "1");
    // Each token is good for two requests; this counts them.
    let uses = Mutex::new(Vec::new());
    let front = Front::new(registry.port(), move |request: &Request| {
        let mut uses = uses.lock().unwrap();
        if request.path.starts_with("/token") {
            uses.push(0);
            let token = format!(r#"{{"access_token":"{}"}}"#, uses.len() - 1);
            return Act::Answer(Answer::new(200, token));
        }
        let shown = request.headers.get("authorization");
        let number = shown.and_then(|shown| shown.strip_prefix("Bearer ")?.parse::<usize>().ok());
        match number {
            Some(number) if uses[number] < 2 => {
                uses[number] += 1;
                Act::Pass
            }
            _ => Act::Answer(challenge(request)),
        }
    });
    user.run(&["pull", &format!("{}/me/app:1", front.name())]);
    let seen = front.seen();
    let tokens = seen.iter().filter(|request| request.path.starts_with("/token")).count();
    assert!(tokens > 1, "{tokens} tokens were enough");
}

/// Blobs often lie elsewhere; whoever has them there must not learn our password.
#[test]
fn credentials_do_not_follow_a_redirection() {
    let (user, registry) = (User::new(), Registry::open());
    Image::new(Kind::Oci, Form::Plain, &[&[("a", b"1")]]).put(registry.port(), "me/app", "1");
    let elsewhere = Front::new(registry.port(), |_| Act::Pass);
    // Another name of the same machine is another host.
    let place = elsewhere.name().replace("localhost", "127.0.0.1");
    let front = Front::new(registry.port(), move |request: &Request| {
        let knows = request.headers.contains_key("authorization");
        match request.path.contains("/blobs/") || request.path.contains("/manifests/") {
            _ if !knows => {
                Act::Answer(Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\""))
            }
            true => {
                let location = format!("http://{place}{}", request.path);
                Act::Answer(Answer::new(307, "").header("Location", location))
            }
            false => Act::Pass,
        }
    });
    let name = format!("{}/me/app:1", front.name());
    user.run(&["pull", "--creds", "me:hush", &name]);
    let seen = elsewhere.seen();
    assert!(seen.len() >= 3, "{seen:?}");
    assert!(seen.iter().all(|request| !request.headers.contains_key("authorization")), "{seen:?}");
}

#[test]
fn a_machine_without_certificates_believes_the_built_in_ones() {
    let (user, registry) = (User::new(), Registry::open());
    let own = user.command(&["login", "-u", "x", "-p", "y", &registry.name()]);
    let mut command = Command::new("unshare");
    let script = "for dir in /etc/ssl /etc/pki /usr/lib/ssl /usr/share/ca-certificates; do\n\
        [ ! -d $dir ] || mount -t tmpfs none $dir || exit 99\ndone\nexec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(own.get_program()).args(own.get_args()).stdin(Stdio::null());
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").env("HOME", user.home());
    let done = finish(&mut command, |_| ());
    assert_eq!(done.code, 0, "{done:?}");
    assert!(user.engine.dir.path().join("run/built-in-certificates.pem").is_file());
}
