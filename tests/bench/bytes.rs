//! What a tap weighs on the wire, MQTT's own bytes included.

use depot_server::{
    intake::Message,
    workload::{Bus, Cards},
};

use crate::{
    depot::{NOON, depot_name},
    measure::{headline, line, ratio},
};

/// `PUBLISH` of MQTT 5 at `QoS` 1 without properties, around the payload.
pub(crate) fn publish_len(message: &Message) -> usize {
    let body = 2 + message.topic.len() + 2 + 1 + message.payload.len();
    let length_of_length = (1..4).find(|n| body < 1 << (7 * n)).unwrap_or(4);
    1 + length_of_length + body
}

/// Prints it.
pub(crate) fn run() {
    headline("wire: bytes per tap, signature and MQTT framing included");
    for size in [500_u32, 50, 1] {
        let mut cards = Cards::new(size, NOON - 1000);
        let mut bus = Bus::new(4711, &depot_name());
        for card in 0..size {
            bus.board(&mut cards, card, NOON + 7 * card);
        }
        let message = bus.batch();
        let all = publish_len(&message);
        let each = ratio(all as u128, u128::from(size));
        line(&format!("batch of {size}"), &format!("{each} B a tap ({all} B the message)"));
    }
}
