//! Names of places, routes and rider classes: the books hold indexes, the tariff holds names.

use std::collections::BTreeMap;

use model::{PlaceIx, RiderClass, RouteIx};

/// The names of the newest tariff. An index that it does not know is shown as a number: a tap must
/// be visible even when its tariff is not here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    places: BTreeMap<PlaceIx, String>,
    routes: BTreeMap<RouteIx, String>,
    classes: BTreeMap<RiderClass, String>,
}

impl Names {
    /// From the names in the order of their indexes.
    pub fn new(
        places: impl IntoIterator<Item = String>,
        routes: impl IntoIterator<Item = String>,
        classes: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            places: (0..).map(PlaceIx).zip(places).collect(),
            routes: (0..).map(RouteIx).zip(routes).collect(),
            classes: (0..).map(RiderClass).zip(classes).collect(),
        }
    }

    /// From the newest tariff of a set.
    pub fn of(tariffs: &fare::TariffSet) -> Self {
        Self::of_tariff(tariffs.newest())
    }

    fn of_tariff(tariff: &fare::Tariff) -> Self {
        Self::new(
            tariff.places().iter().map(|place| place.name.to_string()),
            tariff.routes().iter().map(|route| route.name.to_string()),
            tariff.classes().iter().map(|class| class.name.clone()),
        )
    }

    /// A place; empty for "no place".
    pub fn place(&self, place: PlaceIx) -> String {
        match self.places.get(&place) {
            Some(name) => name.clone(),
            None if place == PlaceIx::NONE => String::new(),
            None => format!("place {place}"),
        }
    }

    /// A route.
    pub fn route(&self, route: RouteIx) -> String {
        self.routes.get(&route).cloned().unwrap_or_else(|| format!("route {route}"))
    }

    /// A rider class.
    pub fn class(&self, class: RiderClass) -> String {
        self.classes.get(&class).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// All routes, for a filter's choices.
    pub fn routes(&self) -> impl Iterator<Item = (RouteIx, &str)> {
        self.routes.iter().map(|(ix, name)| (*ix, name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_indexes_are_shown_as_numbers_and_no_place_as_nothing() {
        let names = Names::new(["Harbour".to_owned()], ["M1".to_owned()], []);
        assert_eq!(names.place(PlaceIx(0)), "Harbour");
        assert_eq!(names.place(PlaceIx(9)), "place 9");
        assert_eq!(names.place(PlaceIx::NONE), "");
        assert_eq!(names.route(RouteIx(3)), "route 3");
        assert_eq!(names.class(RiderClass(2)), "class 2");
    }
}
