//! Master keys in a PKCS#11 token: the token derives the cards' keys, the master keys stay in it.
//!
//! A card's key is the AES-CMAC over `01 ‖ UID ‖ AID ‖ system id ‖ label`, 18 bytes: at that length
//! AN10922 is plain CMAC, which every token can do. Objects are found by their label,
//! `tapline-<role>-v<NN>`, and must be such that they never leave the token.
//!
//! Invariants: nothing derived is kept; a session that failed is opened again once per request,
//! so that a token that was taken out and put back is found again; a refused PIN is never tried
//! twice, because tokens lock themselves.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use card::{CardKeys, Key, KeyError, KeyRole, KeyVersion, layout};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use model::CardId;
use zeroize::Zeroizing;

use crate::{
    CustodyError, TokenSource,
    check_value::{CheckValue, OVER},
    keystore::read_secret,
};

/// Opened by [`TokenKeys::open`].
pub struct TokenKeys {
    source: TokenSource,
    pin: AuthPin,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// What was there when the token was opened last.
    held: BTreeMap<KeyRole, Vec<KeyVersion>>,
    /// The token did not take the PIN.
    pin_refused: bool,
}

struct Open {
    session: Session,
    context: Pkcs11,
    /// This opening initialised the module, so closing it finalises it.
    owns_module: bool,
    keys: BTreeMap<(KeyRole, KeyVersion), ObjectHandle>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("source", &self.source).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Opens the token; it must be there, and hold at least one key.
    pub fn open(source: &TokenSource) -> Result<Self, CustodyError> {
        let keys = Self::closed(source)?;
        keys.with(|_| Ok(()))?;
        Ok(keys)
    }

    fn closed(source: &TokenSource) -> Result<Self, CustodyError> {
        let secret = read_secret(&source.pin)?;
        let pin = String::from_utf8(secret.to_vec()).map_err(|_| {
            KeyError::Module(format!("the PIN in {} is no text", source.pin.display()))
        })?;
        let (pin, state) = (AuthPin::new(pin.into()), Mutex::new(State::default()));
        Ok(Self { source: source.clone(), pin, state })
    }

    /// Puts a master key into the token, from which it never comes out again. Other keys need not
    /// be there yet.
    pub fn import(
        source: &TokenSource,
        role: KeyRole,
        version: KeyVersion,
        master: &Key,
    ) -> Result<CheckValue, CustodyError> {
        let keys = Self::closed(source)?;
        let (context, owns_module) = keys.module().map_err(|t| keys.failed(&t))?;
        let imported = keys.log_in(&context, true).and_then(|session| {
            if find_keys(&session)?.contains_key(&(role, version)) {
                return Err(Trouble::Taken(label(role, version)));
            }
            let object = session.create_object(&[
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::Label(label(role, version).into_bytes()),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
                Attribute::Value(master.0.to_vec()),
            ])?;
            mac_with(&session, object, &OVER)
        });
        if owns_module {
            let _ = context.finalize();
        }
        let mac = imported.map_err(|trouble| keys.failed(&trouble))?;
        Ok(CheckValue::of(&mac))
    }

    /// Closes the session, as a module does whose token was pulled. The next request opens it
    /// again.
    #[cfg(test)]
    pub(crate) fn reset(&self) {
        self.state().close();
    }

    /// The check value of a master key, computed by the token.
    pub fn check_value(&self, role: KeyRole, version: KeyVersion) -> Result<CheckValue, KeyError> {
        Ok(CheckValue::of(&*self.mac(role, version, &OVER)?))
    }

    fn mac(
        &self,
        role: KeyRole,
        version: KeyVersion,
        over: &[u8],
    ) -> Result<Zeroizing<[u8; 16]>, KeyError> {
        let held = self.versions(role);
        if held.is_empty() {
            return Err(KeyError::NotHeld(role));
        }
        if !held.contains(&version) {
            return Err(KeyError::VersionNotHeld { role, version });
        }
        self.with(|open| {
            let handle = open.keys.get(&(role, version)).ok_or_else(|| {
                Trouble::Said(format!("the key {} is gone", label(role, version)))
            })?;
            mac_with(&open.session, *handle, over)
        })
    }

