//! Settings as an operator writes them: TOML with a table for all, one for each group and one for
//! each single validator.
//!
//! Reading judges the form alone, so that a text of the journal reads for ever; [`Text::check`]
//! judges names and values by what is known today, and says the line of each.

use std::collections::{BTreeMap, BTreeSet};

use model::ValidatorId;
use steering::{SETTINGS, SettingsProblem, check_setting, own_settings};
use toml::de::{DeTable, DeValue};
use wire::{SettingValue, SettingsFor, SettingsLayer, SettingsVersion, limits};

/// What a text says, and where.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// All first, then groups by name, then single validators.
    pub layers: Vec<SettingsLayer>,
    /// The line of each setting, by the place of its layer and its key.
    lines: BTreeMap<(usize, String), usize>,
    /// Where validators are named.
    named: Vec<(usize, ValidatorId)>,
}

/// What is wrong with a text, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TextProblem {
    /// From 1.
    pub line: usize,
    /// What, and what to write.
    pub problem: String,
}

impl Text {
    /// Reads a text.
    pub fn read(text: &str) -> Result<Self, TextProblem> {
        let reader = Reader(text);
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            reader.problem(at, error.message().to_owned())
        })?;
        let mut found = BTreeMap::new();
        for (key, value) in table.get_ref() {
            let at = key.span().start;
            let inner = reader.table(at, key.get_ref(), value.get_ref())?;
            match &**key.get_ref() {
                "all" => drop(found.insert((0, String::new()), (SettingsFor::All, inner))),
                "group" => {
                    for (name, group) in inner {
                        let at = name.span().start;
                        let name = name.get_ref().to_string();
                        let (members, set) =
                            reader.group(at, &name, reader.table(at, &name, group.get_ref())?)?;
                        let whom = SettingsFor::Group { name: name.clone(), members };
                        found.insert((1, name), (whom, set));
                    }
                }
                "validator" => {
                    for (id, set) in inner {
                        let (at, name) = (id.span().start, id.get_ref());
                        let set = reader.table(at, name, set.get_ref())?;
                        let id = reader.id(at, name)?;
                        found.insert((2, id.to_string()), (SettingsFor::One(id), set));
                    }
                }
                other => {
                    let words = format!("{other} is none of the tables all, group and validator");
                    return Err(reader.problem(at, words));
                }
            }
        }
        let mut read = Self { named: reader.named(table.get_ref()), ..Self::default() };
        for (place, (whom, set)) in found.into_values().enumerate() {
            let mut values = BTreeMap::new();
            reader.values("", set, &mut values)?;
            for (key, (line, _)) in &values {
                read.lines.insert((place, key.clone()), *line);
            }
            let values = values.into_iter().map(|(key, (_, value))| (key, value)).collect();
            read.layers.push(SettingsLayer { whom, values });
        }
        Ok(read)
    }

    /// Everything that cannot be given to validators as it is, by lines. `known` are enrolled.
    pub fn check(&self, known: &[ValidatorId]) -> Vec<TextProblem> {
        let mut found = Vec::new();
        for (line, id) in &self.named {
            if !known.contains(id) {
                let problem = format!("{id} is not enrolled: see `depot-server validator enrol`");
                found.push(TextProblem { line: *line, problem });
            }
        }
        for (place, layer) in self.layers.iter().enumerate() {
            for (key, value) in &layer.values {
                if let Err(problem) = check_setting(key, value) {
                    let problem = match &problem {
                        SettingsProblem::Unknown(_) => format!("{problem}{}", meant(key)),
                        SettingsProblem::Value { .. } | SettingsProblem::Disagree { .. } => {
                            problem.to_string()
                        }
                    };
                    found.push(TextProblem { line: self.line(place, key), problem });
                }
            }
        }
        if found.is_empty() {
            found.extend(self.disagreements());
        }
        found.sort_by_key(|problem| problem.line);
        found
    }

    /// Groups that say different things to the same validator; the first of each pair.
    fn disagreements(&self) -> Vec<TextProblem> {
        let whole = SettingsVersion {
            number: 1,
            canaries: BTreeSet::new(),
            percent: 100,
            layers: self.layers.clone(),
        };
        let members: BTreeSet<_> = self.members().into_values().flatten().collect();
        let mut found: BTreeMap<[String; 2], TextProblem> = BTreeMap::new();
        for id in members {
            if let Err(SettingsProblem::Disagree { key, validator, groups }) =
                own_settings(&whole, id)
            {
                let place = self.layers.iter().position(|layer| {
                    matches!(&layer.whom, SettingsFor::Group { name, .. } if *name == groups[1])
                });
                let line = self.line(place.unwrap_or_default(), &key);
                let groups_said = groups.clone();
                let problem = SettingsProblem::Disagree { key, validator, groups };
                let problem = TextProblem { line, problem: problem.to_string() };
                found.entry(groups_said).or_insert(problem);
            }
        }
        found.into_values().collect()
    }

    /// The validators of each group.
    pub fn members(&self) -> BTreeMap<String, BTreeSet<ValidatorId>> {
        members(&self.layers)
    }

    fn line(&self, place: usize, key: &str) -> usize {
        self.lines.get(&(place, key.to_owned())).copied().unwrap_or(1)
    }
}

