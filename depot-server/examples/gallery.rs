//! The dashboard over made-up books: to look at the pages while working on them.
//!
//! `cargo run -p depot-server --example gallery -- [VALIDATORS]` prints the address to sign in.

#[path = "."]
mod pages {
    use depot_server::http::views;

    #[path = "../src/http/fixture/mod.rs"]
    pub(crate) mod fixture;
}

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use depot_server::{
    app::{App, AppState},
    auth,
    clock::Clock,
    config::Config,
    events::Events,
    http::{self, Names, Site, views::Live},
    metrics::Metrics,
    store::Store,
};
use pages::fixture::{CARD, CLASSES, Fixture, PLACES, ROUTES};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let validators = std::env::args().nth(1).map_or(Ok(10_000), |n| n.parse())?;
    let folder = std::env::temp_dir().join(format!("tapline-gallery-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let text = "depot = \"north\"\n[http]\nlisten = \"127.0.0.1:8088\"\n";
    let config = Config::parse(text, &folder.join("depot.toml"))?;
    let clock = Clock::system();
    let store = Arc::new(Store::open(&folder.join("gallery.sqlite"))?);
    let fixture = Arc::new(Fixture::new(clock.now(), validators, 12_000));
    let app = AppState::new(App {
        books: fixture.clone(),
        store: store.clone(),
        events: Events::default(),
        metrics: Metrics::default(),
        clock: clock.clone(),
        config,
    });
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let names = Names::new(texts(&PLACES), texts(&ROUTES), texts(&CLASSES));
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").context("the bundled zones")?;
    let site = Arc::new(Site::new(app.clone(), names, zone));
    tokio::spawn(http::pump(site.clone()));
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(120));
        loop {
            tick.tick().await;
            app.events.send(Live::Tap(fixture.go_on(clock.now())));
        }
    });
    let link = auth::invite(&store, "ana", Clock::system().now())?;
    let listener = tokio::net::TcpListener::bind(site.app.config.http.listen).await?;
    let address = listener.local_addr()?;
    #[expect(clippy::print_stdout, reason = "this is what the example is run for")]
    {
        println!("http://{address}/login?token={}", link.reveal());
        println!("card number: {}", CARD.to_hex());
    }
    axum::serve(listener, http::router(site)).await?;
    Ok(())
}
