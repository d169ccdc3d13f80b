//! The depot's configuration: one TOML file, every key known, every path resolved.
//!
//! Precedence: flag, then file, then default (environment variables set only the log filter). An
//! unknown key is an error that names its line and the key that was probably meant. Secrets are
//! never values here, only paths of files.

mod channels;
mod check;
mod hotlist;
mod issuers;
mod keys;
mod mqtt;
mod orders;
mod products;
mod reconcile;
mod releases;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use custody::Source;
use serde::{Deserialize, Serialize};

pub use channels::{Channel, StatementFormat};
pub use check::{Origin, Setting, settings};
pub use hotlist::Hotlist;
pub use issuers::Issuer;
pub use keys::{KeyError, Keys, open_card_keys, parse_hex, to_hex};
pub use mqtt::{ListPayloads, Mqtt};
pub use orders::Orders;
pub use products::Product;
pub use reconcile::{Reconcile, Visitor};
pub use releases::Releases;

/// Everything that an operator can set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The depot's name: a topic level, so letters, digits and `-` only.
    pub depot: String,
    /// Where the books are kept; relative paths start at the configuration file's folder.
    #[serde(default = "default_database")]
    pub database: PathBuf,
    /// Tariff files, any order; each holds one version.
    #[serde(default)]
    pub tariffs: Vec<PathBuf>,
    /// Web pages, API and metrics.
    #[serde(default)]
    pub http: Http,
    /// The broker.
    #[serde(default)]
    pub mqtt: Mqtt,
    /// Key files.
    #[serde(default)]
    pub keys: KeyFiles,
    /// How taps are taken in.
    #[serde(default)]
    pub intake: Intake,
    /// The desk: issuing, loading, retiring cards.
    #[serde(default)]
    pub desk: Desk,
    /// When service days are closed.
    #[serde(default)]
    pub days: Days,
    /// How operators share fares.
    #[serde(default)]
    pub settlement: Settlement,
    /// What becomes of what nothing decides.
    #[serde(default)]
    pub reconcile: Reconcile,
    /// Cards for visitors, and value of cards that have ended.
    #[serde(default)]
    pub visitor: Visitor,
    /// What counts as dormant and as unclaimed.
    #[serde(default)]
    pub float: Float,
    /// Load orders: top-ups that validators put on cards.
    #[serde(default)]
    pub orders: Orders,
    /// Cards to refuse: who proposes, and how many at once.
    #[serde(default)]
    pub hotlist: Hotlist,
    /// Whose software validators are given, and how much of a roll-out may go wrong.
    #[serde(default)]
    pub releases: Releases,
    /// Who takes money for load orders.
    #[serde(default, rename = "channel", skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    /// Who issues cards here; without any, `desk.issuer` alone.
    #[serde(default, rename = "issuer", skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<Issuer>,
    /// What can be bought for cards besides value.
    #[serde(default, rename = "product", skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Product>,
}

/// Web pages, API and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where to listen. Anything but loopback belongs behind a TLS proxy.
    pub listen: SocketAddr,
    /// What browsers call this depot, for login links; `http://` and `listen` when empty.
    pub public_url: String,
    /// How long a login lasts, hours.
    pub session_hours: u32,
}

/// Where keys are. All of it is readable by the owner only; see `docs/keys.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyFiles {
    /// Ed25519 seed that signs acknowledgements, 32 bytes as hexadecimal digits.
    pub signing: PathBuf,
    /// The seed that signed before, while validators change from its public key to the new one:
    /// messages for it are taken, and tariffs that it signed are given out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_before: Option<PathBuf>,
    /// Ed25519 seed that signs tickets, 32 bytes as hexadecimal digits; only needed where tickets
    /// are issued.
    pub tickets: PathBuf,
    /// The cards' Transaction MAC keys, known to the depot only: a keystore, or for trials a file
    /// of 32 hexadecimal digits. The keystore of `card` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmac: Option<Source>,
    /// The keys that change cards: issuer, debit and load. Needed to issue and load, not to serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Source>,
}

impl KeyFiles {
    /// Where the Transaction MAC keys are.
    pub fn tmac_source(&self) -> Source {
        match (&self.tmac, &self.card) {
            (Some(source), _) => source.clone(),
            (None, Some(store @ Source::Store(_))) => store.clone(),
            (None, _) => PathBuf::from("keys/tmac-master.hex").into(),
        }
    }
}

/// How taps are taken in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intake {
    /// Batches booked in one durable commit at most.
    pub group_max: u32,
    /// Threads that verify batches; 0 means one per processor.
    pub verify_threads: u16,
}

/// The desk: issuing, loading, retiring cards. See `docs/card-desk.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Desk {
    /// This desk's number, 1 to 65535: its quota and its cash are kept under it.
    pub station: u16,
    /// What cards' profiles name as their issuer.
    pub issuer: u16,
    /// What a card may hold at most, such as "150.00"; no limit when empty.
    pub balance_max: String,
    /// Hours that the value of a lost card waits: longer than any validator stays offline.
    pub lost_hold_hours: u32,
}

