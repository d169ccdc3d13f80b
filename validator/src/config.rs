//! The configuration file: every key, its default, and errors that say what to write instead.
//!
//! Invariants: a key that is not known is an error; whatever leaves this file as a [`Config`] has
//! been checked, so the daemon never meets an empty host or a role that does not exist. Secrets
//! are named by the path of their file, never written here.

mod annotate;
mod console;
mod release;
mod settings;
mod suggestion;
mod tickets;

use std::{
    fmt::Display,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use custody::Source;
use fleet_sync::DepotName;
use model::{TapRole, ValidatorId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use steering::OwnSettings;
use texts::Language;

use gate::{GateConfig, GateConfigError};
use gnss::{GnssConfig, GnssConfigError};
use link::{Protocol, Tls};
use reader::{ReaderConfig, ReaderConfigError, ScannerConfig, ScannerConfigError};
use validation::RelayGuard;

use self::{
    annotate::{annotate, of_file},
    suggestion::suggestion,
};
use crate::{clock::ClockKeeper, speech::Payloads};

pub use console::Console;
pub use release::Release;
pub use rider::Settings as Rider;
pub use tickets::Tickets;

/// Everything that a validator is told by its file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who and where this validator is.
    pub validator: Identity,
    /// Where it keeps what must survive a power cut.
    pub state: State,
    /// The tariffs it prices with.
    pub tariff: Tariffs,
    /// Files that hold keys.
    pub keys: Keys,
    /// What reads the cards.
    pub reader: ReaderConfig,
    /// What reads tickets, on validators that take them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner: Option<ScannerConfig>,
    /// The satellite receiver of a vehicle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gnss: Option<GnssConfig>,
    /// The gate behind the reader, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateConfig>,
    /// Which tickets are taken.
    #[serde(default)]
    pub tickets: Tickets,
    /// Where its taps go.
    pub broker: Broker,
    /// What comes from the depot for all validators.
    #[serde(default)]
    pub lists: Lists,
    /// Whose software it takes.
    #[serde(default)]
    pub release: Release,
    /// Windows in which a card presented again is answered differently.
    #[serde(default)]
    pub rules: Rules,
    /// Where companions are chosen.
    #[serde(default)]
    pub console: Console,
    /// What tells riders.
    #[serde(default)]
    pub rider: Rider,
    /// The local metrics page.
    #[serde(default)]
    pub metrics: Metrics,
}

/// `[validator]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `v` and six digits; also the topic level and the name in the certificate.
    #[serde(with = "text")]
    pub id: ValidatorId,
    /// `board`, `entry` or `exit`.
    #[serde(with = "text")]
    pub role: TapRole,
    /// The stop or station where it stands, as the tariff names it.
    pub place: String,
    /// The route it serves, as the tariff names it; only on vehicles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The depot it belongs to: one topic level.
    #[serde(with = "text")]
    pub depot: DepotName,
    /// What keeps the machine's clock, where the system does not say: chrony, a receiver of the
    /// vehicle. Load orders are carried out by a clock that somebody set, and by no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_kept_by: Option<ClockKeeper>,
    /// The language of its riders, `en` or `ko`.
    #[serde(default, with = "text")]
    pub language: Language,
}

/// `[state]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The folder of the tap store, its lock and its sequence guard, on the data partition.
    pub folder: PathBuf,
    /// Memory for the store's cache, MiB.
    #[serde(default = "default_cache_mib")]
    pub cache_mib: u64,
    /// Entries stay at least this long, also when the depot has them: a tap in doubt is decided
    /// with them, and they are a copy for the worst day.
    #[serde(default = "default_keep_days")]
    pub keep_days: u64,
    /// Room that must be free there, MiB: with less the validator leaves service before the device
    /// is full.
    #[serde(default = "default_reserve_mib")]
    pub reserve_mib: u64,
    /// How long opening the store may take before it is put aside as damaged.
    #[serde(default = "default_open_deadline_s")]
    pub open_deadline_s: u64,
}

/// `[tariff]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariffs {
    /// Tariff files, one per version; the newest that is in force is used, the older ones end
    /// journeys that began under them.
    pub files: Vec<PathBuf>,
}

/// `[keys]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// This validator's own signing key, made by `validator keygen`; mode 0600.
    pub signing: PathBuf,
    /// Where the card keys are that this validator may use.
    pub card: Source,
    /// The depot's public key: 64 hexadecimal digits in a file.
    pub depot: PathBuf,
}

