//! `login` and `logout`.

use std::io::{IsTerminal, Read};

use stasis_container::Home;
use stasis_registry::{Access, Credentials, Error, Found, Keyring, Place, Scope, Server};

use crate::{
    args::registry::{LoginArgs, LogoutArgs},
    failure::{Failure, Result},
    prompt, registry,
};

/// No honest password is longer.
const PASSWORD_LIMIT_BYTES: u64 = 64 << 10;

pub fn login(home: &Home, args: &LoginArgs) -> Result<i32> {
    let server = Server::parse(&args.server)?;
    let access = registry::access(home, &args.access, None)?;
    if args.get_login {
        return get_login(&server, &access);
    }
    let refused = |error| cannot_log_in(&server, error);
    if args.username.is_none()
        && args.password.is_none()
        && let Some(kept) = stasis_registry::login_again(&server, &access).map_err(refused)?
    {
        say!("Authenticating with existing credentials{}", of_user(&kept));
        say!("Login Succeeded");
        return Ok(0);
    }
    let credentials = ask(args)?;
    let place = stasis_registry::login(&server, &credentials, &access).map_err(refused)?;
    if let Place::File(path) = place {
        eprintln!("WARNING! Your credentials are stored unencrypted in '{}'.", path.display());
    }
    say!("Login Succeeded");
    Ok(0)
}

pub fn logout(args: &LogoutArgs) -> Result<i32> {
    let keyring = Keyring::locate(args.authfile.as_deref(), |name| std::env::var_os(name))?;
    if args.all {
        for server in keyring.servers()? {
            keyring.forget(&server)?;
        }
        say!("Removed login credentials for all registries");
        return Ok(0);
    }
    let server = Server::parse(&args.server)?;
    match keyring.forget(&server)? {
        Found::Yes => say!("Removing login credentials for {}", server.key()),
        Found::No => say!("Not logged in to {}", server.key()),
    }
    Ok(0)
}

fn get_login(server: &Server, access: &Access) -> Result<i32> {
    let kept = access.keyring.find(&Scope::server_wide(server))?;
    match kept.as_ref().and_then(Credentials::user) {
        Some(user) => say!("{user}"),
        None => return Err(Failure::new(format!("not logged in to {}", server.name()))),
    }
    Ok(0)
}

/// What was not given is asked for.
fn ask(args: &LoginArgs) -> Result<Credentials> {
    let password = match &args.password {
        Some(password) => {
            eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            Some(password.clone())
        }
        None if args.password_stdin => Some(read_password()?),
        None => None,
    };
    let is_complete = args.username.is_some() && password.is_some();
    if !is_complete && !std::io::stdin().is_terminal() {
        return Err(Failure::new("cannot ask for a name and a password without a terminal")
            .hint("give both: stasis login -u NAME --password-stdin SERVER"));
    }
    let user = match &args.username {
        Some(user) => user.clone(),
        None => prompt::visible("Username: ")?,
    };
    let password = match password {
        Some(password) => password,
        None => prompt::hidden("Password: ")?,
    };
    if user.is_empty() || password.is_empty() {
        return Err(Failure::new("a name and a password are needed"));
    }
    Ok(Credentials::Password { user, password })
}

/// As Docker, without the end of the line.
fn read_password() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(PASSWORD_LIMIT_BYTES).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn of_user(credentials: &Credentials) -> String {
    credentials.user().map(|user| format!(" of {user}")).unwrap_or_default()
}

fn cannot_log_in(server: &Server, error: Error) -> Failure {
    let is_refused = matches!(error, Error::CredentialsRefused { .. });
    let failure = registry::failure(format!("cannot log in to {}", server.name()), error);
    if is_refused {
        failure.hint("look for a mistake in the name or the password")
    } else {
        failure
    }
}
