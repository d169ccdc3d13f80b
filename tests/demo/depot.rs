//! The demo's depot: the production server on SQLite, in a folder that its own command line can
//! read afterwards.

use std::{fs, io, net::Ipv4Addr, path::Path, time::Duration};

use card::{Key, KeyRole, KeySet, KeyVersion};
use clearing::Issue;
use depot_server::{
    auth,
    clock::Clock,
    config::{Config, Keys},
    http::views::{Books, ExceptionFilter, Page},
    intake::{Checker, Workplace, register_cards},
    server::Depot,
    verify::{Report, verify},
};
use model::{CardId, CardRecord, ValidatorId};

use super::{DemoError, broker::free_port};

/// The depot's name.
pub const NAME: &str = "demo";
/// The port of the pages when nobody says another.
const PORT: u16 = 8080;

/// What is needed of the depot while it serves and after.
#[derive(Clone)]
pub struct Office {
    app: depot_server::app::AppState,
    place: Workplace,
    checker: Checker,
    speed: u32,
}

/// Where the pages can listen.
pub fn choose_port(wanted: Option<u16>) -> Result<u16, DemoError> {
    let free = |port: u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    match wanted {
        Some(port) => free(port).map(|_| port).map_err(|source| DemoError::Port { port, source }),
        None if free(PORT).is_ok() => Ok(PORT),
        None => free_port(18_080).map_err(|source| DemoError::Port { port: PORT, source }),
    }
}

/// Writes the depot's files and opens its books. Returns the cards' master keys as well.
pub fn open(
    folder: &Path,
    tariff: &str,
    (http, mqtt): (u16, u16),
    (clock, speed): (Clock, u32),
    card_root: [u8; 16],
) -> Result<(Depot, Office, KeySet), DemoError> {
    let written = |source| DemoError::State { path: folder.to_owned(), source };
    fs::write(folder.join("tariff.toml"), tariff).map_err(written)?;
    // For the depot's own commands, such as verify, after the demo.
    let text = format!("depot = \"{NAME}\"\ntariffs = [\"tariff.toml\"]\n");
    fs::write(folder.join("depot.toml"), text).map_err(written)?;
    let mut config = Config::in_folder(NAME, folder);
    config.tariffs = vec![folder.join("tariff.toml")];
    config.mqtt.host = "127.0.0.1".into();
    config.mqtt.port = mqtt;
    config.http.listen = (Ipv4Addr::LOCALHOST, http).into();
    // Sessions are measured by the depot's clock, which runs fast.
    config.http.session_hours = (12 * speed).min(720);
    Keys::create_missing(&config.keys).map_err(DemoError::start)?;
    let tmac = Keys::load(&config.keys).map_err(DemoError::start)?.tmac;
    let root = KeySet::from_root(&Key(card_root));
    let tmac = tmac.master(KeyRole::Tmac, KeyVersion::FIRST).expect("a depot holds it").clone();
    let card_keys = root.with(KeyRole::Tmac, KeyVersion::FIRST, tmac);
    let depot = Depot::open(config, clock).map_err(DemoError::start)?;
    let office = Office {
        app: depot.app().clone(),
        place: depot.workplace().clone(),
        checker: depot.checker().clone(),
        speed,
    };
    Ok((depot, office, card_keys))
}

impl Office {
    /// Lets a validator hand in taps.
    pub fn enrol(
        &self,
        validator: ValidatorId,
        key: &fleet_sync::VerifyingKey,
        name: &str,
    ) -> Result<(), DemoError> {
        let now = self.app.clock.now();
        self.app.store.enrol(validator, key, name, false, now).map(drop).map_err(DemoError::start)
    }

    /// Opens the books of all cards in one commit.
    pub fn register(&self, issued: &[(CardId, CardRecord)]) -> Result<(), DemoError> {
        let issue =
            |(card, record): &_| Issue { card: *card, record: *record, purse: None, issuer: None };
        let cards: Vec<_> = issued.iter().map(issue).collect();
        register_cards(&self.place, &cards).map_err(DemoError::start)
    }

    /// A link that logs in once, within a quarter of an hour on the wall.
    pub fn login(&self) -> Result<String, DemoError> {
        let wall = auth::LINK_LIFETIME * self.speed;
        let from = self.app.clock.now().plus(wall.saturating_sub(auth::LINK_LIFETIME));
        let secret = auth::invite(&self.app.store, "demo", from).map_err(DemoError::start)?;
        Ok(self.url(&format!("/login?token={}", secret.reveal())))
    }

    /// A page's address.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.app.config.public_url())
    }

    /// The page of a card, once the books know it.
    pub async fn card_page(&self, card: CardId) -> Option<String> {
        let handle = self.app.ask(move |books| books.find_card(card)).await.ok()??;
        Some(self.url(&format!("/cards/{handle}")))
    }

    /// The page of the newest exception, once there is one.
    pub async fn newest_exception(&self) -> Option<String> {
        let newest = |filter: ExceptionFilter| {
            move |books: &dyn Books| books.exceptions(&filter, Page::first(1))
        };
        let rows = self.app.ask(newest(ExceptionFilter::default())).await.ok()?;
        Some(self.url(&format!("/exceptions/{}", rows.first()?.id)))
    }

    /// Open and ever opened exceptions.
    pub async fn exceptions(&self) -> (u64, u64) {
        let tally = self.app.ask(Books::exception_tally).await.unwrap_or_default();
        tally.iter().fold((0, 0), |(open, opened), kind| (open + kind.open, opened + kind.opened))
    }

    /// Kinds of exceptions with how many were opened.
    pub async fn kinds(&self) -> Vec<(&'static str, u64)> {
        let tally = self.app.ask(Books::exception_tally).await.unwrap_or_default();
        let some = tally.iter().filter(|kind| kind.opened > 0);
        some.map(|kind| (kind.kind.word(), kind.opened)).collect()
    }

    /// Entries booked.
    pub fn booked(&self) -> u64 {
        self.place.metrics.ingest_taps.with_label_values(&["new"]).get()
    }

    /// Books everything again and compares.
    pub fn verify(&self) -> Result<Report, DemoError> {
        verify(&self.place.store, &self.checker, &self.place.rules).map_err(DemoError::start)
    }

    /// Waits until the pages answer.
    pub async fn ready(&self) -> io::Result<()> {
        for _ in 0..500 {
            let address = self.app.config.http.listen;
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(io::Error::other("the dashboard does not listen"))
    }
}
