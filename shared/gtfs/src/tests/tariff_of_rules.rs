//! A feed of Fares v2 as a tariff that validators hold, tap by tap.

use fare::{FareRefusal, FareTap, Journey, Tariff, TariffSet, price};
use model::{Companions, RiderClass, TapRole, TariffVersion, Timestamp, ValidatorId};

use super::{options, real::find};
use crate::{Feed, ImportOptions, Severity, import};

/// A subway, a bus and a railway with zones, in the manner of Boston: the subway's free rule is
/// only for transfers, a transfer asks for the product held, a timeframe is not defined.
const TOWN: [(&str, &str); 11] = [
    ("agency.txt", "agency_id,agency_name,agency_timezone\nX,Test,America/New_York\n"),
    (
        "stops.txt",
        "stop_id,stop_name,stop_lat,stop_lon,location_type,parent_station\n\
         park,Park,42.1,-71,1,\npark-1,Park 1,42.1,-71,0,park\nharvard,Harvard,42.2,-71,1,\n\
         street,Street,42.3,-71,0,\nsouth,South,42.4,-71,1,\nworcester,Worcester,42.5,-72,1,\n\
         salem,Salem,42.6,-71,1,\n",
    ),
    (
        "routes.txt",
        "route_id,agency_id,route_short_name,route_type,network_id\n\
         Red,X,Red,1,subway\n1,X,1,3,bus\nCR,X,CR,2,rail\n",
    ),
    ("areas.txt", "area_id\nzone_1a\nzone_3\nzone_8\n"),
    ("stop_areas.txt", "stop_id,area_id\nsouth,zone_1a\nsalem,zone_3\nworcester,zone_8\n"),
    (
        "fare_media.txt",
        "fare_media_id,fare_media_name,fare_media_type\ncash,Cash,0\nticket,Ticket,1\n",
    ),
    (
        "fare_products.txt",
        "fare_product_id,fare_product_name,fare_media_id,amount,currency\n\
         subway,Subway,ticket,2.40,USD\nsubway_cash,Subway cash,cash,2.40,USD\n\
         bus_cash,Bus cash,cash,1.70,USD\nfree,Free,,0.00,USD\n\
         zone_8,Zone 8,cash,12.25,USD\nzone_3,Zone 3,cash,8.00,USD\n",
    ),
    (
        "fare_leg_rules.txt",
        "leg_group_id,network_id,from_area_id,to_area_id,fare_product_id,from_timeframe_group_id,\
         transfer_only\n\
         subway,subway,,,subway,,\nsubway_cash,subway,,,subway_cash,,\nfree,subway,,,free,,1\n\
         bus,bus,,,subway,,\nbus_cash,bus,,,bus_cash,,\nfree_day,bus,,,free,free_days,\n\
         rail,rail,zone_1a,zone_8,zone_8,,\nrail,rail,zone_8,zone_1a,zone_8,,\n\
         rail,rail,zone_1a,zone_3,zone_3,,\n",
    ),
    (
        "fare_transfer_rules.txt",
        "from_leg_group_id,to_leg_group_id,transfer_count,duration_limit,duration_limit_type,\
         fare_transfer_type,fare_product_id,filter_fare_product_id\n\
         subway,bus,,7200,1,0,,subway\nbus,subway,,7200,1,0,,subway\n",
    ),
    ("timeframes.txt", "timeframe_group_id,start_time,end_time,service_id\nregular,,,day\n"),
    (
        "calendar.txt",
        "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
         day,1,1,1,1,1,1,1,20240101,20281231\n",
    ),
];

fn tariff(feed: &Feed, medium: &str) -> Tariff {
    let with = |accept: &[&str]| ImportOptions {
        card_medium: Some(medium.into()),
        accept: accept.iter().map(|code| (*code).to_owned()).collect(),
        ..options()
    };
    assert!(import(feed, &with(&[])).tariff.is_none(), "an error that nobody accepted");
    let imported = import(feed, &with(&["foreign_key_violation"]));
    let tariff = imported.tariff.unwrap_or_else(|| panic!("{:#?}", imported.diagnostics));
    assert!(imported.diagnostics.iter().all(|d| d.severity == Severity::Warning));
    assert!(imported.diagnostics.iter().any(|d| d.code == "tap_out_needed"), "the railway");
    assert_eq!(Tariff::parse(&tariff.to_toml()).unwrap(), tariff, "written and read again");
    tariff
}

