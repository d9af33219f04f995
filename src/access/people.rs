//! Reads a list of people and grants, and finds every mistake in it. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::grants::{Level, Scope, Tree};
use crate::words::counted;

const COLUMNS: [&str; 6] = ["email", "first_name", "last_name", "language", "scope", "level"];

/// One mistake in a list. Addresses and names are left out: the line number
/// leads to them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mistake {
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// A person as a list has her: all of her lines together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) email: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) language: Option<String>,
    pub(super) grants: BTreeMap<Scope, Level>,
    line: u64,
}

impl Listed {
    /// A person of whom nothing is known but one grant.
    pub(super) fn one(email: String, scope: Scope, level: Level) -> Self {
        Self {
            email,
            first_name: String::new(),
            last_name: String::new(),
            language: None,
            grants: BTreeMap::from([(scope, level)]),
            line: 0,
        }
    }
}

/// Reads `email,first_name,last_name,language,scope,level`, in any order of
/// columns; a person may have several lines.
///
/// # Errors
/// Every mistake, by line.
pub(super) fn parse(text: &str, tree: &Tree) -> Result<Vec<Listed>, Vec<Mistake>> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let at = match reader.headers().map(positions) {
        Ok(Ok(at)) => at,
        Ok(Err(mistakes)) => return Err(mistakes),
        Err(error) => return Err(vec![Mistake { line: 1, message: error.to_string() }]),
    };
    let mut mistakes = Vec::new();
    let mut people: BTreeMap<String, Listed> = BTreeMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                mistakes.push(Mistake { line, message: "the line is not UTF-8 text".to_owned() });
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let mut refuse = |message: String| mistakes.push(Mistake { line, message });
        let value = |column: usize| record.get(at[column]).unwrap_or_default();
        if record.iter().all(str::is_empty) {
            continue;
        }
        if record.len() != at.len() {
            refuse(format!("{} where the header has {}", counted(record.len(), "value", "values"), at.len()));
            continue;
        }
        let email = value(0).to_lowercase();
        if !address(&email) {
            refuse("`email` is no mail address".to_owned());
        }
        let language = Some(value(3)).filter(|text| !text.is_empty());
        if language.is_some_and(|text| !is_language(text)) {
            refuse(format!("language `{}` is none: write e.g. `en`, `es` or `pt-BR`", value(3)));
        }
        let scope = scope(value(4), tree).map_err(&mut refuse).ok();
        let level = value(5).parse::<Level>().map_err(|error| refuse(error.to_string())).ok();
        let (Some(scope), Some(level)) = (scope, level) else {
            continue;
        };
        let person = people.entry(email.clone()).or_insert_with(|| Listed {
            email,
            first_name: value(1).to_owned(),
            last_name: value(2).to_owned(),
            language: language.map(str::to_owned),
            grants: BTreeMap::new(),
            line,
        });
        let same =
            person.first_name == value(1) && person.last_name == value(2) && person.language.as_deref() == language;
        if !same {
            refuse(format!("name or language differ from the same person's on line {}", person.line));
        }
        if let Some(other) = person.grants.insert(scope.clone(), level)
            && other != level
        {
            refuse(format!("`{scope}` is given to this person as `{other}` and as `{level}`"));
        }
    }
    if mistakes.is_empty() { Ok(people.into_values().collect()) } else { Err(mistakes) }
}

fn positions(header: &csv::StringRecord) -> Result<Vec<usize>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    // As a spreadsheet saves it where the comma is the sign before the fraction.
    let other =
        [(';', "`;`"), ('\t', "tabs")].into_iter().find(|(sign, _)| header.iter().any(|name| name.contains(*sign)));
    if let Some((_, sign)) = other {
        let message = format!("the columns are separated by {sign}: write `,` between them, in every line");
        return Err(vec![Mistake { line: 1, message }]);
    }
    for name in header.iter().filter(|name| !COLUMNS.contains(name)) {
        mistakes.push(Mistake { line: 1, message: format!("unknown column `{name}`") });
    }
    let mut at = Vec::new();
    for column in COLUMNS {
        match header.iter().position(|name| name == column) {
            Some(position) => at.push(position),
            None => mistakes.push(Mistake { line: 1, message: format!("column `{column}` is missing") }),
        }
    }
    if mistakes.is_empty() { Ok(at) } else { Err(mistakes) }
}

