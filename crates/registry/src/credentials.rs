//! What proves to a registry who we are.

use std::fmt;

use crate::error::{Error, Result};

/// What proves to a registry who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// What a token server gave once in exchange for a password.
    IdentityToken(String),
    /// Goes to the registry as it is.
    RegistryToken(String),
}

impl Credentials {
    /// Takes `USER:PASSWORD` apart, as `--creds` gives it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no colon or no name.
    pub fn parse(text: &str) -> Result<Credentials> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => {
                Ok(Credentials::Password { user: user.into(), password: password.into() })
            }
            _ => Err(Error::Invalid("credentials are given as USER:PASSWORD".into())),
        }
    }

    /// The name of the user, if a token does not hide it.
    pub fn user(&self) -> Option<&str> {
        match self {
            Credentials::Password { user, .. } => Some(user),
            Credentials::IdentityToken(_) | Credentials::RegistryToken(_) => None,
        }
    }
}

/// Secrets do not get into logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Password { user, .. } => write!(f, "Password({user}, …)"),
            Credentials::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Credentials::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_may_have_colons() {
        let expect = Credentials::Password { user: "me".into(), password: "a:b".into() };
        assert_eq!(Credentials::parse("me:a:b").unwrap(), expect);
        assert!(Credentials::parse("me").is_err());
        assert!(Credentials::parse(":a").is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = Credentials::parse("me:hush").unwrap();
        assert!(!format!("{secret:?}").contains("hush"));
        assert!(!format!("{:?}", Credentials::IdentityToken("hush".into())).contains("hush"));
    }
}
