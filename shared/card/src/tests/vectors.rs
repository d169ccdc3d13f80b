//! Every published vector of EV2 secure messaging, Transaction MAC keys and key diversification,
//! checked at both ends of the channel. Sources: NXP AN12196, AN12343, AN10922; proxmark3;
//! GtechGovind/desfire-sdk; waza-ari/python-desfire.

use alloc::{vec, vec::Vec};

use model::CardId;

use super::{bytes, hex, key};
use crate::Key;
use crate::crypto::{Cipher, cmac, diversify, jamcrc, subkeys};
use crate::proof::{encrypted_reader_id, session_enc_key, session_mac_key};
use crate::session::{
    ANSWER, Authentication, COMMAND, CardAuthentication, CommMode, Session, change_key_data,
};

/// Both ends run `First`; the conversation and the session keys must be the published ones.
struct First {
    key: &'static str,
    rnd_a: &'static str,
    rnd_b: &'static str,
    /// Challenge, reader's answer, card's answer and TI, where published.
    wire: Option<[&'static str; 4]>,
    enc: &'static str,
    mac: &'static str,
}

const ZERO: &str = "00000000000000000000000000000000";

const FIRST: [First; 4] = [
    // AN12196 6.6
    First {
        key: ZERO,
        rnd_a: "13C5DB8A5930439FC3DEF9A4C675360F",
        rnd_b: "B9E2FC789B64BF237CCCAA20EC7E6E48",
        wire: Some([
            "A04C124213C186F22399D33AC2A30215",
            "35C3E05A752E0144BAC0DE51C1F22C56B34408A23D8AEA266CAB947EA8E0118D",
            "3FA64DB5446D1F34CD6EA311167F5E4985B89690C04A05F17FA7AB2F08120663",
            "9D00C4DF",
        ]),
        enc: "1309C877509E5A215007FF0ED19CA564",
        mac: "4C6626F5E72EA694202139295C7A7FC7",
    },
    // AN12196 6.10, key 3
    First {
        key: ZERO,
        rnd_a: "B98F4C50CF1C2E084FD150E33992B048",
        rnd_b: "91517975190DCEA6104948EFA3085C1B",
        wire: Some([
            "B875CEB0E66A6C5CD00898DC371F92D1",
            "FF0306E47DFBC50087C4D8A78E88E62DE1E8BE457AA477C707E2F0874916A8B1",
            "0CC9A8094A8EEA683ECAAC5C7BF20584206D0608D477110FC6B3D5D3F65C3A6A",
            "7614281A",
        ]),
        enc: "7A93D6571E4B180FCA6AC90C9A7488D4",
        mac: "FC4AF159B62E549B5812394CAB1918CC",
    },
    // AN12343 p33-35
    First {
        key: ZERO,
        rnd_a: "B04D0787C93EE0CC8CACC8E86F16C6FE",
        rnd_b: "FA659AD0DCA738DD65DC7DC38612AD81",
        wire: None,
        enc: "63DC07286289A7A6C0334CA31C314A04",
        mac: "774F26743ECE6AF5033B6AE8522946F6",
    },
    // proxmark3
    First {
        key: "00112233445566778899AABBCCDDEEFF",
        rnd_a: "0123456789ABCDEF0123456789ABCDEF",
        rnd_b: "FEDCBA9876543210FEDCBA9876543210",
        wire: None,
        enc: "195428119C8528D59580A73C7C96C6A3",
        mac: "0AF00F6E39F904C4A6388C812D53DC94",
    },
];

#[test]
fn authenticate_first_speaks_the_published_bytes_at_both_ends() {
    for vector in FIRST {
        let ti = vector.wire.map_or([0; 4], |wire| bytes(wire[3]));
        let card = CardAuthentication::new(key(vector.key), bytes(vector.rnd_b));
        let mut reader = Authentication::new(key(vector.key), bytes(vector.rnd_a));
        let challenge = card.challenge();
        let part2 = reader.answer_challenge(&challenge);
        let (answer, at_card) = card.finish(&part2, ti, None).unwrap();
        if let Some(wire) = vector.wire {
            assert_eq!(challenge, bytes::<16>(wire[0]));
            assert_eq!(part2, bytes::<32>(wire[1]));
            assert_eq!(answer, hex(wire[2]));
        }
        let at_reader = reader.finish_first(answer.as_slice().try_into().unwrap()).unwrap();
        for session in [at_reader, at_card] {
            assert_eq!(session.keys(), (&key(vector.enc), &key(vector.mac)));
            assert_eq!((session.ti(), session.counter()), (ti, 0));
        }
    }
}

#[test]
fn authenticate_non_first_keeps_identifier_and_counter() {
    // AN12196 table 23
    let running = Session::from_parts(Key::ZERO, Key::ZERO, bytes("7614281A"), 1);
    let card = CardAuthentication::new(Key::ZERO, bytes("6924E8D09722659A2E7DEC68E66312B8"));
    let mut reader = Authentication::new(Key::ZERO, bytes("60BE759EDA560250AC57CDDC11743CF6"));
    let part2 = reader.answer_challenge(&card.challenge());
    let (answer, at_card) = card.finish(&part2, [0; 4], Some(&running)).unwrap();
    let answer = answer.as_slice().try_into().unwrap();
    let at_reader = reader.finish_non_first(answer, &running).unwrap();
    for session in [at_reader, at_card] {
        let enc = key("4CF3CB41A22583A61E89B158D252FC53");
        assert_eq!(session.keys(), (&enc, &key("5529860B2FC5FB6154B7F28361D30BF9")));
        assert_eq!((session.ti(), session.counter()), (bytes("7614281A"), 1));
    }
}

/// Session of AN12196 6.6, 6.10 and table 23, of AN12343 p55.
const S66: [&str; 3] =
    ["1309C877509E5A215007FF0ED19CA564", "4C6626F5E72EA694202139295C7A7FC7", "9D00C4DF"];
const S610: [&str; 3] =
    ["7A93D6571E4B180FCA6AC90C9A7488D4", "FC4AF159B62E549B5812394CAB1918CC", "7614281A"];
const S23: [&str; 3] =
    ["4CF3CB41A22583A61E89B158D252FC53", "5529860B2FC5FB6154B7F28361D30BF9", "7614281A"];
const S55: [&str; 3] =
    ["FFBCFE1F41840A09C9A88D0A4B10DF05", "37E7234B11BEBEFDE41A8F290090EF80", "CD73D8E5"];

const EXCHANGES: &str = include_str!("../../../../tests/vectors/card/published-exchanges.txt");

fn mode(word: &str) -> CommMode {
    match word {
        "mac" => CommMode::Mac,
        "full" => CommMode::Full,
        other => panic!("{other} is no mode"),
    }
}

/// What follows `word` in a line of the block.
fn field<'a>(block: &'a str, word: &str) -> Option<&'a str> {
    block.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
}

