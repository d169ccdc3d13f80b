//! The PN532 driver's frame parser on any bytes in any pieces: it ends, it keeps no more than a
//! frame, and a whole frame behind the noise is still found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reader::frame::{Direction, Frame, PD_LEN_MAX, Parser, encode};

fuzz_target!(|bytes: &[u8]| {
    let (sizes, stream) = bytes.split_at(bytes.len() / 4);
    let mut parser = Parser::default();
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    let mut frames = 0;
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| 1 + usize::from(*size) % 40);
        let (piece, after) = rest.split_at(size.min(rest.len()));
        parser.push(piece);
        rest = after;
        while let Some(frame) = parser.next_frame() {
            frames += 1;
            assert!(frames <= stream.len(), "a frame costs at least a byte");
            if let Frame::Data(_, pd) = frame {
                assert!(!pd.is_empty() && pd.len() <= PD_LEN_MAX);
            }
        }
    }
    parser.clear();
    let pd = &stream[..stream.len().min(PD_LEN_MAX)];
    if !pd.is_empty() {
        parser.push(&encode(Direction::FromChip, pd));
        assert_eq!(parser.next_frame(), Some(Frame::Data(Direction::FromChip, pd.to_vec())));
    }
});
