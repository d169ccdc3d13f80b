//! Everything that arrives over the network, decoded from any bytes: a value or an error, never
//! more memory than the limits allow, and what was read is written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Epoch, TapSeq, ValidatorId};
use wire::{
    Ack, Batch, Envelope, HostState, ListKeys, Message, Sealed, ValidatorState, decode_entry,
    encode_entry,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 7 {
        0 => {
            let validator = ValidatorId::new(42).expect("42 is a number of a validator");
            let place = (validator, Epoch(3), TapSeq(7));
            if let Ok(record) = decode_entry(body, place) {
                let again = encode_entry(&record).expect("what was read can be written");
                assert_eq!(decode_entry(&again, place).as_ref(), Ok(&record));
            }
        }
        1 => {
            if let Ok(batch) = Batch::decode(body) {
                assert_eq!(Batch::decode(&batch.encode()).as_ref(), Ok(&batch));
            }
        }
        2 => {
            if let Ok(ack) = Ack::decode(body) {
                assert_eq!(Ack::decode(&ack.encode()).as_ref(), Ok(&ack));
            }
        }
        3 => drop(ValidatorState::decode(body)),
        4 => drop(HostState::decode(body)),
        5 => {
            if let Ok(keys) = ListKeys::decode(body) {
                let again = keys.encode().expect("what was read can be written");
                assert_eq!(ListKeys::decode(&again).as_ref(), Ok(&keys));
            }
        }
        _ => {
            let small = [Message::State, Message::Ack, Message::Host, Message::Keys];
            for message in [Message::Taps].into_iter().chain(small) {
                let _ = Envelope::decode(message, body);
                let _ = Sealed::decode(message, body);
            }
        }
    }
});
