//! What a column is called from here on, and whether its name speaks of people.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;

/// Names that every table has already, or that a load needs.
const TAKEN: [&str; 6] = ["load_id", "file_id", "source_row", "restored_by", "superseded_by", "seq"];

/// Makes a plain SQL name that differs from those that were made before.
pub(super) fn plain(name: &str, made: &BTreeSet<String>) -> String {
    let mut plain = String::new();
    let mut before = ' ';
    for c in name.nfkd() {
        let word: &str = match c {
            '%' => " percent ",
            '#' => " number ",
            '&' | '+' => " and ",
            'ß' => "ss",
            'æ' | 'Æ' => "ae",
            'ø' | 'Ø' => "o",
            'ł' | 'Ł' => "l",
            _ => "",
        };
        if !word.is_empty() {
            plain.push_str(&word.replace(' ', "_"));
        } else if c.is_ascii_alphanumeric() {
            // `ProductId` is two words; `YTD` is one.
            if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
                plain.push('_');
            }
            plain.push(c.to_ascii_lowercase());
        } else if !unicode_normalization::char::is_combining_mark(c) {
            plain.push('_');
        }
        before = c;
    }
    let words: Vec<&str> = plain.split('_').filter(|word| !word.is_empty()).collect();
    let mut plain = words.join("_");
    if !plain.starts_with(|c: char| c.is_ascii_lowercase()) {
        plain = if plain.is_empty() { "column".to_owned() } else { format!("column_{plain}") };
    }
    plain.truncate(56);
    let plain = plain.trim_end_matches('_').to_owned();
    let plain = if TAKEN.contains(&plain.as_str()) { format!("file_{plain}") } else { plain };
    if !made.contains(&plain) {
        return plain;
    }
    (2..).map(|number| format!("{plain}_{number}")).find(|name| !made.contains(name)).unwrap_or(plain)
}

/// The words of a plain name.
pub(super) fn words(plain: &str) -> Vec<&str> {
    plain.split('_').collect()
}

/// Whether a name is one of those that lists give to their keys.
pub(super) fn names_a_key(plain: &str) -> bool {
    let last = ["id", "key", "code", "number", "no", "nr", "num", "sku", "ref", "reference", "label"];
    words(plain).last().is_some_and(|word| last.contains(word))
}

/// Whether a name says that a store stands here.
pub(super) fn names_a_store(plain: &str) -> bool {
    let words = words(plain);
    let about = ["id", "number", "no", "nr", "num", "code", "label", "key"];
    words.contains(&"store") && words.iter().all(|word| *word == "store" || about.contains(word))
}

/// Whether a name says that digits here are no quantity: they are kept as they are written.
pub(super) fn names_digits(plain: &str) -> bool {
    let words = words(plain);
    let kinds =
        ["zip", "zipcode", "postal", "postcode", "plz", "phone", "telephone", "mobile", "fax", "card", "iban", "ssn"];
    words.iter().any(|word| kinds.contains(word))
}

/// What somebody did, before `by` or `von`.
const DONE: [&str; 28] = [
    "approved",
    "assigned",
    "booked",
    "changed",
    "checked",
    "closed",
    "counted",
    "created",
    "edited",
    "entered",
    "modified",
    "opened",
    "ordered",
    "prepared",
    "received",
    "recorded",
    "reviewed",
    "signed",
    "submitted",
    "updated",
    "angelegt",
    "bearbeitet",
    "erfasst",
    "erstellt",
    "geandert",
    "gebucht",
    "gepruft",
    "unterschrieben",
];

/// What about a person a name speaks of.
pub(super) fn names_a_person(plain: &str) -> Option<&'static str> {
    let words = words(plain);
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    if has(&["mail", "email", "emails"]) {
        return Some("its name speaks of mail");
    }
    if has(&["phone", "telephone", "mobile", "cell", "fax", "tel"]) {
        return Some("its name speaks of a telephone");
    }
    if has(&["ssn", "birthday", "birthdate", "dob", "birth", "passport", "salary", "wage", "iban"]) {
        return Some("its name speaks of a person's own affairs");
    }
    let people = [
        "employee",
        "employees",
        "person",
        "cashier",
        "driver",
        "guest",
        "customer",
        "manager",
        "member",
        "staff",
        "worker",
        "server",
        "contact",
        "user",
        "username",
        "owner",
        "supervisor",
        "associate",
        "mitarbeiter",
        "mitarbeiterin",
        "author",
        "autor",
        "bearbeiter",
        "bearbeiterin",
        "sachbearbeiter",
        "editor",
        "ersteller",
        "verfasser",
        "benutzer",
        "firstname",
        "lastname",
        "surname",
        "forename",
        "fullname",
    ];
    if words.windows(2).any(|pair| DONE.contains(&pair[0]) && ["by", "von", "durch"].contains(&pair[1])) {
        return Some("its name says by whom");
    }
    let counted = ["count", "counts", "total", "hours", "type", "size", "percent", "group", "segment"];
    if has(&people) && !has(&counted) {
        return Some("its name speaks of people");
    }
    let things = ["first", "last", "full", "middle", "family", "given"];
    (has(&["name"]) && has(&things)).then_some("its name speaks of a person's name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_plain_and_stay_apart() {
        let mut made = BTreeSet::new();
        let names = [
            "Store #",
            "ProductId",
            "LY Net Sales (USD)",
            "2024",
            "Straße",
            "Übergröße %",
            "load_id",
            "",
            "product id",
            "名前",
        ];
        let plain: Vec<String> = names
            .iter()
            .map(|name| {
                let plain = plain(name, &made);
                made.insert(plain.clone());
                plain
            })
            .collect();
        assert_eq!(
            plain,
            [
                "store_number",
                "product_id",
                "ly_net_sales_usd",
                "column_2024",
                "strasse",
                "ubergrosse_percent",
                "file_load_id",
                "column",
                "product_id_2",
                "column_2"
            ]
        );
        assert!(plain.iter().all(|name| super::super::is_plain(name)));
    }

    #[test]
    fn people_are_suspected_by_name_and_things_are_not() {
        for name in ["employee", "e_mail", "manager_name", "first_name", "home_phone", "customer"] {
            assert!(names_a_person(name).is_some(), "{name}");
        }
        for header in ["Entered by", "Erfasst von", "Geändert von", "Bearbeiter", "Author", "Created By", "ModifiedBy"]
        {
            let name = &plain(header, &BTreeSet::new());
            assert!(names_a_person(name).is_some(), "{name}");
        }
        for name in [
            "store_name",
            "product_name",
            "name",
            "customer_count",
            "employee_hours",
            "first_sale_on",
            "sales_by_day",
            "valid_von",
        ] {
            assert!(names_a_person(name).is_none(), "{name}");
        }
    }
}