struct Card {
    set: TariffSet,
    journey: Journey,
}

impl Card {
    fn tap(
        &mut self,
        minute: u64,
        role: TapRole,
        stop: &str,
        route: &str,
    ) -> Result<i64, FareRefusal> {
        let tariff = self.set.newest();
        let tap = FareTap {
            // Friday, 4 October 2024, noon in Boston.
            at: Timestamp::from_secs(1_728_057_600 + minute * 60),
            role,
            place: tariff.place_ix(stop).unwrap(),
            route: tariff.route_ix(route),
            class: RiderClass(0),
            companions: Companions::NONE,
            purse: None,
            validator: ValidatorId::DEPOT,
            tariff: TariffVersion(1),
        };
        let quote = price(&self.set, &self.journey, &tap)?;
        self.journey = quote.journey_after;
        Ok(quote.charge.minor())
    }
}

/// Stations of the subway, a bus stop, the two ends of a railway, and the railway.
fn rides(feed: &Feed, [park, street, south, worcester, rail]: [&str; 5], media: [&str; 2]) {
    let [ticket, cash] = ["ticket", "cash"].map(|medium| {
        let full = |id: &&str| id.ends_with(medium);
        tariff(feed, media.iter().copied().find(full).unwrap())
    });
    let new =
        |tariff: &Tariff| Card { set: TariffSet::new(tariff.clone()), journey: Journey::default() };
    let mut card = new(&ticket);
    assert_eq!(card.tap(0, TapRole::Board, park, "Red"), Ok(240));
    assert_eq!(card.tap(120, TapRole::Board, street, "1"), Ok(0), "two hours, inclusive");
    let mut late = new(&ticket);
    assert_eq!(late.tap(0, TapRole::Board, street, "1"), Ok(240));
    assert_eq!(late.tap(121, TapRole::Board, park, "Red"), Ok(240), "a minute too late");
    let mut train = new(&cash);
    let unknown = Err(FareRefusal::UnknownRoute);
    assert_eq!(train.tap(0, TapRole::Board, south, rail), unknown, "it costs by the end");
    assert_eq!(train.tap(1, TapRole::Entry, south, rail), Ok(0));
    assert_eq!(train.tap(90, TapRole::Exit, worcester, rail), Ok(1225));
}

#[test]
fn a_feed_of_fares_v2_is_a_tariff_that_prices_taps() {
    let feed = Feed::from_files(TOWN.map(|(name, text)| (name, text.as_bytes())));
    rides(&feed, ["park", "street", "south", "worcester", "CR"], ["ticket", "cash"]);
    let mut cash = Card { set: TariffSet::new(tariff(&feed, "cash")), journey: Journey::default() };
    assert_eq!(cash.tap(0, TapRole::Board, "street", "1"), Ok(170));
    assert_eq!(cash.tap(9, TapRole::Board, "park", "Red"), Ok(240), "cash has no transfer");
}

#[test]
fn boston_is_a_tariff_too_where_it_is_at_hand() {
    let Some(folder) = find("mbta-boston") else { return };
    let feed = Feed::open(&folder).unwrap();
    let ends = ["place-pktrm", "10000", "place-sstat", "place-WML-0442", "CR-Worcester"];
    rides(&feed, ends, ["charlieticket", "cash"]);
}

#[test]
fn a_card_that_is_no_medium_of_the_feed_is_refused_by_name() {
    let feed = Feed::from_files(TOWN.map(|(name, text)| (name, text.as_bytes())));
    let accept = vec!["foreign_key_violation".to_owned()];
    let wrong = ImportOptions { card_medium: Some("tickt".into()), accept, ..options() };
    let found = import(&feed, &wrong).diagnostics;
    let found = found.iter().find(|d| d.code == "card_medium").unwrap();
    assert_eq!(
        found.message,
        "there is no fare medium \"tickt\" for the card to be: use cash, ticket"
    );
}