/// `[broker]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// TCP port; 8883 is customary with TLS.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Pings are sent this often; a dead link is noticed after at most twice this time.
    #[serde(default = "default_keep_alive_s")]
    pub keep_alive_s: u64,
    /// Which MQTT the broker speaks: `5`, or `3.1.1` where it speaks only that.
    #[serde(default)]
    pub protocol: Protocol,
    /// How taps are sent at least: `signed`, readable for the broker, or `sealed`, which only the
    /// depot opens.
    #[serde(default)]
    pub payloads: Payloads,
    /// Certificates. Without this table the link is not encrypted, which only a loopback broker
    /// is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// `[lists]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lists {
    /// A validator whose newest complete lists are older leaves service until newer ones are here;
    /// 0 = never. Nothing is asked of one that has no lists yet.
    pub max_age_h: u64,
}

/// `[rules]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// A card that left too early and comes back within this time finishes its tap and is not
    /// charged again.
    pub retry_window_s: u64,
    /// A balance below this, in minor units, is pointed out to the rider.
    pub low_balance: u32,
    /// How much later than a card, its radio link and its line explain an answer may come before
    /// a relay is suspected; 0 asks nothing.
    pub relay_slack_ms: u64,
}

/// `[metrics]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Where to serve `/metrics`, a loopback address; absent = not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

impl State {
    /// This folder, and defaults for the rest.
    pub const fn in_folder(folder: PathBuf) -> Self {
        Self {
            folder,
            cache_mib: default_cache_mib(),
            keep_days: default_keep_days(),
            reserve_mib: default_reserve_mib(),
            open_deadline_s: default_open_deadline_s(),
        }
    }
}

impl Default for Lists {
    fn default() -> Self {
        Self { max_age_h: 168 }
    }
}

impl Lists {
    /// `None` = of any age.
    pub(crate) fn age_max(self) -> Option<Duration> {
        (self.max_age_h != 0).then(|| Duration::from_secs(self.max_age_h * 3600))
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { retry_window_s: 120, low_balance: 0, relay_slack_ms: default_relay_slack_ms() }
    }
}

impl Rules {
    /// As the validation core wants it.
    pub const fn retry_window(self) -> Duration {
        Duration::from_secs(self.retry_window_s)
    }

    /// As the validation core wants it.
    pub fn relay_slack(self) -> Option<Duration> {
        (self.relay_slack_ms != 0).then(|| Duration::from_millis(self.relay_slack_ms))
    }
}