/// When service days are closed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Days {
    /// Hours after its end at which the running server closes a service day (1 to 240); 0 = only
    /// `depot-server close` does. Taps that arrive later are booked into the next open day.
    pub close_after_hours: u32,
}

/// How operators share fares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settlement {
    /// The file of share rules (docs/reconciliation.md); without it each operator keeps what its
    /// rides earned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<PathBuf>,
}

/// What counts as dormant and as unclaimed: the agency's law, as data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Float {
    /// Days without use at which each bucket of the report begins, ascending.
    pub bucket_days: Vec<u32>,
    /// Days without use after which a card's value is unclaimed; 0 = never.
    pub unclaimed_days: u32,
    /// Values up to this are not looked for, such as "0.50".
    pub small: String,
}

/// Why a configuration cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: give its path with --config")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{path}: {message}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, cause and suggestion.
        message: String,
    },
    /// A value cannot be used.
    #[error("{key}: {problem}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
}

fn default_database() -> PathBuf {
    PathBuf::from("depot.sqlite")
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            public_url: String::new(),
            session_hours: 12,
        }
    }
}

impl Default for KeyFiles {
    fn default() -> Self {
        Self {
            signing: "keys/depot-signing.hex".into(),
            signing_before: None,
            tickets: "keys/ticket-signing.hex".into(),
            tmac: None,
            card: None,
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self { station: 1, issuer: 1, balance_max: "150.00".into(), lost_hold_hours: 72 }
    }
}

impl Default for Days {
    fn default() -> Self {
        Self { close_after_hours: 8 }
    }
}

impl Default for Float {
    fn default() -> Self {
        Self { bucket_days: vec![365, 730, 1825], unclaimed_days: 1825, small: String::new() }
    }
}

impl Default for Intake {
    fn default() -> Self {
        Self { group_max: 64, verify_threads: 0 }
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config = Self::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        config.resolve(folder);
        Ok(config)
    }

