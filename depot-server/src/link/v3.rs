//! One connection over MQTT 3.1.1, in which a broker does not say that it refused a message, and
//! how much it may send before an acknowledgement is the broker's own setting.

use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, LastWill, MqttOptions, Outgoing, Packet, Publish, QoS, SubscribeReasonCode,
    Transport,
};
use tokio::sync::mpsc;

use super::{
    Ended, INFLIGHT, Incoming, LinkEvent, LinkSettings, PACKET_BYTES_MAX, Publisher, REQUESTS,
    Receipt, Sender, step,
};
use crate::config::Mqtt;

pub(super) const QOS: QoS = QoS::AtLeastOnce;

/// From the beginning of the connection to its end.
pub(super) async fn run(
    settings: &LinkSettings,
    transport: Option<Transport>,
    connection: u64,
    will: Vec<u8>,
    tell: &mpsc::Sender<LinkEvent>,
) -> Ended {
    let (client, mut event_loop) = AsyncClient::new(options(settings, transport, will), REQUESTS);
    let mut was_up = false;
    loop {
        let event = match step(event_loop.poll(), tell).await {
            Some(Ok(event)) => event,
            Some(Err(reason)) => return Ended { was_up, reason },
            None => return Ended { was_up, reason: "stopped".into() },
        };
        let told = match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                was_up = true;
                for topic in &settings.subscriptions {
                    if client.try_subscribe(topic.as_str(), QOS).is_err() {
                        return Ended { was_up, reason: "cannot subscribe".into() };
                    }
                }
                let publisher = Publisher::V3(client.clone());
                tell.send(LinkEvent::Up { connection, publisher }).await
            }
            Event::Incoming(Packet::Publish(publish)) => {
                tell.send(LinkEvent::Message(Box::new(incoming(&client, publish)))).await
            }
            Event::Incoming(Packet::SubAck(ack))
                if !ack.return_codes.iter().all(|code| granted(*code)) =>
            {
                let reason = format!("subscription refused: {:?}", ack.return_codes);
                tell.send(LinkEvent::Refused { reason }).await
            }
            Event::Outgoing(Outgoing::Disconnect) => {
                return Ended { was_up, reason: "stopped in order".into() };
            }
            Event::Incoming(_) | Event::Outgoing(_) => Ok(()),
        };
        if told.is_err() {
            return Ended { was_up, reason: "stopped".into() };
        }
    }
}

fn options(settings: &LinkSettings, transport: Option<Transport>, will: Vec<u8>) -> MqttOptions {
    let Mqtt { host, port, keep_alive_s, .. } = &settings.mqtt;
    let mut options = MqttOptions::new(settings.client.as_str(), host.as_str(), *port);
    let (topic, bytes) = (settings.presence_topic.as_str(), PACKET_BYTES_MAX as usize);
    options
        .set_clean_session(true)
        .set_keep_alive(Duration::from_secs(u64::from(*keep_alive_s)))
        .set_max_packet_size(bytes, bytes)
        .set_inflight(INFLIGHT)
        .set_manual_acks(true)
        .set_last_will(LastWill::new(topic, will, QOS, true));
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

fn incoming(client: &AsyncClient, mut publish: Publish) -> Incoming {
    let (topic, payload) = (publish.topic.clone(), publish.payload.to_vec());
    // The packet number is all that the acknowledgement needs.
    publish.payload.clear();
    Incoming { topic, payload, receipt: Receipt(Sender::V3(client.clone(), Box::new(publish))) }
}

const fn granted(code: SubscribeReasonCode) -> bool {
    matches!(code, SubscribeReasonCode::Success(_))
}