/// Finds the scope a text means, or says which one it may have meant.
pub(super) fn scope(text: &str, tree: &Tree) -> Result<Scope, String> {
    match text.parse::<Scope>() {
        Ok(scope) if tree.contains(&scope) => Ok(scope),
        parsed => Err(match (tree.nearest(text), parsed) {
            (Some(near), _) => format!("unknown scope `{text}`; did you mean `{near}`?"),
            (None, Ok(_)) => format!("unknown scope `{text}`"),
            (None, Err(error)) => error.to_string(),
        }),
    }
}

/// Says whether a text may be a mail address. Only sending proves more.
pub(super) fn address(text: &str) -> bool {
    let Some((local, host)) = text.split_once('@') else {
        return false;
    };
    let plain = |part: &str| {
        !part.is_empty()
            && !part
                .contains(|letter: char| letter.is_whitespace() || letter.is_control() || "@<>,;\"".contains(letter))
    };
    plain(local) && plain(host) && host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
}

fn is_language(text: &str) -> bool {
    let mut parts = text.split(['-', '_']);
    let word = |part: &str, sizes: &[usize]| {
        sizes.contains(&part.len()) && part.chars().all(|letter| letter.is_ascii_alphabetic())
    };
    parts.next().is_some_and(|part| word(part, &[2, 3]))
        && parts.next().is_none_or(|part| word(part, &[2, 4]))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::super::grants::tests::small_tree;
    use super::*;

    fn mistakes(text: &str) -> String {
        let found = parse(text, &small_tree()).unwrap_err();
        found.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_person_may_have_several_lines() {
        let people = parse(
            "\u{feff}email,first_name,last_name,language,scope,level\r\n\
             Ana@Example.com,Ana,Lima,pt-BR,store:harbor/000101,viewer\r\n\
             ana@example.com,Ana,Lima,pt-BR,store:mesa/000125,analyst\r\n",
            &small_tree(),
        )
        .unwrap();
        assert_eq!(people.len(), 1);
        assert_eq!(people[0].email, "ana@example.com");
        assert_eq!(people[0].grants.len(), 2);
    }

    #[test]
    fn every_mistake_is_reported_with_its_line_and_without_the_person() {
        insta::assert_snapshot!(mistakes(
            "email,first_name,last_name,language,scope,level\n\
             ana@example.com,Ana,Lima,pt,store:harbor/101,viewer\n\
             bo,Bo,Berg,klingon,region:harbor/Nort,viewer\n\
             cy@example.com,Cy,Dee,en,brand:harbor,boss\n\
             dora@example.com,Dora,Eck,en,brand:mesa,viewer\n\
             dora@example.com,Dora,Ek,en,brand:mesa,owner\n\
             short,line\n"
        ), @r"
        line 2: unknown scope `store:harbor/101`; did you mean `store:harbor/000101`?
        line 3: `email` is no mail address
        line 3: language `klingon` is none: write e.g. `en`, `es` or `pt-BR`
        line 3: unknown scope `region:harbor/Nort`; did you mean `region:harbor/North`?
        line 4: `boss` is no level: write `viewer`, `analyst` or `owner`
        line 6: name or language differ from the same person's on line 5
        line 6: `brand:mesa` is given to this person as `viewer` and as `owner`
        line 7: 2 values where the header has 6
        ");
    }

    #[test]
    fn a_wrong_header_is_reported_whole() {
        insta::assert_snapshot!(mistakes("mail,first_name,last_name,language,scope\n"), @r"
        line 1: unknown column `mail`
        line 1: column `email` is missing
        line 1: column `level` is missing
        ");
        let other = "email;first_name;last_name;language;scope;level\nana@example.com;Ana;Lima;pt;chain;viewer\n";
        insta::assert_snapshot!(
            mistakes(other),
            @"line 1: the columns are separated by `;`: write `,` between them, in every line"
        );
    }
}