#[test]
fn commands_and_answers_are_sealed_and_opened_as_published() {
    let blocks: Vec<&str> = EXCHANGES.split("\n\n").skip(1).collect();
    assert_eq!(blocks.len(), 12);
    for block in blocks {
        let name = field(block, "name").unwrap();
        let parts: Vec<&str> = field(block, "session").unwrap().split(' ').collect();
        let command: Vec<&str> = field(block, "command").unwrap().split('|').collect();
        let words: Vec<&str> = command[0].split_whitespace().collect();
        let (counter, command_mode) = (words[0].parse().unwrap(), mode(words[1]));
        let (cmd, header) = (hex(words[2])[0], hex(words.get(3).unwrap_or(&"")));
        let (data, published) = (hex(command[1]), hex(command[2]));

        let mut reader =
            Session::from_parts(key(parts[0]), key(parts[1]), bytes(parts[2]), counter);
        let mut card = reader.clone();
        let sealed = reader.seal_command(command_mode, cmd, &header, &data);
        assert_eq!(sealed, published, "{name}: the reader's command");
        let opened = card.open_command(command_mode, cmd, header.len(), &sealed);
        assert_eq!(opened, Ok(data), "{name}: the card's reading");

        let Some(answer) = field(block, "answer") else { continue };
        let (plain, published) = answer.split_once('|').unwrap();
        let (word, plain) = plain.split_once(' ').unwrap();
        let sealed = card.seal_answer(mode(word), &hex(plain));
        assert_eq!(sealed, hex(published), "{name}: the card's answer");
        assert_eq!(reader.open_answer(mode(word), &sealed), Ok(hex(plain)), "{name}");
    }
}

