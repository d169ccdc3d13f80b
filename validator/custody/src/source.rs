//! Where a program's keys are, as its configuration says it.
//!
//! ```toml
//! card = { store = "/etc/tapline/cards.keys", unlock = "tapline-unlock" }
//! card = { pkcs11 = { module = "/usr/lib/…/libx.so", token = "tapline", pin = "tapline-pin" } }
//! card = { plain = "/etc/tapline/card.key" }     # or the bare path: for first trials
//! ```

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use card::{KeyRole, KeyVersion};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A place of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A plain file, for trials.
    Plain(PathBuf),
    /// An encrypted keystore.
    Store(StoreSource),
    /// A PKCS#11 token.
    Token(TokenSource),
}

/// An encrypted keystore and what opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreSource {
    /// The keystore.
    pub store: PathBuf,
    /// The file of the unlock secret, or the name of a credential.
    pub unlock: PathBuf,
}

/// A PKCS#11 token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSource {
    /// The module that speaks to it: a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The file of the user PIN, or the name of a credential.
    pub pin: PathBuf,
    /// Which version is current, by role; the newest where nothing is said.
    #[serde(
        default,
        deserialize_with = "currents",
        serialize_with = "write_currents",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub current: BTreeMap<KeyRole, KeyVersion>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(path) => write!(f, "the plain key file {}", path.display()),
            Self::Store(store) => write!(f, "the keystore {}", store.store.display()),
            Self::Token(token) => {
                write!(f, "the token {} (module {})", token.token, token.module.display())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    plain: Option<PathBuf>,
    store: Option<PathBuf>,
    unlock: Option<PathBuf>,
    pkcs11: Option<TokenSource>,
}

impl Table {
    fn into_source(self) -> Result<Source, &'static str> {
        match (self.plain, self.store, self.unlock, self.pkcs11) {
            (Some(path), None, None, None) => Ok(Source::Plain(path)),
            (None, Some(store), Some(unlock), None) => {
                Ok(Source::Store(StoreSource { store, unlock }))
            }
            (None, None, None, Some(token)) => Ok(Source::Token(token)),
            (None, Some(_), None, None) => {
                Err("a store needs `unlock`: the file or the credential that opens it")
            }
            _ => Err("give one of `store` with `unlock`, `pkcs11`, or `plain`"),
        }
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Plain(path)
    }
}

impl Source {
    /// Relative paths start at `folder`; the names of credentials stay as they are.
    pub fn resolve(&mut self, folder: &Path) {
        let secret = match self {
            Self::Plain(path) => {
                *path = folder.join(&*path);
                return;
            }
            Self::Store(StoreSource { store, unlock }) => {
                *store = folder.join(&*store);
                unlock
            }
            Self::Token(token) => &mut token.pin,
        };
        if secret.components().count() > 1 {
            *secret = folder.join(&*secret);
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Token<'a> {
            pkcs11: &'a TokenSource,
        }
        match self {
            Self::Plain(path) => path.serialize(serializer),
            Self::Store(store) => store.serialize(serializer),
            Self::Token(pkcs11) => Token { pkcs11 }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Place;
        impl<'de> Visitor<'de> for Place {
            type Value = Source;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ store, unlock }, { pkcs11 = { module, token, pin } } or a path")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Source, E> {
                Ok(Source::Plain(path.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                table.into_source().map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Place)
    }
}

fn currents<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<KeyRole, KeyVersion>, D::Error> {
    BTreeMap::<String, u8>::deserialize(deserializer)?
        .into_iter()
        .map(|(word, version)| match KeyRole::parse(&word) {
            Some(role) => Ok((role, KeyVersion(version))),
            None => {
                Err(de::Error::custom(format!("{word} is no key: use issuer, debit, load or tmac")))
            }
        })
        .collect()
}

fn write_currents<S: Serializer>(
    currents: &BTreeMap<KeyRole, KeyVersion>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(currents.iter().map(|(role, version)| (role.word(), version.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Keys {
        card: Source,
    }

    fn parse(text: &str) -> Result<Source, String> {
        toml::from_str::<Keys>(text).map(|keys| keys.card).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_place_is_a_store_a_token_or_a_plain_file() {
        let store = StoreSource { store: "/k".into(), unlock: "u".into() };
        assert_eq!(parse(r#"card = { store = "/k", unlock = "u" }"#), Ok(Source::Store(store)));
        for text in [r#"card = "/p""#, r#"card = { plain = "/p" }"#] {
            assert_eq!(parse(text), Ok(Source::Plain("/p".into())));
        }
        let text = r#"card = { pkcs11 = { module = "/m.so", token = "t", pin = "/pin",
            current = { debit = 2 } } }"#;
        let Ok(Source::Token(token)) = parse(text) else { panic!("{:?}", parse(text)) };
        assert_eq!(token.current[&KeyRole::Debit], KeyVersion(2));
    }

    #[test]
    fn a_place_is_written_as_it_is_read_and_only_paths_are_resolved() {
        for (text, resolved) in [
            (r#"card = "p""#, r#"card = "/etc/p""#),
            (
                r#"card = { store = "k", unlock = "u" }"#,
                r#"card = { store = "/etc/k", unlock = "u" }"#,
            ),
            (
                r#"card = { store = "/k", unlock = "./u" }"#,
                r#"card = { store = "/k", unlock = "/etc/./u" }"#,
            ),
            (
                r#"card = { pkcs11 = { module = "m", token = "t", pin = "a/p",
                    current = { load = 3 } } }"#,
                r#"card = { pkcs11 = { module = "m", token = "t", pin = "/etc/a/p",
                    current = { load = 3 } } }"#,
            ),
        ] {
            let mut source = parse(text).unwrap();
            let written = toml::to_string(&Keys { card: source.clone() }).unwrap();
            assert_eq!(parse(&written), Ok(source.clone()));
            source.resolve(Path::new("/etc"));
            assert_eq!(Ok(source), parse(resolved));
        }
    }

    #[test]
    fn a_place_that_is_none_is_refused_with_what_belongs_there() {
        for (text, wanted) in [
            (r#"card = { store = "/k" }"#, "needs `unlock`"),
            (r#"card = { store = "/k", unlock = "u", plain = "/p" }"#, "give one of"),
            ("card = {}", "give one of"),
            ("card = 7", "expected { store, unlock }"),
            (r#"card = { stor = "/k" }"#, "unknown field `stor`"),
            (r#"card = { pkcs11 = { module = "/m", token = "t" } }"#, "missing field `pin`"),
            (
                "card = { pkcs11 = { module = 'm', token = 't', pin = 'p',
                    current = { sam = 1 } } }",
                "sam is no key",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
