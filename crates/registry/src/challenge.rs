//! How a registry asks who we are: the header `WWW-Authenticate` (RFC 9110, section 11.6.1; token
//! authentication specification of the distribution project).

use http_auth::{ChallengeRef, ParamValue};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What a registry wants to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password.
    Basic,
    /// A token that the server at `realm` gives.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The first one that we know how to answer; a token is better than a password.
    pub fn of(headers: &HeaderMap) -> Option<Challenge> {
        let texts =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let known: Vec<Challenge> = texts.flat_map(parse).collect();
        let token = known.iter().find(|challenge| **challenge != Challenge::Basic);
        token.or(known.first()).cloned()
    }
}

fn parse(text: &str) -> Vec<Challenge> {
    let parsed = http_auth::parse_challenges(text).unwrap_or_default();
    parsed.iter().filter_map(understand).collect()
}

fn understand(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| ParamValue::to_unescaped(value))
    };
    match challenge.scheme {
        scheme if scheme.eq_ignore_ascii_case("basic") => Some(Challenge::Basic),
        scheme if scheme.eq_ignore_ascii_case("bearer") => {
            Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expect: Option<Challenge>) {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        assert_eq!(Challenge::of(&map), expect, "{headers:?}");
    }

    #[test]
    fn challenges_of_real_registries() {
        let bearer = |realm: &str, service: &str| {
            Some(Challenge::Bearer { realm: realm.into(), service: Some(service.into()) })
        };
        check(&["Basic realm=\"basic-realm\""], Some(Challenge::Basic));
        check(
            &["Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\""],
            bearer("https://auth.docker.io/token", "registry.docker.io"),
        );
        check(
            &["bearer realm=\"https://r.example/t\",service=\"a,b\",scope=\"repository:a:pull\""],
            bearer("https://r.example/t", "a,b"),
        );
        check(
            &["Basic realm=\"x\"", "Bearer realm=\"https://r.example/t\",service=\"s\""],
            bearer("https://r.example/t", "s"),
        );
    }

    proptest::proptest! {
        #[test]
        fn no_header_leads_to_a_panic(header in "[ -~]{0,80}", rest in ".{0,40}") {
            parse(&header);
            parse(&format!("Bearer realm=\"{header}\",service=\"{rest}"));
        }
    }

    #[test]
    fn what_nobody_understands_is_no_challenge() {
        check(&[], None);
        check(&["Negotiate"], None);
        check(&["Bearer service=\"x\""], None);
        check(&["\"\"\"=,,="], None);
    }
}