    /// Checks a text; `path` is only named in messages, and relative paths stay as they are.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Parse {
            path: path.to_owned(),
            message: check::explain(&e),
        })?;
        config.check()?;
        Ok(config)
    }

    /// A configuration that needs no file: everything in `folder`.
    pub fn in_folder(depot: &str, folder: &Path) -> Self {
        let mut config = Self {
            depot: depot.to_owned(),
            database: default_database(),
            tariffs: Vec::new(),
            http: Http::default(),
            mqtt: Mqtt::default(),
            keys: KeyFiles::default(),
            intake: Intake::default(),
            desk: Desk::default(),
            days: Days::default(),
            settlement: Settlement::default(),
            reconcile: Reconcile::default(),
            visitor: Visitor::default(),
            float: Float::default(),
            orders: Orders::default(),
            hotlist: Hotlist::default(),
            releases: Releases::default(),
            channels: Vec::new(),
            issuers: Vec::new(),
            products: Vec::new(),
        };
        config.resolve(folder);
        config
    }

    /// Relative paths start at `folder`.
    fn resolve(&mut self, folder: &Path) {
        self.keys.tmac = Some(self.keys.tmac_source());
        for source in self.keys.tmac.iter_mut().chain(&mut self.keys.card) {
            source.resolve(folder);
        }
        let keys = &mut self.keys;
        let paths = [&mut self.database, &mut keys.signing, &mut keys.tickets];
        let tls =
            self.mqtt.tls.iter_mut().flat_map(|t| [&mut t.ca, &mut t.certificate, &mut t.key]);
        let rules = self.settlement.rules.iter_mut();
        let secrets = self.channels.iter_mut().filter_map(|channel| channel.secret_file.as_mut());
        let paths = paths.into_iter().chain(&mut keys.signing_before);
        let all = paths.chain(self.tariffs.iter_mut()).chain(tls).chain(rules);
        for path in all.chain(secrets) {
            *path = folder.join(&*path);
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let value = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.into() });
        if self.depot.parse::<fleet_sync::DepotName>().is_err() {
            return value("depot", "use 1 to 32 of a-z, 0-9 and -: it is a level of topics");
        }
        if !(5..=3600).contains(&self.mqtt.keep_alive_s) {
            return value("mqtt.keep_alive_s", "use 5 to 3600 seconds");
        }
        if self.mqtt.receive_max < 10 {
            return value("mqtt.receive_max", "use 10 or more: batches of a group wait together");
        }
        if !(1..=4096).contains(&self.intake.group_max) {
            return value("intake.group_max", "use 1 to 4096 batches");
        }
        if !(1..=720).contains(&self.http.session_hours) {
            return value("http.session_hours", "use 1 to 720 hours");
        }
        if self.desk.station == 0 {
            return value("desk.station", "use 1 to 65535: a desk's number");
        }
        if self.days.close_after_hours > 240 {
            return value("days.close_after_hours", "use 1 to 240 hours, or 0 for never");
        }
        self.reconcile.check()?;
        self.visitor.check()?;
        let buckets = &self.float.bucket_days;
        if !buckets.is_sorted() || buckets.len() > 20 || buckets.first() == Some(&0) {
            return value("float.bucket_days", "use up to 20 numbers of days, ascending, above 0");
        }
        self.orders.check(self.keys.card.is_some())?;
        if self.desk.lost_hold_hours < 24 {
            return value("desk.lost_hold_hours", "use 24 or more: taps may arrive that late");
        }
        self.hotlist.check()?;
        self.releases.check()?;
        issuers::check(&self.issuers, self.desk.issuer)?;
        channels::check(&self.channels)?;
        products::check(&self.products)
    }

    /// A channel by its number; one that is not named has the defaults.
    pub fn channel(&self, number: u16) -> Channel {
        let named = self.channels.iter().find(|channel| channel.number == number);
        named.cloned().unwrap_or_else(|| Channel::unnamed(number))
    }

    /// The MQTT client id.
    pub fn client_id(&self) -> String {
        match self.mqtt.client_id.as_str() {
            "" => format!("tapline-depot-{}", self.depot),
            given => given.to_owned(),
        }
    }

    /// What login links start with.
    pub fn public_url(&self) -> String {
        match self.http.public_url.trim_end_matches('/') {
            "" => format!("http://{}", self.http.listen),
            given => given.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("depot.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_name_is_enough_and_paths_start_at_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("depot.toml");
        std::fs::write(&path, "depot = \"north\"\ntariffs = [\"city.toml\"]\n").unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.database, folder.path().join("depot.sqlite"));
        assert_eq!(config.tariffs, [folder.path().join("city.toml")]);
        assert_eq!(config.client_id(), "tapline-depot-north");
        assert_eq!(config.public_url(), "http://127.0.0.1:8080");
    }

    #[test]
    fn an_unknown_key_names_its_line_and_what_was_meant() {
        let error = parse("depot = \"north\"\n[mqtt]\nhots = \"b\"\n").unwrap_err();
        assert!(error.contains("line 3"), "{error}");
        assert!(error.contains("did you mean `host`?"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        for (text, key) in [
            ("depot = \"a/b\"", "depot"),
            ("depot = \"a\"\n[mqtt]\nkeep_alive_s = 1", "mqtt.keep_alive_s"),
            ("depot = \"a\"\n[mqtt]\nreceive_max = 1", "mqtt.receive_max"),
            ("depot = \"a\"\n[intake]\ngroup_max = 0", "intake.group_max"),
            ("depot = \"a\"\n[http]\nsession_hours = 0", "http.session_hours"),
            ("depot = \"a\"\n[desk]\nstation = 0", "desk.station"),
            ("depot = \"a\"\n[float]\nbucket_days = [2, 1]", "float.bucket_days"),
            ("depot = \"a\"\n[days]\nclose_after_hours = 241", "days.close_after_hours"),
            ("depot = \"a\"\n[orders]\noffered_days = 0", "orders.offered_days"),
            ("depot = \"a\"\n[orders]\nclock_bound_s = 86401", "orders.clock_bound_s"),
            ("depot = \"a\"\n[orders]\noverdue_days = 3661", "orders.overdue_days"),
            ("depot = \"a\"\n[orders]\nenabled = true", "orders.enabled"),
            ("depot = \"a\"\n[hotlist]\nrules = [\"forks\"]", "hotlist.rules"),
            ("depot = \"a\"\n[hotlist]\nwindow_hours = 0", "hotlist.window_hours"),
            ("depot = \"a\"\n[hotlist]\nadditions_max = 0", "hotlist.additions_max"),
            ("depot = \"a\"\n[desk]\nlost_hold_hours = 1", "desk.lost_hold_hours"),
            ("depot = \"a\"\n[[issuer]]\nnumber = 0", "issuer.number"),
            ("depot = \"a\"\n[[issuer]]\nnumber = 1", "issuer.first"),
            ("depot = \"a\"\n[[issuer]]\nnumber = 2\nfirst = true", "desk.issuer"),
            ("depot = \"a\"\n[[channel]]\nnumber = 0", "channel.number"),
            ("depot = \"a\"\n[[channel]]\nnumber = 7\n[[channel]]\nnumber = 7", "channel.number"),
            (
                "depot = \"a\"\n[[channel]]\nnumber = 7\nstatement_within_hours = 0",
                "channel.statement_within_hours",
            ),
            (
                "depot = \"a\"\n[[channel]]\nnumber = 7\nsignature_tolerance_s = 5",
                "channel.signature_tolerance_s",
            ),
            (
                "depot = \"a\"\n[[channel]]\nnumber = 7\nstatement = { delimiter = \"--\" }",
                "channel.statement.delimiter",
            ),
            (
                "depot = \"a\"\n[[channel]]\nnumber = 7\nstatement = { zone = \"Mars\" }",
                "channel.statement.zone",
            ),
            (
                "depot = \"a\"\n[[channel]]\nnumber = 7\nstatement = { currency = \"xx\" }",
                "channel.statement.currency",
            ),
        ] {
            assert!(parse(text).unwrap_err().starts_with(key), "{text}");
        }
        assert!(parse("").unwrap_err().contains("depot"));
    }
}
