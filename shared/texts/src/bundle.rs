//! The files of texts, parsed once, and the functions that they call.

use std::{borrow::Cow, sync::LazyLock};

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

use crate::Language;

pub(crate) type Bundle = FluentBundle<FluentResource>;

static ENGLISH: LazyLock<Bundle> = LazyLock::new(|| read(Language::English));
static KOREAN: LazyLock<Bundle> = LazyLock::new(|| read(Language::Korean));

/// The file of a language.
pub(crate) const fn source(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("../en.ftl"),
        Language::Korean => include_str!("../ko.ftl"),
    }
}

fn bundle(language: Language) -> &'static Bundle {
    match language {
        Language::English => &ENGLISH,
        Language::Korean => &KOREAN,
    }
}

fn read(language: Language) -> Bundle {
    let tag: LanguageIdentifier = language.tag().parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![tag]);
    // Marks around every name would be for mixing text directions; screens show them as boxes.
    bundle.set_use_isolating(false);
    // The tests hold every file free of errors and doubles; what did parse is still worth showing.
    let resource = FluentResource::try_new(source(language).to_owned());
    bundle.add_resource_overriding(resource.unwrap_or_else(|(resource, _)| resource));
    for (name, words) in [("DURATION", duration as Words), ("SPAN", span as Words)] {
        // It fails only for a name that is there already.
        let _ = bundle.add_function(name, move |positional, _| match positional {
            [FluentValue::Number(number)] => number.as_string().parse().map_or_else(
                |_| FluentValue::Error,
                |secs| FluentValue::String(words(language, secs).into()),
            ),
            _ => FluentValue::Error,
        });
    }
    bundle
}

type Words = fn(Language, u64) -> String;

/// The text of a message or of its attribute. A text must never stop a tap: a message that is
/// missing is shown by its key, a fact that is missing by its name.
pub(crate) fn text(
    language: Language,
    key: &str,
    attribute: Option<&str>,
    facts: Option<&FluentArgs<'_>>,
) -> String {
    let bundle = bundle(language);
    let message = bundle.get_message(key);
    let pattern = message.and_then(|message| match attribute {
        Some(name) => message.get_attribute(name).map(|attribute| attribute.value()),
        None => message.value(),
    });
    let Some(pattern) = pattern else { return key.to_owned() };
    let mut errors = Vec::new();
    let text: Cow<'_, str> = bundle.format_pattern(pattern, facts, &mut errors);
    debug_assert!(errors.is_empty(), "{key} in {language}: {errors:?}");
    text.into_owned()
}

/// Exact to the second: seconds below two minutes, then minutes, with the odd seconds when they
/// decide.
fn duration(language: Language, secs: u64) -> String {
    let (minutes, rest) = (secs / 60, secs % 60);
    match (minutes, rest) {
        (0 | 1, _) => words(language, "duration-seconds", [("seconds", secs)]),
        (_, 0) => words(language, "duration-minutes", [("minutes", minutes)]),
        _ => words(language, "duration-minutes-seconds", [("minutes", minutes), ("seconds", rest)]),
    }
}

/// Days, hours, minutes or seconds, rounded down.
fn span(language: Language, secs: u64) -> String {
    let (key, count) = match secs {
        0..60 => ("span-seconds", secs),
        60..3_600 => ("span-minutes", secs / 60),
        3_600..86_400 => ("span-hours", secs / 3_600),
        _ => ("span-days", secs / 86_400),
    };
    words(language, key, [("count", count)])
}

fn words<const N: usize>(language: Language, key: &str, facts: [(&str, u64); N]) -> String {
    text(language, key, None, Some(&facts.into_iter().collect()))
}
