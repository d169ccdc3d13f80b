//! One connection over MQTT 5.

use std::time::Duration;

use rumqttc::{
    Outgoing, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{LastWill, Packet, PubAckReason, Publish, SubscribeReasonCode},
        },
    },
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
                let publisher = Publisher::V5(client.clone());
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
            Event::Incoming(Packet::PubAck(ack)) if is_failure(ack.reason) => {
                tell.send(LinkEvent::Refused { reason: format!("{:?}", ack.reason) }).await
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
    let Mqtt { host, port, keep_alive_s, receive_max, .. } = &settings.mqtt;
    let mut options = MqttOptions::new(settings.client.as_str(), host.as_str(), *port);
    let topic = settings.presence_topic.as_str();
    options
        .set_clean_start(true)
        .set_keep_alive(Duration::from_secs(u64::from(*keep_alive_s)))
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_receive_maximum(Some(*receive_max))
        .set_outgoing_inflight_upper_limit(INFLIGHT)
        .set_manual_acks(true)
        .set_last_will(LastWill::new(topic, will, QOS, true, None));
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

fn incoming(client: &AsyncClient, mut publish: Publish) -> Incoming {
    // What is not UTF-8 becomes an unknown topic, which intake quarantines by that name.
    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
    let payload = publish.payload.to_vec();
    // The packet number is all that the acknowledgement needs.
    publish.payload.clear();
    Incoming { topic, payload, receipt: Receipt(Sender::V5(client.clone(), Box::new(publish))) }
}

const fn granted(code: SubscribeReasonCode) -> bool {
    matches!(code, SubscribeReasonCode::Success(_))
}

/// The message reaches no subscriber, for a reason that may be a fault.
fn is_failure(reason: PubAckReason) -> bool {
    !matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers)
}
