//! Reads what a raw path of the API names.
//!
//! Paths are taken apart before they are decoded: a colon separates, an encoded
//! one (`%3A`) is part of a name and not allowed there.

use crate::wire::decode_percent;

/// What a path below `/v1.0` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    Me,
    Site(SiteKey),
    SiteDrives(SiteKey),
    Drive(DriveKey),
    Item(DriveKey, ItemKey, Action),
    SendMail(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum SiteKey {
    Root,
    Id(String),
    Path { hostname: String, path: String },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum DriveKey {
    Id(String),
    OfSite(SiteKey),
    OfUser(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ItemKey {
    Root,
    Id(String),
    /// Names below the root or, with an id, below that item.
    Path {
        below: Option<String>,
        names: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Itself,
    Children,
    Content,
    Delta,
}

/// Why a path names nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A name has characters that no file can have.
    InvalidPath,
    /// The contract does not cover it.
    OutsideContract,
}

const FORBIDDEN: &[char] = &['"', '*', ':', '<', '>', '?', '/', '\\', '|'];

pub(super) fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(FORBIDDEN)
        && !name.starts_with(' ')
        && !name.ends_with([' ', '.'])
        && name.chars().count() < 400
}

/// Reads a raw path without its `/v1.0/`.
pub(super) fn parse(raw: &str) -> Result<Address, Unknown> {
    let raw = &unfolded(raw.trim_start_matches('/'));
    let raw = raw.strip_suffix('/').unwrap_or(raw);
    let (kind, rest) = raw.split_once('/').unwrap_or((raw, ""));
    match kind {
        "me" => Ok(Address::Me),
        "drives" => {
            let (id, rest) = segment(rest)?;
            drive(DriveKey::Id(id), rest)
        }
        "users" => {
            let (user, rest) = segment(rest)?;
            match rest.strip_prefix("/drive") {
                Some(rest) => drive(DriveKey::OfUser(user), rest),
                None if rest == "/sendMail" || rest == "/microsoft.graph.sendMail" => Ok(Address::SendMail(user)),
                None => Err(Unknown::OutsideContract),
            }
        }
        "sites" => site(rest),
        _ => Err(Unknown::OutsideContract),
    }
}

/// Takes apart what Microsoft's own clients encode into one segment: to them
/// `host:/sites/x` and `root:/folder:` are ids, and the service takes them for what they are.
fn unfolded(raw: &str) -> String {
    let mut before = "";
    let segments = raw.split('/').map(|segment| {
        let is_id = matches!(std::mem::replace(&mut before, segment), "sites" | "items");
        let folded = is_id && segment.to_ascii_lowercase().contains("%3a%2f");
        if folded { unescaped(segment) } else { segment.to_owned() }
    });
    segments.collect::<Vec<_>>().join("/")
}

fn unescaped(segment: &str) -> String {
    [("%3A", ":"), ("%3a", ":"), ("%2F", "/"), ("%2f", "/")]
        .iter()
        .fold(segment.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

fn site(raw: &str) -> Result<Address, Unknown> {
    let (key, rest) = match raw.split_once(":/") {
        // A colon behind the first segment belongs to `root:/…` of the site's drive.
        Some((hostname, rest)) if !hostname.contains('/') => {
            let (path, rest) = rest.split_once(':').unwrap_or((rest, ""));
            let path = names(path)?.join("/");
            (SiteKey::Path { hostname: decoded(hostname)?, path }, rest)
        }
        _ => {
            let (id, rest) = segment(raw)?;
            let key = if id == "root" { SiteKey::Root } else { SiteKey::Id(id) };
            (key, rest)
        }
    };
    match rest {
        "" => Ok(Address::Site(key)),
        "/drives" => Ok(Address::SiteDrives(key)),
        _ => match rest.strip_prefix("/drive") {
            Some(rest) => drive(DriveKey::OfSite(key), rest),
            None => Err(Unknown::OutsideContract),
        },
    }
}

fn drive(key: DriveKey, rest: &str) -> Result<Address, Unknown> {
    if rest.is_empty() {
        return Ok(Address::Drive(key));
    }
    let (item, rest) = if let Some(rest) = rest.strip_prefix("/root") {
        let (names, rest) = relative(rest)?;
        let item = names.map_or(ItemKey::Root, |names| ItemKey::Path { below: None, names });
        (item, rest)
    } else if let Some(rest) = rest.strip_prefix("/items/") {
        let end = rest.find(['/', ':']).unwrap_or(rest.len());
        let id = decoded(&rest[..end])?;
        let (names, rest) = relative(&rest[end..])?;
        let item = match names {
            None => ItemKey::Id(id),
            Some(names) => ItemKey::Path { below: Some(id), names },
        };
        (item, rest)
    } else {
        return Err(Unknown::OutsideContract);
    };
    let action = match rest {
        "" => Action::Itself,
        "/children" => Action::Children,
        "/content" => Action::Content,
        "/delta" | "/delta()" | "/microsoft.graph.delta" | "/microsoft.graph.delta()" => Action::Delta,
        _ => return Err(Unknown::OutsideContract),
    };
    Ok(Address::Item(key, item, action))
}

/// Splits `:/a/b:/rest` into names and rest; without a colon there are no names.
fn relative(raw: &str) -> Result<(Option<Vec<String>>, &str), Unknown> {
    match raw.strip_prefix(":/") {
        None => Ok((None, raw)),
        Some(raw) => {
            let (path, rest) = raw.split_once(':').unwrap_or((raw, ""));
            Ok((Some(names(path)?), rest))
        }
    }
}

fn names(raw: &str) -> Result<Vec<String>, Unknown> {
    raw.split('/')
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = decoded(name)?;
            if is_valid_name(&name) { Ok(name) } else { Err(Unknown::InvalidPath) }
        })
        .collect()
}

fn segment(raw: &str) -> Result<(String, &str), Unknown> {
    let end = raw.find('/').unwrap_or(raw.len());
    if end == 0 {
        return Err(Unknown::OutsideContract);
    }
    Ok((decoded(&raw[..end])?, &raw[end..]))
}

fn decoded(raw: &str) -> Result<String, Unknown> {
    decode_percent(raw).ok_or(Unknown::InvalidPath)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_path(names: &[&str]) -> ItemKey {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ItemKey::Path { below: None, names }
    }

    #[test]
    fn an_item_is_named_by_id_by_path_or_by_both() {
        let drive = || DriveKey::Id("b!d".to_owned());
        assert_eq!(
            parse("drives/b!d/root:/In%20box/50%25%20%231.csv"),
            Ok(Address::Item(drive(), by_path(&["In box", "50% #1.csv"]), Action::Itself))
        );
        assert_eq!(
            parse("drives/b!d/root:/In:/children"),
            Ok(Address::Item(drive(), by_path(&["In"]), Action::Children))
        );
        assert_eq!(
            parse("drives/b!d/items/01A/content"),
            Ok(Address::Item(drive(), ItemKey::Id("01A".to_owned()), Action::Content))
        );
        assert_eq!(
            parse("drives/b!d/items/01A:/x.csv:"),
            Ok(Address::Item(
                drive(),
                ItemKey::Path { below: Some("01A".to_owned()), names: vec!["x.csv".to_owned()] },
                Action::Itself
            ))
        );
    }

    #[test]
    fn a_site_is_named_by_host_and_path_or_by_id() {
        let by_path = || SiteKey::Path { hostname: "a.sharepoint.com".to_owned(), path: "sites/x y".to_owned() };
        assert_eq!(parse("sites/a.sharepoint.com:/sites/x%20y"), Ok(Address::Site(by_path())));
        assert_eq!(
            parse("sites/a.sharepoint.com:/sites/x%20y:/drive"),
            Ok(Address::Drive(DriveKey::OfSite(by_path())))
        );
        assert_eq!(parse("sites/a,1,2/drives"), Ok(Address::SiteDrives(SiteKey::Id("a,1,2".to_owned()))));
        assert_eq!(
            parse("sites/root/drive/root:/In:/children"),
            Ok(Address::Item(
                DriveKey::OfSite(SiteKey::Root),
                ItemKey::Path { below: None, names: vec!["In".to_owned()] },
                Action::Children
            ))
        );
    }

    #[test]
    fn what_the_sdk_folds_into_an_id_is_taken_apart() {
        assert_eq!(
            parse("/sites/a.sharepoint.com%3a%2fsites%2Fx%20y%3A/drive"),
            parse("sites/a.sharepoint.com:/sites/x%20y:/drive")
        );
        assert_eq!(
            parse("drives/d/items/root%3A%2FIn%20box%3A/children"),
            parse("drives/d/items/root:/In%20box:/children")
        );
        assert_eq!(parse("drives/d/items/root:/a%3A%2Fb.csv"), Err(Unknown::InvalidPath));
    }

    #[test]
    fn reserved_characters_and_unknown_routes_are_refused() {
        assert_eq!(parse("drives/d/root:/a%3Ab.csv"), Err(Unknown::InvalidPath));
        assert_eq!(parse("drives/d/root:/a%2Fb.csv"), Err(Unknown::InvalidPath));
        assert_eq!(parse("drives/d/items/1/versions"), Err(Unknown::OutsideContract));
        assert_eq!(parse("groups/1"), Err(Unknown::OutsideContract));
    }
}
