//! `RUN --mount=type=…`: what a command sees besides the layers.

use crate::{
    error::{Fault, Place},
    expand::Expander,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A directory or file of the context, a stage or an image; changes are thrown away.
    Bind { target: String, source: String, from: Option<String>, access: Access },
    /// A directory that is kept from build to build.
    Cache(Cache),
    /// An empty directory in memory.
    Tmpfs { target: String, size_bytes: Option<u64> },
    /// A secret of the caller, as a file or as a variable.
    Secret(Secret),
    /// The caller's ssh agent.
    Ssh { need: Need },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Optional,
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheSharing {
    /// Several commands use it at once.
    Shared,
    /// Each of several commands gets one of its own.
    Private,
    /// One command waits for the other.
    Locked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    pub target: String,
    /// Tells one cache from another; the target, if it is not given.
    pub id: Option<String>,
    pub access: Access,
    pub sharing: CacheSharing,
    pub from: Option<String>,
    pub source: String,
    pub mode: Option<u32>,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    pub id: String,
    /// Where the file is seen; nothing if it is only wanted as a variable.
    pub target: Option<String>,
    pub env: Option<String>,
    pub need: Need,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The fields of one `--mount`, with variables already expanded.
struct Fields<'a>(Vec<(&'a str, Option<String>)>);

/// Reads the value of a `--mount` flag.
pub(crate) fn parse(text: &str, place: Place, expander: &Expander) -> Result<Mount, Fault> {
    let mut fields = Fields::split(text, expander)?;
    let kind = match fields.value(&["type"])?.as_deref().unwrap_or("bind") {
        "bind" => bind(&mut fields)?,
        "cache" => MountKind::Cache(cache(&mut fields)?),
        "tmpfs" => MountKind::Tmpfs {
            target: required(fields.target()?, "tmpfs")?,
            size_bytes: fields.value(&["size"])?.map(|text| size(&text)).transpose()?,
        },
        "secret" => MountKind::Secret(secret(&mut fields)?),
        "ssh" => {
            let need = fields.need()?;
            fields.value(&["id"])?;
            MountKind::Ssh { need }
        }
        other => {
            return Err(Fault::new(format!("unknown type {other:?} of --mount"))
                .hint("expected bind, cache, tmpfs or secret"));
        }
    };
    fields.finish()?;
    Ok(Mount { kind, place })
}

fn bind(fields: &mut Fields) -> Result<MountKind, Fault> {
    Ok(MountKind::Bind {
        target: required(fields.target()?, "bind")?,
        source: fields.value(&["source", "src"])?.unwrap_or_default(),
        from: fields.value(&["from"])?,
        access: fields.access(Access::ReadOnly)?,
    })
}

fn cache(fields: &mut Fields) -> Result<Cache, Fault> {
    Ok(Cache {
        target: required(fields.target()?, "cache")?,
        id: fields.value(&["id"])?,
        access: fields.access(Access::ReadWrite)?,
        sharing: match fields.value(&["sharing"])?.as_deref() {
            None | Some("shared") => CacheSharing::Shared,
            Some("private") => CacheSharing::Private,
            Some("locked") => CacheSharing::Locked,
            Some(other) => {
                return Err(Fault::new(format!("unknown sharing {other:?} of a cache"))
                    .hint("expected shared, private or locked"));
            }
        },
        from: fields.value(&["from"])?,
        source: fields.value(&["source", "src"])?.unwrap_or_default(),
        mode: fields.mode()?,
        uid: fields.id("uid")?,
        gid: fields.id("gid")?,
    })
}

fn secret(fields: &mut Fields) -> Result<Secret, Fault> {
    let target = fields.target()?;
    let env = fields.value(&["env"])?;
    let id = match (fields.value(&["id", "source", "src"])?, &target) {
        (Some(id), _) => id,
        (None, Some(target)) => target.rsplit('/').next().unwrap_or_default().to_owned(),
        (None, None) => String::new(),
    };
    if id.is_empty() {
        return Err(Fault::new("--mount=type=secret needs an id").hint("write id=NAME"));
    }
    let target = match (target, &env) {
        (None, None) => Some(format!("/run/secrets/{id}")),
        (target, _) => target,
    };
    Ok(Secret {
        target,
        env,
        need: fields.need()?,
        mode: fields.mode()?.unwrap_or(0o400),
        uid: fields.id("uid")?,
        gid: fields.id("gid")?,
        id,
    })
}

fn required(target: Option<String>, kind: &str) -> Result<String, Fault> {
    target.filter(|target| !target.is_empty()).ok_or_else(|| {
        Fault::new(format!("--mount=type={kind} needs a target")).hint("write target=PATH")
    })
}

