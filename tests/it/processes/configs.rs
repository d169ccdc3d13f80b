//! The configuration files of a yard's depot and validators.

use std::path::Path;

use super::{DATABASE, NAME, Post};
use crate::broker::Broker;

pub(super) fn depot_config(broker: &Broker, pages: u16) -> String {
    let certificates = broker.certificates();
    format!(
        r#"depot = "{NAME}"
database = "{DATABASE}"
tariffs = ["city.toml"]
[http]
listen = "127.0.0.1:{pages}"
[mqtt]
host = "localhost"
port = {port}
keep_alive_s = 5
protocol = "{protocol}"
[mqtt.tls]
ca = "{folder}/ca.crt"
certificate = "{folder}/depot.crt"
key = "{folder}/depot.key"
"#,
        port = broker.port,
        protocol = broker.protocol(),
        folder = certificates.display(),
    )
}

pub(super) fn validator_config(at: &Path, broker: &Broker, post: Post, metrics: u16) -> String {
    let Post { id, role, place, route } = post;
    let route = route.map(|route| format!("route = \"{route}\"")).unwrap_or_default();
    format!(
        r#"[validator]
id = "{id}"
role = "{role}"
place = "{place}"
{route}
clock_kept_by = "ntp"
depot = "{NAME}"
[state]
folder = "{at}/{id}.state"
[tariff]
files = ["{at}/city.toml"]
[keys]
signing = "{at}/{id}.signing"
card = "{at}/card.key"
depot = "{at}/depot.pub"
[reader]
kind = "pn532"
port = "{at}/{id}.tty"
[broker]
host = "localhost"
port = {port}
keep_alive_s = 5
protocol = "{protocol}"
[broker.tls]
ca = "{certificates}/ca.crt"
certificate = "{certificates}/{id}.crt"
key = "{certificates}/{id}.key"
[console]
socket = "{at}/{id}.console"
[metrics]
listen = "127.0.0.1:{metrics}"
"#,
        at = at.display(),
        port = broker.port,
        protocol = broker.protocol(),
        certificates = broker.certificates().display(),
    )
}
