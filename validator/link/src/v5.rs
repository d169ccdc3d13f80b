//! MQTT 5.

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

use crate::{
    Arrival, Incoming, LinkSettings, Receipt, Sender,
    connection::{Heard, PACKET_BYTES_MAX},
};

pub(crate) const QOS: QoS = QoS::AtLeastOnce;

pub(crate) struct EventLoop {
    client: AsyncClient,
    polled: rumqttc::v5::EventLoop,
}

impl EventLoop {
    pub(crate) fn open(
        settings: &LinkSettings,
        transport: Option<Transport>,
        will: Vec<u8>,
    ) -> (AsyncClient, Self) {
        let options = options(settings, transport, will);
        let (client, polled) = AsyncClient::new(options, settings.room.requests);
        (client.clone(), Self { client, polled })
    }

    pub(crate) async fn hear(&mut self) -> Result<Heard, String> {
        Ok(match self.polled.poll().await.map_err(|e| e.to_string())? {
            Event::Incoming(Packet::ConnAck(_)) => Heard::Connected,
            Event::Incoming(Packet::Publish(publish)) => Heard::Message(self.incoming(publish)),
            Event::Incoming(Packet::SubAck(ack))
                if !ack.return_codes.iter().all(|code| granted(*code)) =>
            {
                Heard::Refused(format!("subscription refused: {:?}", ack.return_codes))
            }
            Event::Incoming(Packet::PubAck(ack)) if is_failure(ack.reason) => {
                Heard::Refused(format!("{:?}", ack.reason))
            }
            Event::Outgoing(Outgoing::Disconnect) => Heard::Goodbye,
            Event::Incoming(_) | Event::Outgoing(_) => Heard::Nothing,
        })
    }

    fn incoming(&self, mut publish: Publish) -> Incoming {
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let payload = publish.payload.to_vec();
        // The packet number is all that the acknowledgement needs.
        publish.payload.clear();
        let receipt = Receipt(Sender::V5(self.client.clone(), Box::new(publish)));
        Incoming { topic, payload, receipt }
    }
}

fn options(settings: &LinkSettings, transport: Option<Transport>, will: Vec<u8>) -> MqttOptions {
    let LinkSettings { client, host, port, will_topic, .. } = settings;
    let mut options = MqttOptions::new(client.as_str(), host.as_str(), *port);
    options
        .set_clean_start(true)
        .set_keep_alive(settings.keep_alive)
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_outgoing_inflight_upper_limit(settings.room.inflight)
        .set_last_will(LastWill::new(will_topic.as_str(), will, QOS, true, None));
    if let Arrival::ByReceipt { at_most } = settings.arrival {
        options.set_receive_maximum(Some(at_most)).set_manual_acks(true);
    }
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

const fn granted(code: SubscribeReasonCode) -> bool {
    matches!(code, SubscribeReasonCode::Success(_))
}

/// The message reaches no subscriber, for a reason that may be a fault.
fn is_failure(reason: PubAckReason) -> bool {
    !matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers)
}