#[test]
fn the_data_of_change_key_is_composed_as_published() {
    // AN12196 5.16.1 and 5.16.2
    let new_2 = key("F3847D627727ED3BC9C4CC050489B966");
    let other = change_key_data(&new_2, 1, Some(&Key::ZERO));
    assert_eq!(*other, hex("F3847D627727ED3BC9C4CC050489B966 01 789DFADC"));
    let new_0 = key("5004BF991F408672B1EF00F08F9E8647");
    let own = change_key_data(&new_0, 1, None);
    assert_eq!(*own, hex("5004BF991F408672B1EF00F08F9E8647 01"));
    // The difference to the old key is what travels; its CRC is of the new key.
    let old = Key([0xFF; 16]);
    let inverted = change_key_data(&new_2, 1, Some(&old));
    assert_eq!(inverted[0], 0x0C);
    assert_eq!(inverted[17..], other[17..]);
}

#[test]
fn a_long_write_in_full_mode_is_sealed_as_published() {
    // AN12196 5.4: an NDEF message of 128 bytes; the note prints the start and the MAC.
    let mut data = hex("0051D1014D5504");
    data.extend(b"choose.url.com/ntag424?e=");
    data.extend([0x30; 32]);
    data.extend(b"&c=");
    data.extend([0x30; 16]);
    data.resize(128, 0);
    let [enc, mac, ti] = S66;
    let mut session = Session::from_parts(key(enc), key(mac), bytes(ti), 0);
    let sealed = session.seal_command(CommMode::Full, 0x8D, &hex("02000000800000"), &data);
    assert_eq!(sealed[7..23], hex("421C73A27D827658AF481FDFF20A5025"));
    assert_eq!(sealed[sealed.len() - 8..], hex("D1D9A8499661EBF3"));
    assert_eq!(session.open_answer(CommMode::Full, &hex("FC222E5F7A542452")), Ok(vec![]));
}

#[test]
fn initial_vectors_are_the_published_ones() {
    for ([enc, mac, ti], counter, direction, iv) in [
        (
            ["C1D7BD9F60034D8432F9AF3403D573D0", ZERO, "569D4B24"],
            1,
            ANSWER,
            "5A42ECB2111A9267FA5F2682523229AC",
        ),
        (S610, 0, COMMAND, "4C651A64261A90307B6C293F611C7F7B"),
        (S66, 1, COMMAND, "3E27082AB2ACC1EF55C57547934E9962"),
        (S55, 0, COMMAND, "871747AF36D72164A418BBFECCECD911"),
        (S23, 2, COMMAND, "307EDE1814707F30CFE603DD6CA62353"),
        (S23, 3, COMMAND, "01602D579423B2797BE8B478B0B4D27B"),
        (
            ["CFD5F757E422144FE831842694AF69AF", ZERO, "B350F7C9"],
            1,
            COMMAND,
            "303DC814A2C7366D298C50DC8F90BB36",
        ),
        // proxmark3
        (
            ["66A8CB93269DC9BC2885B7A91B9C697B", ZERO, "ED56F6E6"],
            0,
            COMMAND,
            "DA0F644A4986275957CF1EC3AF4CCE53",
        ),
        (
            ["445A8626B3338459321232FADF6ADE2B", ZERO, "11223344"],
            5,
            COMMAND,
            "177494FCC4F1DAB2AFBE8FAE2057A9D2",
        ),
    ] {
        let session = Session::from_parts(key(enc), key(mac), bytes(ti), counter);
        assert_eq!(session.iv(&Cipher::new(&key(enc)), direction), bytes(iv), "{enc}");
    }
}

#[test]
fn macs_are_truncated_to_their_odd_bytes() {
    // AN12343 p16
    let mac = key("FD9E26C9766F07C1D07106C0F8F3671F");
    let input = hex("510000 569D4B24");
    assert_eq!(cmac(&mac, &[&input]), bytes("ED5CB7A932EF8D7C2E91B42A1139F11B"));
    assert_eq!(Cipher::new(&mac).mac_t(&[&input]), bytes("5CA9EF7C912A391B"));
}

