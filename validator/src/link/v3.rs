//! One connection over MQTT 3.1.1, in which a broker does not say that it refused a message.

use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, Outgoing, Packet, QoS, Transport};
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
                let publisher = Publisher::V3(client.clone());
                if let Err(why) = settings.begin(connection, publisher, tell).await {
                    return end(was_up, why);
                }
                Ok(())
            }
            Event::Incoming(Packet::Publish(message)) => {
                let (topic, payload) = (message.topic, message.payload.to_vec());
                tell.send(LinkEvent::Message { topic, payload }).await
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
    let (topic, bytes) = (settings.will_topic.as_str(), PACKET_BYTES_MAX as usize);
    options
        .set_clean_session(true)
        .set_keep_alive(settings.keep_alive)
        .set_max_packet_size(bytes, bytes)
        .set_inflight(INFLIGHT)
        .set_last_will(LastWill::new(topic, will, QOS, true));
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}
