//! MQTT 3.1.1, in which a broker does not say that it refused a message, and how much it may send
//! before an acknowledgement is the broker's own setting.

use rumqttc::{
    AsyncClient, Event, LastWill, MqttOptions, Outgoing, Packet, Publish, QoS, SubscribeReasonCode,
    Transport,
};

use crate::{
    Arrival, Incoming, LinkSettings, Receipt, Sender,
    connection::{Heard, PACKET_BYTES_MAX},
};

pub(crate) const QOS: QoS = QoS::AtLeastOnce;

pub(crate) struct EventLoop {
    client: AsyncClient,
    polled: rumqttc::EventLoop,
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
            Event::Outgoing(Outgoing::Disconnect) => Heard::Goodbye,
            Event::Incoming(_) | Event::Outgoing(_) => Heard::Nothing,
        })
    }

    fn incoming(&self, mut publish: Publish) -> Incoming {
        let (topic, payload) = (publish.topic.clone(), publish.payload.to_vec());
        // The packet number is all that the acknowledgement needs.
        publish.payload.clear();
        let receipt = Receipt(Sender::V3(self.client.clone(), Box::new(publish)));
        Incoming { topic, payload, receipt }
    }
}

fn options(settings: &LinkSettings, transport: Option<Transport>, will: Vec<u8>) -> MqttOptions {
    let LinkSettings { client, host, port, will_topic, .. } = settings;
    let mut options = MqttOptions::new(client.as_str(), host.as_str(), *port);
    let bytes = PACKET_BYTES_MAX as usize;
    options
        .set_clean_session(true)
        .set_keep_alive(settings.keep_alive)
        .set_max_packet_size(bytes, bytes)
        .set_inflight(settings.room.inflight)
        .set_manual_acks(settings.arrival != Arrival::AtOnce)
        .set_last_will(LastWill::new(will_topic, will, QOS, true));
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

const fn granted(code: SubscribeReasonCode) -> bool {
    matches!(code, SubscribeReasonCode::Success(_))
}
