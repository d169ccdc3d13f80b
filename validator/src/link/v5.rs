//! One connection over MQTT 5.

use rumqttc::{
    Outgoing, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{LastWill, Packet, PubAckReason},
        },
    },
};
use tokio::sync::mpsc;

use super::{
    Ended, INFLIGHT, LinkEvent, LinkSettings, PACKET_BYTES_MAX, Publisher, REQUESTS, step,
};

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
    let end = |was_up, reason: &str| Ended { was_up, reason: reason.to_owned() };
    loop {
        let event = match step(event_loop.poll(), tell).await {
            Some(Ok(event)) => event,
            Some(Err(reason)) => return Ended { was_up, reason },
            None => return end(was_up, "stopped"),
        };
        let told = match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                was_up = true;
                let publisher = Publisher::V5(client.clone());
                if let Err(why) = settings.begin(connection, publisher, tell).await {
                    return end(was_up, why);
                }
                Ok(())
            }
            Event::Incoming(Packet::Publish(message)) => {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                tell.send(LinkEvent::Message { topic, payload: message.payload.to_vec() }).await
            }
            Event::Incoming(Packet::PubAck(ack)) if is_failure(ack.reason) => {
                tell.send(LinkEvent::Refused { reason: format!("{:?}", ack.reason) }).await
            }
            Event::Outgoing(Outgoing::Disconnect) => return end(was_up, "stopped in order"),
            Event::Incoming(_) | Event::Outgoing(_) => Ok(()),
        };
        if told.is_err() {
            return end(was_up, "stopped");
        }
    }
}

fn options(settings: &LinkSettings, transport: Option<Transport>, will: Vec<u8>) -> MqttOptions {
    let mut options =
        MqttOptions::new(settings.client.as_str(), settings.host.as_str(), settings.port);
    let topic = settings.will_topic.as_str();
    options
        .set_clean_start(true)
        .set_keep_alive(settings.keep_alive)
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_outgoing_inflight_upper_limit(INFLIGHT)
        .set_last_will(LastWill::new(topic, will, QOS, true, None));
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

/// The message reaches no subscriber, for a reason that may be a fault.
fn is_failure(reason: PubAckReason) -> bool {
    !matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers)
}