/// The validators of each group among these layers.
pub(super) fn members(layers: &[SettingsLayer]) -> BTreeMap<String, BTreeSet<ValidatorId>> {
    let group = |layer: &SettingsLayer| match &layer.whom {
        SettingsFor::Group { name, members } => Some((name.clone(), members.clone())),
        SettingsFor::All | SettingsFor::One(_) => None,
    };
    layers.iter().filter_map(group).collect()
}

/// A known name that shares its last word, for whoever mistook the table.
fn meant(key: &str) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let near = SETTINGS.iter().find(|setting| last(setting.key) == last(key));
    near.map_or_else(
        || ": `depot-server settings keys` prints them all".to_owned(),
        |near| format!("; did you mean {}?", near.key),
    )
}

struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.0.get(..at).unwrap_or(self.0).matches('\n').count() + 1
    }

    fn problem(&self, at: usize, problem: String) -> TextProblem {
        TextProblem { line: self.line(at), problem }
    }

    fn table<'v, 'i>(
        &self,
        at: usize,
        name: &str,
        value: &'v DeValue<'i>,
    ) -> Result<&'v DeTable<'i>, TextProblem> {
        let table = value.as_table();
        table.ok_or_else(|| self.problem(at, format!("{name} must be a table, such as [{name}]")))
    }

    fn id(&self, at: usize, name: &str) -> Result<ValidatorId, TextProblem> {
        let id = name.parse().ok().filter(|id| *id != ValidatorId::DEPOT);
        let words = || format!("{name:?} is no validator: write one such as v000042");
        id.ok_or_else(|| self.problem(at, words()))
    }

    /// Who is in a group, and what is set there.
    fn group<'v, 'i>(
        &self,
        at: usize,
        name: &str,
        group: &'v DeTable<'i>,
    ) -> Result<(BTreeSet<ValidatorId>, &'v DeTable<'i>), TextProblem> {
        if name.is_empty() || name.len() > limits::SETTING {
            let words = format!("a group's name has 1 to {} bytes", limits::SETTING);
            return Err(self.problem(at, words));
        }
        let (mut members, mut set) = (None, None);
        for (key, value) in group {
            let at = key.span().start;
            match &**key.get_ref() {
                "validators" => members = Some(self.ids(at, value.get_ref())?),
                "set" => set = Some(self.table(at, "set", value.get_ref())?),
                other => {
                    let words = format!("a group has validators and a table set, not {other}");
                    return Err(self.problem(at, words));
                }
            }
        }
        let members = members.filter(|members| !members.is_empty());
        let words = |what| self.problem(at, format!("group {name} has no {what}"));
        let members = members.ok_or_else(|| words("validators = [\"v000042\"]"))?;
        Ok((members, set.ok_or_else(|| words("table set"))?))
    }

    fn ids(&self, at: usize, value: &DeValue<'_>) -> Result<BTreeSet<ValidatorId>, TextProblem> {
        let words = || "validators must be an array such as [\"v000042\"]".to_owned();
        let array = value.as_array().ok_or_else(|| self.problem(at, words()))?;
        let id = |item: &toml::Spanned<DeValue<'_>>| {
            let at = item.span().start;
            let name = item.get_ref().as_str().ok_or_else(|| self.problem(at, words()))?;
            self.id(at, name)
        };
        array.iter().map(id).collect()
    }

    /// Where validators are named: single ones, and in groups.
    fn named(&self, table: &DeTable<'_>) -> Vec<(usize, ValidatorId)> {
        let within = |name: &str| table.get(name).and_then(|value| value.get_ref().as_table());
        let id = |at: usize, name: &str| Some((self.line(at), name.parse().ok()?));
        let single = within("validator").into_iter().flatten();
        let single = single.filter_map(|(key, _)| id(key.span().start, key.get_ref()));
        let groups = within("group").into_iter().flatten();
        let lists =
            groups.filter_map(|(_, group)| group.get_ref().get("validators")?.get_ref().as_array());
        let grouped = lists.flatten().filter_map(|item| {
            item.get_ref().as_str().and_then(|name| id(item.span().start, name))
        });
        single.chain(grouped).collect()
    }

    fn values(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        values: &mut BTreeMap<String, (usize, SettingValue)>,
    ) -> Result<(), TextProblem> {
        for (key, value) in table {
            let (at, path) = (key.span().start, format!("{prefix}{}", key.get_ref()));
            if path.len() > limits::SETTING {
                return Err(self.problem(at, format!("{path} is longer than any setting's name")));
            }
            let words = || {
                let what = "must be true, false, a whole number from 0 on, or a word";
                self.problem(at, format!("{path} {what}"))
            };
            let value = match value.get_ref() {
                DeValue::Table(inner) => {
                    self.values(&format!("{path}."), inner, values)?;
                    continue;
                }
                DeValue::Boolean(flag) => SettingValue::Flag(*flag),
                DeValue::Integer(number) => {
                    let number = u64::from_str_radix(number.as_str(), number.radix());
                    SettingValue::Number(number.map_err(|_| words())?)
                }
                DeValue::String(word) if word.len() <= limits::SETTING => {
                    SettingValue::Word(word.to_string())
                }
                DeValue::String(_)
                | DeValue::Float(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => return Err(words()),
            };
            values.insert(path, (self.line(at), value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"# Summer.
[all]
rules.low_balance = 200
[all.rider.sound]
volume = 80

[group.night]
validators = ["v000042", "v000043"]
set.rider.sound.volume = 30

[validator.v000007]
validator.language = "ko"
rider.private = true
"#;

    fn v(n: u32) -> ValidatorId {
        ValidatorId::new(n).unwrap()
    }

    fn problems(text: &str) -> Vec<String> {
        let known = [v(7), v(42), v(43)];
        match Text::read(text) {
            Err(problem) => vec![problem.to_string()],
            Ok(text) => text.check(&known).iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_text_has_layers_for_all_for_groups_and_for_single_validators() {
        let text = Text::read(GOOD).unwrap();
        assert!(text.check(&[v(7), v(42), v(43)]).is_empty());
        let words: Vec<String> = text
            .layers
            .iter()
            .flat_map(|layer| {
                let whom = format!("{:?}", layer.whom);
                let whom = whom.split([' ', '(']).next().unwrap_or_default().to_owned();
                let say = |(key, value): &(_, _)| format!("{whom} {key} = {value}");
                layer.values.iter().map(say).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(
            words,
            [
                "All rider.sound.volume = 80",
                "All rules.low_balance = 200",
                "Group rider.sound.volume = 30",
                "One rider.private = true",
                "One validator.language = \"ko\"",
            ]
        );
        assert_eq!(text.members()["night"], [v(42), v(43)].into());
    }

    #[test]
    fn what_cannot_be_given_is_refused_with_its_line_and_what_is_allowed() {
        for (from, to, expected) in [
            ("volume = 80", "volume = 180", "line 5: rider.sound.volume = 180 must be a whole"),
            ("volume = 80", "volume = -1", "line 5: rider.sound.volume must be true, false"),
            ("volume = 80", "volume = 8.0", "line 5: rider.sound.volume must be true, false"),
            ("volume = 30", "volume = \"x\"", "line 9: rider.sound.volume = \"x\" must be a whole"),
            ("\"ko\"", "\"fr\"", "line 12: validator.language = \"fr\" must be \"en\" or \"ko\""),
            ("rules.low", "low", "line 3: low_balance is no setting that a depot gives to this"),
            ("low_balance", "id", "line 3: rules.id is no setting"),
            ("\"v000043\"", "\"v000044\"", "line 8: v000044 is not enrolled"),
            ("\"v000043\"", "\"43\"", "line 8: \"43\" is no validator"),
            ("validator.v000007", "validator.v000008", "line 11: v000008 is not enrolled"),
            ("[all]", "[every]", "line 2: every is none of the tables"),
            ("set.rider", "rider", "line 9: a group has validators and a table set, not rider"),
            ("[\"v000042\", \"v000043\"]", "[]", "line 7: group night has no validators"),
            ("rules.low_balance = 200", "rules.low_balance =", "line 3: "),
        ] {
            let said = problems(&GOOD.replace(from, to));
            assert!(said.iter().any(|said| said.starts_with(expected)), "{expected}: {said:?}");
        }
        let meant = problems(&GOOD.replace("rules.low", "low"));
        assert!(meant[0].ends_with("did you mean rules.low_balance?"), "{meant:?}");
        assert_eq!(problems(""), [""; 0], "nothing is set");
    }

    #[test]
    fn two_groups_that_disagree_about_a_validator_are_refused() {
        let other = "[group.quiet]\nvalidators = [\"v000042\"]\nset.rider.sound.volume = 10\n";
        let said = problems(&format!("{GOOD}{other}"));
        assert_eq!(said.len(), 1, "{said:?}");
        let words = "line 16: rider.sound.volume of v000042 is set by the groups night and quiet";
        assert!(said[0].starts_with(words), "{said:?}");
        let own = "[validator.v000042.rider.sound]\nvolume = 20\n";
        assert_eq!(problems(&format!("{GOOD}{other}{own}")), [""; 0]);
    }
}