fn default_relay_slack_ms() -> u64 {
    u64::try_from(RelayGuard::SLACK.as_millis()).expect("a few milliseconds")
}
const fn default_cache_mib() -> u64 {
    8
}
const fn default_keep_days() -> u64 {
    7
}
const fn default_reserve_mib() -> u64 {
    16
}
const fn default_open_deadline_s() -> u64 {
    30
}
const fn default_port() -> u16 {
    8883
}
const fn default_keep_alive_s() -> u64 {
    20
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path}: check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The text is not TOML, or holds a key or value that is not known.
    #[error("{path}: {message}{suggestion}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
        /// What was probably meant.
        suggestion: String,
    },
    /// The table `[reader]` cannot be right.
    #[error("{path}: {source}")]
    Reader {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to write.
        source: ReaderConfigError,
    },
    /// The table `[scanner]` cannot be right.
    #[error("{path}: {source}")]
    Scanner {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to write.
        source: ScannerConfigError,
    },
    /// The table `[gnss]` cannot be right.
    #[error("{path}: {source}")]
    Gnss {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to write.
        source: GnssConfigError,
    },
    /// The table `[gate]` cannot be right.
    #[error("{path}: {source}")]
    Gate {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to write.
        source: GateConfigError,
    },
    /// A value is of the right type and still cannot be right.
    #[error("{path}: {key} {problem}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// What is wrong and what to write.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        Self::parse(path, &text)
    }

    /// Checks a text; `path` is only used to name the file in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Parse {
            path: path.to_path_buf(),
            message: e.to_string().trim_end().to_string(),
            suggestion: suggestion(e.message()),
        })?;
        config.check_all(path)?;
        Ok(config)
    }

    /// Everything that can be said without opening a device.
    fn check_all(&self, path: &Path) -> Result<(), ConfigError> {
        let path = || path.to_path_buf();
        self.check(&path())?;
        self.reader.check().map_err(|source| ConfigError::Reader { path: path(), source })?;
        if let Some(gnss) = &self.gnss {
            gnss.check().map_err(|source| ConfigError::Gnss { path: path(), source })?;
        }
        if let Some(gate) = &self.gate {
            gate.check().map_err(|source| ConfigError::Gate { path: path(), source })?;
        }
        if let Some(scanner) = &self.scanner {
            scanner.check().map_err(|source| ConfigError::Scanner { path: path(), source })?;
        }
        Ok(())
    }

    /// One `if` per rule, each naming its key.
    pub fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str| {
            Err(ConfigError::Value { path: path.to_path_buf(), key, problem: problem.to_string() })
        };
        if self.validator.id == ValidatorId::DEPOT {
            return wrong("validator.id", "is v000000, which is the depot's own: use another");
        }
        if self.validator.place.is_empty() {
            return wrong("validator.place", "is empty: name a place of the tariff");
        }
        if self.tariff.files.is_empty() {
            return wrong("tariff.files", "is empty: name at least one tariff file");
        }
        if self.state.reserve_mib < 4 {
            return wrong("state.reserve_mib", "must be 4 or more: taps under way need room");
        }
        if !(1..=1024).contains(&self.state.cache_mib) {
            return wrong("state.cache_mib", "must lie between 1 and 1024");
        }
        if !(1..=365).contains(&self.state.keep_days) {
            return wrong("state.keep_days", "must lie between 1 and 365");
        }
        if !(1..=600).contains(&self.state.open_deadline_s) {
            return wrong("state.open_deadline_s", "must lie between 1 and 600");
        }
        if self.broker.host.is_empty() {
            return wrong("broker.host", "is empty: name the broker");
        }
        if self.broker.tls.is_none() && !is_loopback(&self.broker.host) {
            return wrong(
                "broker.tls",
                "is missing: only a broker on this machine may be used without certificates",
            );
        }
        if !(5..=1200).contains(&self.broker.keep_alive_s) {
            return wrong("broker.keep_alive_s", "must lie between 5 and 1200");
        }
        if self.lists.max_age_h > 24 * 366 {
            return wrong("lists.max_age_h", "must be at most 8784, a year, or 0 for no limit");
        }
        if self.rules.retry_window_s > 3600 {
            return wrong("rules.retry_window_s", "must be at most 3600");
        }
        if !matches!(self.rules.relay_slack_ms, 0 | 20..=2000) {
            return wrong(
                "rules.relay_slack_ms",
                "must lie between 20 and 2000, or be 0 to accept answers of any age",
            );
        }
        let problem = self.tickets.problem(self).or_else(|| self.rider.problem());
        if let Some((key, problem)) = problem.or_else(|| self.release.problem()) {
            return wrong(key, &problem);
        }
        if let Some(problem) = self.console.problem() {
            return wrong("console.socket", problem);
        }
        if self.metrics.listen.is_some_and(|a| !a.ip().is_loopback()) {
            return wrong("metrics.listen", "must be a loopback address, such as 127.0.0.1:9464");
        }
        Ok(())
    }

    /// The merged configuration as TOML, each value with its origin: what the depot set, if it did,
    /// the line of the file that says it, or that nobody did.
    pub fn annotated(&self, file_text: &str, set: Option<&OwnSettings>) -> String {
        let mut origins = of_file(file_text);
        if let Some(set) = set {
            self.set_origins(set, &mut origins);
        }
        let mut out = String::new();
        annotate(&mut out, &mut Vec::new(), &self.table(), &origins);
        out
    }

    fn table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("a checked configuration is a table")
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Values that have a text form of their own.
mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(v: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(v)
    }

    pub(super) fn deserialize<'de, T, D>(d: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    pub(super) const GOOD: &str = r#"
[validator]
id = "v000042"
role = "entry"
place = "central"
depot = "north"

[state]
folder = "/var/lib/tapline"

[tariff]
files = ["/etc/tapline/tariff-1.toml"]

[keys]
signing = "/etc/tapline/signing.key"
card = "/etc/tapline/card.key"
depot = "/etc/tapline/depot.pub"

[reader]
kind = "pn532"
port = "/dev/ttyUSB0"

