//! Rights as two sets: those that PUBLIC and our roles have on our schemas, and those
//! they should have. Nothing else is ever granted, and nothing else is left.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _};

use super::Ident;
use super::roles::{Error, Reconciled, refused, run};

/// Something one can have a right on, as `GRANT … ON` names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    kind: &'static str,
    name: String,
    column: Option<String>,
}

impl Object {
    pub(super) fn schema(name: &str) -> Self {
        Self { kind: "SCHEMA", name: Ident::known(name).to_string(), column: None }
    }

    pub(super) fn relation(schema: &str, name: &str) -> Self {
        Self { kind: "TABLE", name: format!("{}.{}", Ident::known(schema), Ident::known(name)), column: None }
    }

    pub(super) fn column(schema: &str, name: &str, column: &str) -> Self {
        Self { column: Some(column.to_owned()), ..Self::relation(schema, name) }
    }

    /// `name` is quoted and has its arguments.
    pub(super) fn routine(name: &str) -> Self {
        Self { kind: "ROUTINE", name: name.to_owned(), column: None }
    }
}

/// One right of one role, or of `PUBLIC`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    object: Object,
    privilege: String,
    grantee: String,
}

impl Right {
    pub(super) fn new(object: Object, privilege: &str, grantee: &str) -> Self {
        Self { object, privilege: privilege.to_owned(), grantee: grantee.to_owned() }
    }
}

/// Gives exactly the wanted rights to `ours`, and none to PUBLIC. Owners keep theirs.
pub(super) async fn even_out(
    connection: &mut PgConnection,
    schemas: &[String],
    ours: &BTreeSet<String>,
    wanted: BTreeSet<Right>,
    done: &mut Reconciled,
) -> Result<(), Error> {
    let rows = sqlx::query(include_str!("rights.sql"))
        .bind(schemas)
        .bind(ours.iter().cloned().collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await
        .map_err(refused("read the rights on", "our schemas"))?;
    let mut has = BTreeSet::new();
    let mut owned = BTreeSet::new();
    for row in &rows {
        let object = Object {
            kind: match row.get::<&str, _>("kind") {
                "SCHEMA" => "SCHEMA",
                "SEQUENCE" => "SEQUENCE",
                "ROUTINE" => "ROUTINE",
                _ => "TABLE",
            },
            name: row.get("name"),
            column: row.get("column_name"),
        };
        let grantee: String = row.get("grantee");
        if row.get("owns") {
            owned.insert((object, grantee));
        } else {
            has.insert(Right { object, privilege: row.get("privilege"), grantee });
        }
    }
    // An owner needs no grant.
    let of_owner = |right: &Right| {
        let whole = Object { column: None, ..right.object.clone() };
        owned.contains(&(whole, right.grantee.clone()))
    };
    let extra = has.difference(&wanted).collect();
    let missing = wanted.difference(&has).filter(|right| !of_owner(right)).collect();
    for (verb, direction, rights) in [("REVOKE", "FROM", extra), ("GRANT", "TO", missing)] {
        for (object, privilege, roles) in grouped(rights) {
            done.rights_changed += 1;
            let column = object.column.as_deref().map(|name| format!(" ({})", Ident::known(name))).unwrap_or_default();
            let statement =
                format!("{verb} {privilege}{column} ON {} {} {direction} {roles}", object.kind, object.name);
            run(connection, statement, "set the rights on", &object.name).await?;
        }
    }
    Ok(())
}

/// One statement serves all roles that get the same.
fn grouped(rights: Vec<&Right>) -> Vec<(&Object, &str, String)> {
    let mut roles: BTreeMap<(&Object, &str), Vec<String>> = BTreeMap::new();
    for right in rights {
        let grantee =
            if right.grantee == "PUBLIC" { right.grantee.clone() } else { Ident::known(&right.grantee).to_string() };
        roles.entry((&right.object, &right.privilege)).or_default().push(grantee);
    }
    roles.into_iter().map(|((object, privilege), roles)| (object, privilege, roles.join(", "))).collect()
}