#[test]
fn the_crc_of_a_changed_key_is_the_published_one() {
    // AN12196 5.16.1
    let crc = jamcrc(&hex("F3847D627727ED3BC9C4CC050489B966"));
    assert_eq!(crc.to_le_bytes(), bytes("789DFADC"));
}

#[test]
fn keys_are_diversified_as_an10922_prints_it() {
    let master = key("00112233445566778899AABBCCDDEEFF");
    let (k1, k2) = subkeys(&Cipher::new(&master));
    assert_eq!(k1, bytes("FBC9F75C9413C041DFEE452D3F0706D1"));
    assert_eq!(k2, bytes("F793EEB928278083BFDC8A5A7E0E0D25"));
    let input = hex("04782E21801D80 3042F5 4E585020416275");
    assert_eq!(diversify(&master, &input), key("A8DD63A3B89D54B37CA802473FDA9175"));
    assert_eq!(diversify(&master, &input), Key(cmac(&master, &[&[1], &input])));
}

#[test]
fn a_short_diversification_input_is_padded_to_two_blocks() {
    // waza-ari/python-desfire: its unpadded option is a plain CMAC; AN10922 pads.
    let master = key("83A66CF43605111802A2616FA0C5E2FF");
    let input = hex("044D0702195E80DADADA715517");
    assert_eq!(cmac(&master, &[&[1], &input]), bytes("DAE9B8D3136B2DAE35D58678F378B0B1"));
    assert_eq!(diversify(&master, &input), key("555F624020C5789340350914E92A64F9"));
    let longest = [7; 31];
    assert_eq!(diversify(&master, &longest), Key(cmac(&master, &[&[1], &longest])));
}

#[test]
fn transaction_mac_keys_are_the_published_ones() {
    let pm3 = ["66A8CB93269DC9BC2885B7A91B9C697B", "0123456789ABCDEFFEDCBA9876543210"];
    let gtech = "00112233445566778899AABBCCDDEEFF";
    for (master, ctr, uid, mac, enc) in [
        (
            pm3[0],
            9,
            "04010203040506",
            "7C1AD2D9C5C08154A0A4914B401A6598",
            "119B902A07B18A865B8E1B0060594784",
        ),
        (
            pm3[1],
            0x1234_5679,
            "04A1B2C3D4E5F6",
            "8F76D21BAE6765845188BCF9159BE0EC",
            "6F701DC037A5F0757A7FF667055F4B25",
        ),
        (
            gtech,
            1,
            "04782E21801D80",
            "2DB206D20F493AC4524EADE977E976B4",
            "A0DD3EA52546EC462FE0F466FEB3A62F",
        ),
        (
            gtech,
            0x0102_0304,
            "04782E21801D80",
            "B20237FAB63F46765A10CB37B8CF3363",
            "E83B0ECF0F38A4064DC837C22C6C0F2D",
        ),
        (
            gtech,
            0xFFFF_FFFF,
            "04782E21801D80",
            "F04DFDB0F640DF7C29D2A1B72594B050",
            "97D3A8A03983F015B89EAE1AAB8A13B2",
        ),
    ] {
        let uid = CardId(bytes(uid));
        assert_eq!(session_mac_key(&key(master), uid, ctr), key(mac));
        assert_eq!(session_enc_key(&key(master), uid, ctr), key(enc));
    }
}

#[test]
fn the_reader_id_that_silicon_enciphered_is_enciphered_the_same() {
    // AN12343 p61-65, the one vector made by a real card.
    let tmac = key("F7D23E0C44AFADE542BFDF2DC5C6AE02");
    let uid = CardId(bytes("04DE5F1EACC040"));
    assert_eq!(session_mac_key(&tmac, uid, 4), key("CEC04457818D1A10A8E5E3965284AD79"));
    assert_eq!(session_enc_key(&tmac, uid, 4), key("1916A44815033120E41DC145DF72DC65"));
    let previous = bytes("28BF1982BE086FBC60A22DAEB66613EE");
    let published = bytes("A1963F1BB9FC916A8B15B2DC58002531");
    assert_eq!(encrypted_reader_id(&tmac, uid, 4, previous), published);
}