[broker]
host = "127.0.0.1"
port = 1883
"#;

    #[test]
    fn the_shipped_sample_is_valid_and_shows_every_key() {
        let sample = include_str!("../../deploy/validator.toml");
        let config = Config::parse(Path::new("deploy/validator.toml"), sample).unwrap();
        let merged = config.annotated(sample, None);
        assert!(!merged.contains("# default"), "a key is missing in the sample:\n{merged}");
        // Keys without a default stand in the sample behind a `#`.
        let optional = [
            "route",
            "baud",
            "rf_kbps",
            "connstring",
            "helper",
            "idle_ms",
            "socket",
            "listen",
            "way",
            "registers",
            "pins",
            "key",
        ];
        for optional in optional {
            assert!(sample.contains(&format!("{optional} = ")), "{optional}");
        }
    }

    fn error(text: &str) -> String {
        Config::parse(Path::new("validator.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn the_merged_configuration_says_where_each_value_comes_from() {
        let config = Config::parse(Path::new("validator.toml"), GOOD).unwrap();
        expect![[r#"
            [broker]
            host = "127.0.0.1"  # line 24
            keep_alive_s = 20  # default
            payloads = "signed"  # default
            port = 1883  # line 25
            protocol = "5"  # default

            [console]

            [keys]
            card = "/etc/tapline/card.key"  # line 16
            depot = "/etc/tapline/depot.pub"  # line 17
            signing = "/etc/tapline/signing.key"  # line 15

            [lists]
            max_age_h = 168  # default

            [metrics]

            [reader]
            kind = "pn532"  # line 20
            port = "/dev/ttyUSB0"  # line 21

            [release]

            [rider]
            private = false  # default

            [rider.sound]
            night_from_h = 22  # default
            night_until_h = 6  # default
            night_volume = 50  # default
            volume = 100  # default

            [rules]
            low_balance = 0  # default
            relay_slack_ms = 60  # default
            retry_window_s = 120  # default

            [state]
            cache_mib = 8  # default
            folder = "/var/lib/tapline"  # line 9
            keep_days = 7  # default
            open_deadline_s = 30  # default
            reserve_mib = 16  # default

            [tariff]
            files = ["/etc/tapline/tariff-1.toml"]  # line 12

            [tickets]
            keys = []  # default
            repeat_ms = 3000  # default

            [validator]
            depot = "north"  # line 6
            id = "v000042"  # line 3
            language = "en"  # default
            place = "central"  # line 5
            role = "entry"  # line 4
        "#]]
        .assert_eq(&config.annotated(GOOD, None));
    }

    #[test]
    fn an_unknown_key_is_named_with_the_one_that_was_meant() {
        let text = GOOD.replace("kind = ", "knid = ");
        let message = error(&text);
        assert!(message.contains("validator.toml"), "{message}");
        assert!(message.contains("unknown field `knid`"), "{message}");
        assert!(message.ends_with("did you mean `kind`?"), "{message}");
        let far = error(&GOOD.replace("[state]", "[state]\nzzzzzzzzzzzz = 1"));
        assert!(!far.contains("did you mean"), "{far}");
    }

    #[test]
    fn a_value_that_cannot_be_right_is_named_by_its_key() {
        for (from, to, key) in [
            ("v000042", "v000000", "validator.id"),
            ("\"central\"", "\"\"", "validator.place"),
            ("[\"/etc/tapline/tariff-1.toml\"]", "[]", "tariff.files"),
            ("127.0.0.1", "broker.example", "broker.tls"),
            ("port = 1883", "port = 1883\nkeep_alive_s = 1", "broker.keep_alive_s"),
            ("[reader]", "[rules]\nretry_window_s = 9999\n[reader]", "rules.retry_window_s"),
            ("[reader]", "[rules]\nrelay_slack_ms = 5\n[reader]", "rules.relay_slack_ms"),
            ("[reader]", "[console]\nsocket = \"console.sock\"\n[reader]", "console.socket"),
            ("[reader]", "[lists]\nmax_age_h = 9999\n[reader]", "lists.max_age_h"),
            ("[reader]", "[metrics]\nlisten = \"0.0.0.0:1\"\n[reader]", "metrics.listen"),
        ] {
            let message = error(&GOOD.replace(from, to));
            assert!(message.starts_with(&format!("validator.toml: {key} ")), "{message}");
        }
    }

    #[test]
    fn a_wrong_role_says_which_roles_exist() {
        let message = error(&GOOD.replace("\"entry\"", "\"enter\""));
        assert!(message.contains("use board, entry or exit"), "{message}");
        let message = error(&GOOD.replace("\"north\"", "\"No.rth\""));
        assert!(message.contains("is not a depot name"), "{message}");
        let message = error(&GOOD.replace("port = \"/dev/ttyUSB0\"\n", ""));
        assert!(message.contains("needs port"), "{message}");
    }
}
