//! The pages from outside: requests through the router, over the made-up books.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use jiff::tz::TimeZone;
use model::Timestamp;
use tower::ServiceExt as _;

use super::{
    Names, Site,
    fixture::{CARD, CLASSES, Fixture, HANDLE, PLACES, ROUTES},
    router,
    views::{Books as _, Live, Page, TapFilter},
};
use crate::{
    app::{App, AppState},
    auth,
    clock::Clock,
    config::Config,
    events::Events,
    metrics::Metrics,
    steering,
    store::Store,
};

/// 2026-11-22T15:00:30+01:00.
const NOW: Timestamp = Timestamp::from_secs(1_795_356_030);

/// Somebody who is signed in.
struct Browser {
    router: Router,
    cookie: String,
}

struct Desk {
    browser: Browser,
    site: Arc<Site>,
    books: Arc<Fixture>,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Desk {
    type Target = Browser;
    fn deref(&self) -> &Browser {
        &self.browser
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Desk {
    /// A depot with somebody signed in.
    fn open() -> Self {
        let (folder, store) = Store::for_test();
        let books = Arc::new(Fixture::new(NOW, 600, 2_400));
        let app = AppState::new(App {
            config: Config::in_folder("north", folder.path()),
            books: books.clone(),
            store: Arc::new(store),
            events: Events::default(),
            metrics: Metrics::default(),
            clock: Clock::manual(NOW),
        });
        let names = Names::new(texts(&PLACES), texts(&ROUTES), texts(&CLASSES));
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let site = Arc::new(Site::new(app, names, zone));
        Self { browser: Browser::sign_in(&site), site, books, _folder: folder }
    }
}

impl Browser {
    fn sign_in(site: &Arc<Site>) -> Self {
        let (store, now) = (&site.app.store, site.now());
        let link = auth::invite(store, "ana", now).unwrap();
        let (secret, _) = auth::redeem(store, link.reveal(), now, 12).unwrap();
        let name = if super::session::plain_http(site) { "tapline" } else { "__Host-tapline" };
        let cookie = format!("{name}={}", secret.reveal());
        Self { router: router(Arc::clone(site)), cookie }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, address: &str) -> (StatusCode, String) {
        let request = Request::get(address).header(header::COOKIE, &self.cookie);
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn page(&self, address: &str) -> String {
        let (status, html) = self.get(address).await;
        assert_eq!(status, StatusCode::OK, "{address}: {html}");
        html
    }

    async fn post(&self, address: &str, form: &str) -> Response<Body> {
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post(address)
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, kind)
            .header("sec-fetch-site", "same-origin");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }
}

/// The text between two marks, from the first occurrence of the first on.
fn between<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    let start = html.find(from).unwrap_or_else(|| panic!("no {from} in the page")) + from.len();
    let end = html[start..].find(to).unwrap_or_else(|| panic!("no {to} after {from}"));
    &html[start..start + end]
}

fn number(text: &str) -> u64 {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

const PAGES: [&str; 10] = [
    "/",
    "/fleet",
    "/fleet/v000017",
    "/taps",
    "/taps?outcome=refused&within=day",
    "/cards",
    "/cards/9f3c51d20b7e4418",
    "/exceptions?state=all",
    "/exceptions/239",
    "/money",
];

#[tokio::test]
async fn every_page_is_shown_and_carries_the_policy() {
    let desk = Desk::open();
    for address in PAGES {
        let request = Request::get(address).header(header::COOKIE, &desk.cookie);
        let response = desk.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{address}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(!policy.contains("unsafe"));
        assert_eq!(response.headers()["cache-control"], "no-store", "{address}");
    }
}

#[tokio::test]
async fn rec_13_the_page_of_money_shows_what_is_held_and_settled_days_that_net_to_zero() {
    let desk = Desk::open();
    let (_, html) = desk.get("/money").await;
    for shown in [
        "2026-11-21",
        "2026-11-20",
        "metro",
        "earned = paid out + fees",
        "held in all",
        "Owed to operators",
        "Harbour (7)",
        "depot-server settle --day 2026-11-20",
        "root a5a5a5a5a5a5a5a5",
    ] {
        assert!(html.contains(shown), "{shown}");
    }
    assert!(!html.contains("do not pay by this statement"));
}

/// The policy would block it; better not to write it.
#[tokio::test]
async fn no_page_has_inline_style_script_or_handlers_or_names_another_host() {
    let desk = Desk::open();
    for address in PAGES.into_iter().chain(["/login", "/fleet/v999999"]) {
        let (_, html) = desk.get(address).await;
        for tag in html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or_default()) {
            let name = tag.split_whitespace().next().unwrap_or_default();
            assert_ne!(name, "style", "{address}");
            assert!(name != "script" || tag.contains(" src=\"/static/"), "{address}: <{tag}>");
            for attribute in tag.split_whitespace().skip(1) {
                let Some((name, _)) = attribute.split_once("=\"") else { continue };
                assert_ne!(name, "style", "{address}: <{tag}>");
                assert!(!name.starts_with("on"), "{address}: <{tag}>");
            }
            assert!(!tag.contains("=\"http"), "{address}: <{tag}>");
        }
        assert!(!html.contains("javascript:"), "{address}");
    }
}

#[tokio::test]
async fn without_a_session_there_is_only_the_way_to_sign_in() {
    let desk = Desk::open();
    for address in PAGES {
        let response = desk.send(Request::get(address).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{address}");
        assert_eq!(response.headers()[header::LOCATION], "/login");
    }
    for address in ["/events", "/api/v1/fleet/snapshot", "/api/v1/taps"] {
        let response = desk.send(Request::get(address).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{address}");
    }
    for address in ["/login", "/healthz", "/metrics", &super::assets::url("app.css")] {
        let response = desk.send(Request::get(address).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{address}");
    }
}

#[tokio::test]
async fn a_token_signs_in_once_and_signing_out_ends_it() {
    let desk = Desk::open();
    let link = auth::invite(&desk.site.app.store, "ben", NOW).unwrap();
    let address = format!("/login?token={}", link.reveal());
    let request = || Request::get(&address).body(Body::empty()).unwrap();
    let response = desk.send(request()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(desk.send(request()).await.status(), StatusCode::FORBIDDEN);

    let response = desk.post("/logout", "").await;
    assert_eq!(response.headers()[header::LOCATION], "/login");
    assert_eq!(desk.get("/").await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_form_from_another_site_is_refused() {
    let desk = Desk::open();
    let request = Request::post("/logout")
        .header(header::COOKIE, &desk.cookie)
        .header("sec-fetch-site", "cross-site");
    let response = desk.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(desk.get("/").await.0, StatusCode::OK);
}

/// Design §9: no figure on a screen differs from the list behind it.
#[tokio::test]
async fn every_figure_of_the_overview_equals_the_list_that_it_links_to() {
    let desk = Desk::open();
    assert_eq!(compare_figures(&desk).await, 6, "figures were not found");
}

/// Compares each figure with its list and says how many there were.
async fn compare_figures(desk: &Browser) -> usize {
    let overview = desk.page("/").await;
    let mut checked = 0;
    for figure in overview.split("<a class=\"figure\" href=\"").skip(1) {
        let address = between(figure, "", "\"").replace("&#38;", "&").replace("&amp;", "&");
        let value = between(figure, "<span class=\"value\">", "</span>");
        let list = desk.page(&address).await;
        let label = between(figure, "<span class=\"label\">", "</span>");
        let listed = match label {
            "Entries, last 5 min" | "Refused, last 5 min" | "In doubt, this service day" => {
                between(&list, "<dt>Entries</dt><dd>", "</dd>")
            }
            "Tap time p95, last 5 min" => between(&list, "<dt>Took, p95</dt><dd>", "</dd>"),
            "Charged, this service day" => {
                between(&list, "<dt>Charged</dt><dd><data class=\"cash\" value=\"", "\"")
            }
            "Open exceptions" => between(&list, "Open <span class=\"soft\">", "</span>"),
            _ => continue,
        };
        assert_eq!(number(value), number(listed), "{label}: {address}");
        checked += 1;
    }
    checked
}

#[tokio::test]
async fn every_need_and_every_share_of_the_fleet_equals_its_list() {
    let desk = Desk::open();
    assert_eq!(compare_needs(&desk).await, [600, 600, 600], "one state of each kind for each");
}

/// Compares each need and each share with its list; gives the sum of each kind of share.
async fn compare_needs(desk: &Browser) -> Vec<u64> {
    let overview = desk.page("/").await;
    let legend = overview.split("<ul class=\"legend\">").skip(1);
    let mut total = Vec::new();
    for states in legend {
        let mut sum = 0;
        for state in between(states, "", "</ul>").split("<a href=\"").skip(1) {
            let address = between(state, "", "\"").replace("&#38;", "&");
            let list = desk.page(&address).await;
            let listed = number(between(&list, "id=\"shown\">", "</b>"));
            assert_eq!(number(between(state, "<b>", "</b>")), listed, "{address}");
            sum += listed;
        }
        total.push(sum);
    }
    for need in overview.split("<a class=\"need go\" href=\"").skip(1) {
        let address = between(need, "", "\"").replace("&#38;", "&");
        let title = between(need, "<strong>", "</strong>");
        let list = desk.page(&address).await;
        let listed = if address.starts_with("/fleet") {
            between(&list, "id=\"shown\">", "</b>")
        } else {
            let after = &list[list.find("id=\"list-title\"").unwrap()..];
            between(after, "<span class=\"soft\">", "</span>")
        };
        let said = title.rsplit([':', ' ']).find(|w| w.chars().any(|c| c.is_ascii_digit()));
        assert_eq!(said.map(number), Some(number(listed)), "{title}: {address}");
    }
    total
}

#[tokio::test]
async fn the_gravest_need_comes_first() {
    let desk = Desk::open();
    let overview = desk.page("/").await;
    let tones: Vec<_> = overview
        .split("<a class=\"need go\"")
        .skip(1)
        .map(|need| between(need, "<span class=\"st ", "\""))
        .collect();
    let rank = |tone: &str| ["bad", "warn", "info"].iter().position(|t| *t == tone);
    assert!(tones.len() > 5 && tones.is_sorted_by_key(|tone| rank(tone)), "{tones:?}");
    assert!(overview.find("Needs you").unwrap() < overview.find("class=\"figure\"").unwrap());
}

#[tokio::test]
async fn the_hotlist_page_says_why_the_breaker_is_open_and_the_command_for_each_case() {
    let desk = Desk::open();
    let page = desk.page("/hotlist").await;
    let breaker = between(&page, "id=\"breaker\"", "</section>");
    assert!(breaker.contains("The breaker is open"), "{breaker}");
    assert!(breaker.contains("250000 approved cards waited"), "{breaker}");
    let reject = "depot-server hotlist reject --cause fork --validator v000042 --by NAME";
    assert!(page.contains(reject), "{page}");
    assert!(page.contains("depot-server hotlist confirm 7 --by NAME"), "{page}");
    assert!(page.contains("<a href=\"/exceptions/3\">exception 3</a>"), "{page}");
    assert!(page.contains(&format!("/cards/{HANDLE}")), "{page}");
}

#[tokio::test]
async fn the_rollouts_page_says_what_is_halted_and_why_who_is_behind_and_who_decided() {
    let desk = Desk::open();
    let page = desk.page("/rollouts").await;
    let release = between(&page, "id=\"release-3\"", "</section>");
    for words in ["Halted: 2 of 12 validators", "(rule)", "v000042", "value=\"resume\">Go on"] {
        assert!(release.contains(words), "{words}: {release}");
    }
    assert!(!release.contains("Widen"), "a halted plan goes no further: {release}");
    let settings = between(&page, "id=\"settings-8\"", "</section>");
    assert!(settings.contains("<b>131</b> there · <b>19</b> on the way"), "{settings}");
    assert!(settings.contains("value=\"widen\"") && settings.contains("Take back"), "{settings}");
    let behind = between(&page, "id=\"behind\"", "</table>");
    let order = ["v000532", "v000033", "v000228"].map(|id| behind.find(id).expect(id));
    assert!(order.is_sorted(), "whoever never had lists first: {behind}");
    let decisions = between(&page, "id=\"decisions\"", "</table>");
    assert!(decisions.contains("2 validators out of service"), "{decisions}");
}

/// The text of a refusal.
async fn refused(response: Response<Body>) -> String {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn whoever_is_signed_in_decides_about_rollouts_and_service_in_their_own_name() {
    let desk = Desk::open();
    let store = Arc::clone(&desk.site.app.store);
    let ids: Vec<_> = [7_u32, 9].into_iter().filter_map(model::ValidatorId::new).collect();
    for id in &ids {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        store.enrol(*id, &key.verifying_key(), "bus", false, NOW).unwrap();
    }
    let publish = |text: &str, percent| {
        let publication = steering::settings::Publication {
            text: text.to_owned(),
            canaries: vec![],
            percent,
            reason: "summer".to_owned(),
            by: "ben".to_owned(),
        };
        steering::settings::publish(&store, &publication, NOW).unwrap()
    };
    let quiet =
        "[all]\nrider.sound.volume = 30\n[group.yard]\nvalidators = [\"v000007\"]\nset = {}\n";
    publish("[all]\nrider.sound.volume = 80\n", 100);
    publish(quiet, 10);
    let form = "kind=settings&number=2&act=widen&percent=60&reason=seen";
    assert_eq!(desk.post("/rollouts", form).await.status(), StatusCode::SEE_OTHER);
    let now = steering::current(&store).unwrap();
    assert_eq!(now.settings[&2].version.percent, 60);
    let said = refused(desk.post("/rollouts", &form.replace("60", "50")).await).await;
    assert!(said.contains("only rises, from 60"), "{said}");
    let said = refused(desk.post("/rollouts", "kind=release&number=4&act=halt&reason=x").await);
    assert!(said.await.contains("plan 4 is not known"));
    let back = "kind=settings&number=2&act=back&reason=too+quiet";
    assert_eq!(desk.post("/rollouts", back).await.status(), StatusCode::SEE_OTHER);
    let now = steering::current(&store).unwrap();
    assert_eq!(now.settings[&3].text, now.settings[&1].text);
    assert_eq!((&*now.settings[&3].by, now.settings[&3].version.percent), ("ana", 100));

    publish(quiet, 100);
    let page = desk.page("/fleet/service?q=v000009").await;
    assert!(between(&page, "<textarea", "</textarea>").contains(">v000009"), "{page}");
    assert!(page.contains("<b>yard</b> (1)"), "{page}");
    let all = desk.page("/fleet/service").await;
    assert!(between(&all, "spellcheck=\"false\">", "<").is_empty(), "nobody is chosen: {all}");
    let out = "validators=yard+v000009&word=out-of-service&reason=Line+closed&for=2h";
    assert_eq!(desk.post("/fleet/service", out).await.status(), StatusCode::SEE_OTHER);
    let now = steering::current(&store).unwrap();
    assert_eq!(now.desired.each.keys().copied().collect::<Vec<_>>(), ids);
    assert_eq!((now.desired.all, now.said_by[&Some(ids[0])].as_str()), (None, "ana"));
    for (form, words) in [
        (out.replace("yard+v000009", "depot"), "neither a validator such as v000042 nor a group"),
        (out.replace("v000009", "v000011"), "v000011 is not enrolled"),
        (out.replace("2h", "2w"), "write a number and one of s, m, h, d"),
        (out.replace("yard+v000009", ","), "the list of validators is empty"),
    ] {
        let said = refused(desk.post("/fleet/service", &form).await).await;
        assert!(said.contains(words), "{said}");
    }
    let lift = "validators=v000009&word=lift&reason=done";
    assert_eq!(desk.post("/fleet/service", lift).await.status(), StatusCode::SEE_OTHER);
    let rows = store.steering_rows().unwrap();
    let stranger = Request::post("/fleet/service").header(header::COOKIE, &desk.cookie);
    let stranger =
        stranger.header("sec-fetch-site", "cross-site").body(Body::from(out.to_owned())).unwrap();
    assert_eq!(desk.send(stranger).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(store.steering_rows().unwrap(), rows, "another site decides nothing");
}

#[tokio::test]
async fn opened_is_resolved_plus_open_and_the_lists_have_that_many() {
    let desk = Desk::open();
    let page = desk.page("/exceptions").await;
    let foot = between(&page, "<th scope=\"row\">All</th>", "</tfoot>");
    let numbers: Vec<_> = foot
        .split("</td>")
        .filter(|cell| cell.chars().any(|c| c.is_ascii_digit()))
        .map(number)
        .collect();
    let [open, resolved, opened] = numbers[..] else { panic!("{foot}") };
    assert_eq!((opened, resolved + open), (240, 240));
    assert!(page.contains("holds for every kind"));
    for (state, expected) in [("open", open), ("closed", resolved), ("all", opened)] {
        let list = desk.page(&format!("/exceptions?state={state}")).await;
        let after = &list[list.find("id=\"list-title\"").unwrap()..];
        assert_eq!(number(between(after, "<span class=\"soft\">", "</span>")), expected, "{state}");
    }
}

#[tokio::test]
async fn a_card_is_found_by_its_number_which_never_is_in_an_address_or_a_page() {
    let desk = Desk::open();
    let typed = "number=04+A1+b2:c3-d4+7e+19";
    let response = desk.post("/cards", typed).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let address = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(address, format!("/cards/{HANDLE}"));
    let page = desk.page(&address).await;
    assert!(page.contains("…7e19"));
    for address in PAGES {
        assert!(!desk.page(address).await.contains(&CARD.to_hex()), "{address}");
    }
    let response = desk.post("/cards", "number=04a1b2c3d47e20").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let response = desk.post("/cards", "number=12").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_look_at_a_card_is_written_down_with_who_and_how() {
    let desk = Desk::open();
    desk.post("/cards", &format!("number={}", CARD.to_hex())).await;
    desk.page(&format!("/cards/{HANDLE}")).await;
    assert_eq!(desk.get("/cards/0000000000000001").await.0, StatusCode::NOT_FOUND);
    let looks: Vec<_> = desk
        .books
        .accesses
        .lock()
        .unwrap()
        .iter()
        .map(|look| (look.who.clone(), look.card, look.how, look.at))
        .collect();
    let ana = || "ana".to_owned();
    assert_eq!(
        looks,
        [(ana(), HANDLE, "looked up by number", NOW), (ana(), HANDLE, "opened", NOW)]
    );
}

#[tokio::test]
async fn the_steps_of_every_explained_charge_sum_to_it_and_caps_are_told() {
    let desk = Desk::open();
    let page = desk.page(&format!("/cards/{HANDLE}")).await;
    assert!(page.contains("(told by satellites 95 s before)"), "{page}");
    let charges: Vec<_> = page.split("<table class=\"waterfall\">").skip(1).collect();
    assert_eq!(charges.len(), 5);
    for charge in charges {
        let (steps, total) = charge.split_once("<tfoot>").unwrap();
        let amount = |cell: &str| between(cell, "value=\"", "\"").parse::<i64>().unwrap();
        let sum: i64 = steps.split("<data class=\"cash\" ").skip(1).map(amount).sum();
        let total = between(total, "", "</tfoot>");
        assert_eq!(sum, amount(total), "{total}");
        assert!(total.contains("steps sum to the charge"));
    }
    let caps = "<dt>Caps after</dt><dd lang=\"en\">Day cap: 4.80 EUR of 6.00 EUR that day</dd>";
    assert_eq!((page.matches(caps).count(), page.matches("<dt>Caps").count()), (1, 1));
}

#[tokio::test]
async fn a_charge_is_explained_in_the_language_that_the_reader_chose_or_the_browser_asks_for() {
    let desk = Desk::open();
    let address = format!("/cards/{HANDLE}");
    let read = async |cookie: &str, accept: &str| {
        let request = Request::get(&address)
            .header(header::COOKIE, format!("{}{cookie}", desk.cookie))
            .header(header::ACCEPT_LANGUAGE, accept);
        let response = desk.send(request.body(Body::empty()).unwrap()).await;
        let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let korean = "<th scope=\"row\" lang=\"ko\">환승 <span class=\"soft\">\
                  환승: 첫 승차 후 42분, 제한 60분</span></th>";
    let english = "<th scope=\"row\" lang=\"en\">Transfer <span class=\"soft\">\
                   Transfer after 42 min of 60 min</span></th>";
    let asked = read("", "ko-KR,ko;q=0.9,en;q=0.8").await;
    assert!(asked.contains(korean) && !asked.contains(english), "{asked}");
    assert!(read("", "fr").await.contains(english));

    let chosen = desk.post("/language", &format!("language=ko&back={address}")).await;
    assert_eq!(chosen.headers()[header::LOCATION], address);
    let cookie = chosen.headers()[header::SET_COOKIE].to_str().unwrap();
    let pair = cookie.split(';').next().unwrap();
    assert!(read(&format!("; {pair}"), "en").await.contains(korean));
    let other = desk.post("/language", "language=fr&back=/").await;
    assert_eq!(other.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn evidence_stands_side_by_side_and_says_what_differs() {
    let desk = Desk::open();
    let fork = desk.page("/exceptions/239").await;
    let row = |name: &str| between(&fork, &format!("<th scope=\"row\">{name}"), "</tr>").to_owned();
    assert!(row("Card counter").matches("17").count() == 2);
    assert!(!row("Card counter").contains("differs"));
    let amount = row("Amount");
    assert!(amount.contains("differs") && amount.contains("2.40") && amount.contains("3.60"));
}

#[tokio::test]
async fn an_unknown_word_in_an_address_is_named_not_ignored() {
    let desk = Desk::open();
    for address in [
        "/fleet?link=gone",
        "/fleet?flaw=x",
        "/taps?within=2h",
        "/taps?route=M1",
        "/exceptions?state=x",
    ] {
        let (status, html) = desk.get(address).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{address}");
        assert!(html.contains("The address says"), "{address}");
    }
    for address in ["/fleet/v999999", "/exceptions/99999", "/cards/xyz", "/nowhere"] {
        assert_eq!(desk.get(address).await.0, StatusCode::NOT_FOUND, "{address}");
    }
}

#[tokio::test]
async fn a_part_of_a_page_is_its_live_block_alone() {
    let desk = Desk::open();
    for address in ["/?part=live", "/exceptions?part=live", "/taps?part=live", "/fleet?part=live"] {
        let html = desk.page(address).await;
        assert!(!html.contains("<html") && !html.contains("<header"), "{address}");
    }
}

#[tokio::test]
async fn ten_thousand_validators_come_in_less_than_150_kilobytes() {
    let mut desk = Desk::open();
    let books = Arc::new(Fixture::new(NOW, 10_000, 100));
    let app = AppState::new(App {
        config: desk.site.app.config.clone(),
        books,
        store: desk.site.app.store.clone(),
        events: Events::default(),
        metrics: Metrics::default(),
        clock: Clock::manual(NOW),
    });
    let names = desk.site.names.clone();
    desk.browser.router = router(Arc::new(Site::new(app, names, TimeZone::UTC)));
    let mut sent = 0;
    for address in ["/fleet", "/api/v1/fleet/snapshot"]
        .map(str::to_owned)
        .into_iter()
        .chain(["app.css", "app.js", "live.js", "fleet.js", "theme.js"].map(super::assets::url))
    {
        let request = Request::get(&address)
            .header(header::COOKIE, &desk.cookie)
            .header(header::ACCEPT_ENCODING, "gzip");
        let response = desk.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{address}");
        sent += to_bytes(response.into_body(), 1 << 24).await.unwrap().len();
    }
    assert!(sent < 150_000, "{sent} bytes");
}

#[tokio::test]
async fn a_file_is_kept_for_ever_and_another_programs_is_not_served() {
    let desk = Desk::open();
    let address = super::assets::url("app.css");
    let response = desk.send(Request::get(&address).body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
    let tag = response.headers()[header::ETAG].clone();
    let request = Request::get(&address).header(header::IF_NONE_MATCH, tag);
    let response = desk.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    let request = Request::get("/static/0123456789abcdef/app.css");
    let response = desk.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

/// What a stream says until it has nothing more to say at once.
async fn said(desk: &Desk, address: &str, events: usize) -> String {
    use futures_util::StreamExt as _;
    let request = Request::get(address).header(header::COOKIE, &desk.cookie);
    let response = desk.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    while text.matches("\n\n").count() < events {
        let bytes = body.next().await.expect("the stream goes on").unwrap();
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    text
}

#[tokio::test]
async fn a_stream_brings_what_a_page_missed_and_says_resync_when_it_cannot() {
    let desk = Desk::open();
    // Somebody listens, so that changes are looked up.
    let _held = desk.site.hub.listen(0);
    let tap = desk.books.taps(&TapFilter::default(), Page::first(1)).unwrap().remove(0);
    let hub = &desk.site.hub;
    hub.note(Live::Tap(tap.clone()));
    hub.flush(desk.books.as_ref()).unwrap();
    assert_eq!(hub.seq(), 1);

    let taps = said(&desk, "/events?watch=taps&within=day&seq=0", 1).await;
    assert!(taps.contains("event: taps") && taps.contains("id: 1"), "{taps}");
    assert!(taps.contains(&format!("\"no\":{}", tap.no)), "{taps}");
    let fleet = said(&desk, "/events?watch=fleet&seq=0", 1).await;
    assert!(fleet.contains("event: fleet") && fleet.contains(&tap.validator.to_string()));
    let known = said(&desk, "/events?watch=taps&seq=1", 1).await;
    assert!(known.contains("event: tick") && !known.contains("event: taps"), "{known}");
    let future = said(&desk, "/events?watch=fleet&seq=99", 1).await;
    assert!(future.contains("event: resync"), "{future}");

    hub.note_missed();
    hub.flush(desk.books.as_ref()).unwrap();
    let missed = said(&desk, "/events?watch=fleet&seq=1", 1).await;
    assert!(missed.contains("event: resync"), "{missed}");
}

#[tokio::test]
async fn other_peoples_taps_do_not_reach_a_filtered_stream() {
    let desk = Desk::open();
    let _held = desk.site.hub.listen(0);
    let tap = desk.books.taps(&TapFilter::default(), Page::first(1)).unwrap().remove(0);
    desk.site.hub.note(Live::Tap(tap));
    desk.site.hub.flush(desk.books.as_ref()).unwrap();
    let other = said(&desk, "/events?watch=taps&validator=v999999&seq=0", 1).await;
    assert!(!other.contains("event: taps"), "{other}");
}

/// The same pages over real books: SQLite, honest taps, and one batch that never arrived.
mod over_sqlite {
    use model::TapEvent;

    use super::*;
    use crate::{
        intake::{Checker, Pipeline, Workplace, register_cards},
        store::ReadModel,
        workload::{Bus, Cards, card_keys, rules},
    };

    const START: u32 = 1_795_356_000;

    fn booked() -> (tempfile::TempDir, Arc<Site>) {
        let (folder, store) = Store::for_test();
        let depot: fleet_sync::DepotName = "north".parse().unwrap();
        let place = Workplace {
            depot: depot.clone(),
            store: Arc::new(store),
            rules: rules().into(),
            events: Events::default(),
            metrics: Metrics::default(),
            clock: Clock::manual(Timestamp::from_secs(u64::from(START) + 60)),
        };
        let mut cards = Cards::new(3, START - 1_000);
        register_cards(&place, &cards.issues()).unwrap();
        let mut buses: Vec<_> = (1..=2).map(|number| Bus::new(number, &depot)).collect();
        for bus in &buses {
            let key = bus.signing.verifying_key();
            place.store.enrol(bus.id, &key, "bus", false, Timestamp(0)).unwrap();
        }
        let signing = fleet_sync::SigningKey::from_bytes(&[9; 32]);
        let checker = Checker::new(depot, card_keys());
        let mut pipeline = Pipeline::new(place.clone(), checker, signing, 2);
        let mut batches = Vec::new();
        for (round, at) in (0..12).zip(START..) {
            let bus = &mut buses[round % 2];
            // Twice, because the next tap's evidence makes up for one lost record.
            bus.board(&mut cards, [0, 1, 2][round % 3], at);
            bus.board(&mut cards, [0, 1, 2][round % 3], at);
            let reason = model::Refusal::Unreadable;
            bus.log(None, at, TapEvent::Refused { reason, seen: None });
            batches.push(bus.batch());
        }
        batches.remove(3);
        pipeline.submit(batches).unwrap();
        let Workplace { store, rules, events, metrics, clock, .. } = place;
        let books = ReadModel::new(Arc::clone(&store), rules.clone(), clock.clone());
        let config = Config::in_folder("north", folder.path());
        let books: Arc<dyn super::super::views::Books> = Arc::new(books);
        let app = AppState::new(App { config, books, store, events, metrics, clock });
        (folder, Arc::new(Site::new(app, Names::of(rules.tariffs()), TimeZone::UTC)))
    }

    #[tokio::test]
    async fn figures_equal_lists_and_the_lost_batch_is_an_exception() {
        let (_folder, site) = booked();
        let browser = Browser::sign_in(&site);
        assert_eq!(compare_figures(&browser).await, 6);
        assert_eq!(compare_needs(&browser).await, [2, 2, 2]);
        let open = browser.page("/exceptions").await;
        let listed = &open[open.find("id=\"list-title\"").unwrap()..];
        assert!(listed.contains("Card records missing"), "{listed}");
        let mut opened = 0;
        for link in open.split("href=\"/exceptions/").skip(1) {
            let page = browser.page(&format!("/exceptions/{}", between(link, "", "\""))).await;
            assert!(page.contains("class=\"finding\""));
            opened += 1;
        }
        assert!(opened >= 1, "{opened} exceptions");
        assert!(browser.page("/taps").await.contains("Stop A"));
        assert!(browser.page("/fleet/v000001").await.contains("Tap log"));
    }

    #[tokio::test]
    async fn a_card_of_real_books_is_found_and_each_of_its_charges_is_explained() {
        let (_folder, site) = booked();
        let browser = Browser::sign_in(&site);
        let form = format!("number={}", Cards::id(0).to_hex());
        let response = browser.post("/cards", &form).await;
        let address = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
        let page = browser.page(&address).await;
        let explained = page.matches("steps sum to the charge").count();
        assert!(explained >= 2 && !page.contains("steps do not sum"), "{explained}");
        assert!(page.contains("Card and ledger agree"));
        assert!(!page.contains(&Cards::id(0).to_hex()));
    }
}