fn size(text: &str) -> Result<u64, Fault> {
    let wrong =
        || Fault::new(format!("{text:?} is not a size")).hint("expected something like 64m");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let factor = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

impl<'a> Fields<'a> {
    fn split(text: &'a str, expander: &Expander) -> Result<Fields<'a>, Fault> {
        text.split(',')
            .map(|field| match field.split_once('=') {
                // Which stages a build needs is known before any variable has a value.
                Some(("from", value)) if value.contains('$') => {
                    Err(Fault::new("from= of --mount does not know variables")
                        .hint("give the image a name by a stage: FROM ... AS NAME"))
                }
                Some((key, value)) => Ok((key.trim(), Some(expander.word(value)?))),
                None => Ok((field.trim(), None)),
            })
            .collect::<Result<Vec<_>, Fault>>()
            .map(Fields)
    }

    fn take(&mut self, names: &[&str]) -> Option<Option<String>> {
        let at = self.0.iter().rposition(|(key, _)| names.contains(key))?;
        Some(self.0.remove(at).1)
    }

    fn value(&mut self, names: &[&str]) -> Result<Option<String>, Fault> {
        match self.take(names) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(Fault::new(format!("{} of --mount needs a value", names[0]))),
        }
    }

    fn target(&mut self) -> Result<Option<String>, Fault> {
        self.value(&["target", "dst", "destination"])
    }

    fn is_set(&mut self, names: &[&str]) -> Result<Option<bool>, Fault> {
        Ok(match self.take(names) {
            None => None,
            Some(None) => Some(true),
            Some(Some(value)) => match value.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => {
                    return Err(Fault::new(format!("{} of --mount cannot be {value:?}", names[0]))
                        .hint("expected true or false"));
                }
            },
        })
    }

    fn access(&mut self, default: Access) -> Result<Access, Fault> {
        let read_only = self.is_set(&["readonly", "ro"])?;
        let writable = self.is_set(&["readwrite", "rw"])?.or(read_only.map(|is_set| !is_set));
        Ok(match writable {
            None => default,
            Some(true) => Access::ReadWrite,
            Some(false) => Access::ReadOnly,
        })
    }

    fn need(&mut self) -> Result<Need, Fault> {
        Ok(match self.is_set(&["required"])? {
            Some(true) => Need::Required,
            _ => Need::Optional,
        })
    }

    fn mode(&mut self) -> Result<Option<u32>, Fault> {
        let Some(text) = self.value(&["mode"])? else { return Ok(None) };
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.map(Some).ok_or_else(|| {
            Fault::new(format!("{text:?} is not a mode")).hint("expected octal digits such as 0400")
        })
    }

    fn id(&mut self, name: &str) -> Result<u32, Fault> {
        let Some(text) = self.value(&[name])? else { return Ok(0) };
        text.parse().map_err(|_| Fault::new(format!("{text:?} is not a {name}")))
    }

    fn finish(&self) -> Result<(), Fault> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(Fault::new(format!("unknown field {key:?} of --mount"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<MountKind, String> {
        let lookup = |name: &str| (name == "dir").then(|| "/d".to_owned());
        let expander = Expander::new('\\', &lookup);
        parse(text, Place::START, &expander).map(|mount| mount.kind).map_err(|fault| fault.what)
    }

    #[test]
    fn kinds() {
        assert_eq!(
            check("target=$dir,source=a,rw"),
            Ok(MountKind::Bind {
                target: "/d".into(),
                source: "a".into(),
                from: None,
                access: Access::ReadWrite
            })
        );
        let Ok(MountKind::Cache(cache)) =
            check("type=cache,dst=/c,id=x,sharing=locked,mode=0700,uid=5")
        else {
            panic!()
        };
        assert_eq!((cache.mode, cache.uid, cache.sharing), (Some(0o700), 5, CacheSharing::Locked));
        assert_eq!(
            check("type=tmpfs,target=/t,size=2m"),
            Ok(MountKind::Tmpfs { target: "/t".into(), size_bytes: Some(2 << 20) })
        );
        let Ok(MountKind::Secret(secret)) = check("type=secret,id=k,required") else { panic!() };
        assert_eq!(secret.target.as_deref(), Some("/run/secrets/k"));
        assert_eq!((secret.need, secret.mode), (Need::Required, 0o400));
        let Ok(MountKind::Secret(secret)) = check("type=secret,id=k,env=K") else { panic!() };
        assert_eq!((secret.target, secret.env.as_deref()), (None, Some("K")));
    }

    #[test]
    fn faults() {
        for text in [
            "",
            "type=bind",
            "type=secret",
            "type=cache",
            "type=x,target=/a",
            "target=/a,what=1",
            "target=/a,from=$x",
            "type=tmpfs,target=/a,size=1x",
            "type=cache,target=/a,mode=9",
            "type=tmpfs,target=/a,size=99999999999999999g",
            "target=/a,ro=maybe",
            "target",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
