//! Lines in, lines out: JSON objects, one a line, answered in their order.
//!
//! Invariants: each line that is not blank gets exactly one answer; a wrong line costs only
//! itself; no line is held in memory longer than its answer takes; whoever waits for an answer
//! before the next question gets it.

use std::{
    borrow::Cow,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{keys::Spelling, line::Object};

/// A line longer than this is no journey.
const LINE_MAX_BYTES: u64 = 1 << 20;
const BUFFER_BYTES: usize = 1 << 16;

#[derive(Serialize)]
struct Answer<'a, T> {
    id: Option<&'a RawValue>,
    #[serde(flatten)]
    of: T,
}

#[derive(Serialize)]
struct Wrong {
    error: String,
}

/// How many lines were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answered {
    pub(super) good: u64,
    pub(super) wrong: u64,
}

/// Answers every line. A reader of the answers that has gone away ends the work early, and is
/// nobody's failure.
pub(super) fn answer_lines<T: Serialize>(
    input: impl Read,
    output: impl Write,
    spelling: &Spelling,
    mut answer: impl FnMut(&Object<'_>) -> Result<T, String>,
) -> io::Result<Answered> {
    match answer_all(input, output, spelling, &mut answer) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Answered::default()),
        done => done,
    }
}

fn answer_all<T: Serialize>(
    input: impl Read,
    output: impl Write,
    spelling: &Spelling,
    answer: &mut impl FnMut(&Object<'_>) -> Result<T, String>,
) -> io::Result<Answered> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, output);
    let mut answered = Answered::default();
    let mut line = Vec::new();
    loop {
        if input.buffer().is_empty() {
            // The next read may wait for who waits for these answers.
            output.flush()?;
        }
        line.clear();
        if input.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut line)? == 0 {
            output.flush()?;
            return Ok(answered);
        }
        let too_long = line.len() as u64 == LINE_MAX_BYTES && line.last() != Some(&b'\n');
        if too_long {
            input.skip_until(b'\n')?;
        }
        let text = match std::str::from_utf8(&line) {
            Ok(text) => Cow::Borrowed(text.trim_start_matches('\u{feff}').trim()),
            Err(_) => Cow::Owned(String::from_utf8_lossy(&line).into_owned()),
        };
        if text.is_empty() {
            continue;
        }
        let parsed = match &text {
            _ if too_long => Err(format!("the line is longer than {LINE_MAX_BYTES} bytes")),
            Cow::Owned(_) => Err("the line is not UTF-8".to_owned()),
            Cow::Borrowed(text) => Object::parse(text, spelling),
        };
        let id = parsed.as_ref().ok().and_then(|object| object.raw("id"));
        match parsed.as_ref().map_err(Clone::clone).and_then(&mut *answer) {
            Ok(of) => {
                answered.good += 1;
                serde_json::to_writer(&mut output, &Answer { id, of })?;
            }
            Err(error) => {
                answered.wrong += 1;
                serde_json::to_writer(&mut output, &Answer { id, of: Wrong { error } })?;
            }
        }
        output.write_all(b"\n")?;
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[derive(Serialize)]
    struct Echo {
        x: String,
    }

    fn answers(input: &[u8]) -> (String, Answered) {
        let mut output = Vec::new();
        let done = answer_lines(input, &mut output, &Spelling::default(), |line| {
            Ok(Echo { x: line.required("x", "a word")?.into_owned() })
        });
        (String::from_utf8(output).unwrap(), done.unwrap())
    }

    #[test]
    fn every_line_has_one_answer_in_its_place_and_a_wrong_one_costs_only_itself() {
        let input = "\u{feff}{\"id\":7,\"x\":\"a\"}\r\n\n{\"id\":[1,{}]}\nnonsense\n  \n[]\n\
                     {\"id\":12345678901234567890123,\"x\":\"\\u00e9\",\"note\":[]}";
        let (said, done) = answers(input.as_bytes());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], r#"{"id":7,"x":"a"}"#);
        assert_eq!(lines[1], r#"{"id":[1,{}],"error":"x is missing: write a word"}"#);
        assert!(lines[2].starts_with(r#"{"id":null,"error":"not a JSON object: "#), "{said}");
        assert!(lines[3].starts_with(r#"{"id":null,"error":"not a JSON object: "#), "{said}");
        assert_eq!(lines[4], r#"{"id":12345678901234567890123,"x":"é"}"#);
        assert_eq!((lines.len(), done), (5, Answered { good: 2, wrong: 3 }));
    }

    #[test]
    fn a_line_that_is_too_long_or_not_utf_8_is_named_and_the_next_one_is_answered() {
        let mut input = String::new();
        write!(input, "{{\"x\":\"{}\"}}\n{{\"x\":\"b\"}}\n", "y".repeat(3 << 20)).unwrap();
        let mut input = input.into_bytes();
        input.extend_from_slice(b"{\"x\":\"\xff\"}\n{\"x\":\"c\"}\n");
        let (said, done) = answers(&input);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].contains("longer than 1048576 bytes"), "{}", lines[0]);
        assert_eq!(lines[1], r#"{"id":null,"x":"b"}"#);
        assert!(lines[2].contains("not UTF-8"), "{}", lines[2]);
        assert_eq!((lines[3], done.wrong), (r#"{"id":null,"x":"c"}"#, 2));
    }

    #[test]
    fn whoever_waits_for_an_answer_before_the_next_question_gets_it() {
        struct Talk<'a> {
            asked: u8,
            heard: &'a std::cell::RefCell<Vec<u8>>,
        }
        impl Read for Talk<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let lines = self.heard.borrow().split(|byte| *byte == b'\n').count() - 1;
                assert_eq!(lines, usize::from(self.asked), "all so far is answered");
                self.asked += 1;
                if self.asked > 3 {
                    return Ok(0);
                }
                let line = b"{\"x\":\"q\"}\n";
                into[..line.len()].copy_from_slice(line);
                Ok(line.len())
            }
        }
        struct Ear<'a>(&'a std::cell::RefCell<Vec<u8>>);
        impl Write for Ear<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.borrow_mut().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let heard = std::cell::RefCell::default();
        let talk = Talk { asked: 0, heard: &heard };
        let done =
            answer_lines(talk, Ear(&heard), &Spelling::default(), |_| Ok(Echo { x: "a".into() }))
                .unwrap();
        assert_eq!(done.good, 3);
    }
}