    /// Does `what` in an open session; opens it anew, once, when the session does not work.
    fn with<T>(&self, what: impl Fn(&Open) -> Result<T, Trouble>) -> Result<T, KeyError> {
        let mut state = self.state();
        if state.pin_refused {
            return Err(self.failed(&Trouble::PinRefused));
        }
        if let Some(open) = &state.open {
            if let Ok(value) = what(open) {
                return Ok(value);
            }
            state.close();
        }
        let opened = self.open_session();
        let open = opened.map_err(|trouble| {
            state.pin_refused = matches!(trouble, Trouble::PinRefused);
            self.failed(&trouble)
        })?;
        state.held = held(&open.keys);
        let value = what(&open);
        state.open = Some(open);
        value.map_err(|trouble| {
            state.close();
            self.failed(&trouble)
        })
    }

    /// By what was there when the token was opened last.
    fn known_current(&self, role: KeyRole) -> Result<KeyVersion, KeyError> {
        let versions = self.versions(role);
        let newest = versions.first().copied().ok_or(KeyError::NotHeld(role))?;
        let version = self.source.current.get(&role).copied().unwrap_or(newest);
        if versions.contains(&version) {
            Ok(version)
        } else {
            Err(KeyError::VersionNotHeld { role, version })
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_session(&self) -> Result<Open, Trouble> {
        let (context, owns_module) = self.module()?;
        let opened = self.log_in(&context, false).and_then(|session| {
            let keys = find_keys(&session)?;
            if keys.is_empty() {
                return Err(Trouble::NoKeys);
            }
            Ok((session, keys))
        });
        match opened {
            Ok((session, keys)) => Ok(Open { session, context, owns_module, keys }),
            Err(trouble) => {
                if owns_module {
                    let _ = context.finalize();
                }
                Err(trouble)
            }
        }
    }

    /// The loaded module, and whether it was initialised here.
    fn module(&self) -> Result<(Pkcs11, bool), Trouble> {
        let context = Pkcs11::new(&self.source.module)?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => Ok((context, true)),
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok((context, false)),
            Err(e) => Err(e.into()),
        }
    }

    fn log_in(&self, context: &Pkcs11, to_write: bool) -> Result<Session, Trouble> {
        let mut labels = Vec::new();
        for slot in context.get_slots_with_initialized_token()? {
            let label = context.get_token_info(slot)?.label().trim_end().to_owned();
            if label == self.source.token {
                let session = if to_write {
                    context.open_rw_session(slot)?
                } else {
                    context.open_ro_session(slot)?
                };
                return match session.login(UserType::User, Some(&self.pin)) {
                    Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
                    Err(Error::Pkcs11(
                        RvError::PinIncorrect | RvError::PinLocked | RvError::PinLenRange,
                        _,
                    )) => Err(Trouble::PinRefused),
                    Err(e) => Err(e.into()),
                };
            }
            labels.push(label);
        }
        Err(Trouble::NoToken(labels))
    }

    fn failed(&self, trouble: &Trouble) -> KeyError {
        let TokenSource { module, token, pin, .. } = &self.source;
        let (module, pin) = (module.display(), pin.display());
        KeyError::Module(match trouble {
            Trouble::NoToken(found) if found.is_empty() => format!(
                "the token {token} is not there (module {module} sees none): insert it, or see \
                 `pkcs11-tool --module {module} -L`"
            ),
            Trouble::NoToken(found) => format!(
                "the token {token} is not there (module {module} sees {}): insert it, or correct \
                 `token`",
                found.join(", ")
            ),
            Trouble::PinRefused => format!(
                "the token {token} (module {module}) refused the PIN in {pin}; it is not tried \
                 again, so that the token does not lock: correct the file and start again"
            ),
            Trouble::NoKeys => format!(
                "the token {token} (module {module}) holds no AES key named \
                 tapline-<issuer|debit|load>-v<NN>: see docs/keys.md"
            ),
            Trouble::Leaves(key) => format!(
                "the key {key} in the token {token} can be taken out of it: make it again, \
                 sensitive and not extractable"
            ),
            Trouble::Taken(key) => {
                format!("the token {token} holds the key {key} already, and it is not overwritten")
            }
            Trouble::Module(e) if matches!(**e, Error::LibraryLoading(_)) => format!(
                "the PKCS#11 module {module} cannot be loaded ({e}): correct `module`, or install \
                 it for this machine"
            ),
            Trouble::Module(e) => {
                format!("the token {token} (module {module}): {e}: look after token and module")
            }
            Trouble::Said(what) => format!("the token {token} (module {module}): {what}"),
        })
    }
}

impl State {
    fn close(&mut self) {
        let Some(Open { session, context, owns_module, .. }) = self.open.take() else { return };
        drop(session);
        // Some modules look for tokens only when they are initialised.
        if owns_module {
            let _ = context.finalize();
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.close();
    }
}

impl CardKeys for TokenKeys {
    fn current(&self, role: KeyRole) -> Result<KeyVersion, KeyError> {
        self.known_current(role).or_else(|_| {
            // Perhaps another token was there when it was looked at last.
            self.state().close();
            self.with(|_| Ok(()))?;
            self.known_current(role)
        })
    }

