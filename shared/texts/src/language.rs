//! Which language a reader gets.

use std::{fmt, str::FromStr};

use unic_langid::LanguageIdentifier;

/// A language that has a file of texts here. English stands in for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Language {
    /// `en.ftl`
    #[default]
    English,
    /// `ko.ftl`
    Korean,
}

/// A language tag that names none of the languages here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no texts in language {0:?}: use {tags}",
    tags = Language::ALL.map(Language::tag).join(" or ")
)]
pub struct UnknownLanguage(String);

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// Its BCP 47 tag, as in `lang="ko"`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// Its name in itself, for a reader who has to find it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Korean => "한국어",
        }
    }

    /// The best of an `Accept-Language` header: highest weight first, then the order written.
    /// English when it names nothing that is here, or cannot be read.
    pub fn accepted(header: &str) -> Self {
        let mut best = None;
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let Some(Ok(language)) = parts.next().map(Self::from_str) else { continue };
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1000), weight);
            let Some(weight @ 1..) = weight else { continue };
            if best.is_none_or(|(_, most)| weight > most) {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language).unwrap_or_default()
    }
}

/// A weight of RFC 9110, in thousandths: `0.8` is 800.
fn weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    /// From a BCP 47 tag; script, region and variants do not matter: `ko-KR` is Korean.
    fn from_str(tag: &str) -> Result<Self, UnknownLanguage> {
        let unknown = || UnknownLanguage(tag.to_owned());
        let id: LanguageIdentifier = tag.parse().map_err(|_| unknown())?;
        Self::ALL.into_iter().find(|l| l.tag() == id.language.as_str()).ok_or_else(unknown)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}