    fn versions(&self, role: KeyRole) -> Vec<KeyVersion> {
        self.state().held.get(&role).cloned().unwrap_or_default()
    }

    fn card_key(&self, role: KeyRole, version: KeyVersion, uid: &CardId) -> Result<Key, KeyError> {
        let mut over = [0x01; 18];
        over[1..].copy_from_slice(&layout::diversification_input(uid, role));
        Ok(Key(*self.mac(role, version, &over)?))
    }
}

/// What went wrong, before it has words.
enum Trouble {
    NoToken(Vec<String>),
    PinRefused,
    NoKeys,
    Leaves(String),
    Taken(String),
    Module(Box<Error>),
    Said(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Module(Box::new(error))
    }
}

fn mac_with(
    session: &Session,
    key: ObjectHandle,
    over: &[u8],
) -> Result<Zeroizing<[u8; 16]>, Trouble> {
    let mac = Zeroizing::new(session.sign(&Mechanism::AesCMac, key, over)?);
    let bytes: &[u8; 16] = mac
        .as_slice()
        .try_into()
        .map_err(|_| Trouble::Said(format!("an AES-CMAC has {} bytes and not 16", mac.len())))?;
    Ok(Zeroizing::new(*bytes))
}

fn label(role: KeyRole, version: KeyVersion) -> String {
    format!("tapline-{}-v{:02}", role.word(), version.0)
}

fn parse_label(label: &str) -> Option<(KeyRole, KeyVersion)> {
    let (role, version) = label.strip_prefix("tapline-")?.split_once("-v")?;
    let found = (KeyRole::parse(role)?, KeyVersion(version.parse().ok()?));
    (self::label(found.0, found.1) == label).then_some(found)
}

fn find_keys(session: &Session) -> Result<BTreeMap<(KeyRole, KeyVersion), ObjectHandle>, Trouble> {
    let secret_keys = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    let mut keys = BTreeMap::new();
    for handle in session.find_objects(&secret_keys)? {
        let wanted = [AttributeType::Label, AttributeType::Sensitive, AttributeType::Extractable];
        let about = session.get_attributes(handle, &wanted)?;
        let Some(Attribute::Label(name)) = about.first() else { continue };
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(key) = parse_label(&name) else { continue };
        let stays = [Attribute::Sensitive(true), Attribute::Extractable(false)];
        if !stays.iter().all(|attribute| about.contains(attribute)) {
            return Err(Trouble::Leaves(name));
        }
        if keys.insert(key, handle).is_some() {
            return Err(Trouble::Said(format!("two keys are named {name}: delete the wrong one")));
        }
    }
    Ok(keys)
}

fn held(
    keys: &BTreeMap<(KeyRole, KeyVersion), ObjectHandle>,
) -> BTreeMap<KeyRole, Vec<KeyVersion>> {
    let mut held: BTreeMap<KeyRole, Vec<KeyVersion>> = BTreeMap::new();
    for (role, version) in keys.keys().rev() {
        held.entry(*role).or_default().push(*version);
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_a_token_are_found_by_their_labels_and_by_nothing_like_them() {
        for (role, version, name) in [
            (KeyRole::Debit, KeyVersion(1), "tapline-debit-v01"),
            (KeyRole::Tmac, KeyVersion(200), "tapline-tmac-v200"),
        ] {
            assert_eq!(label(role, version), name);
            assert_eq!(parse_label(name), Some((role, version)));
        }
        for other in [
            "",
            "debit",
            "tapline-debit",
            "tapline-debit-v1",
            "tapline-debit-v256",
            "tapline-sam-v01",
            "tapline-debit-v+1",
            "tapline-debit-v01 ",
        ] {
            assert_eq!(parse_label(other), None, "{other}");
        }
    }
}
