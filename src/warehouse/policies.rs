//! The wall on each table of a brand's schemas: its row policies, and who may select.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, Row as _};

use super::Ident;
use super::digest::hexadecimal;
use super::ident::literal;
use super::rights::{Object, Right};
use super::roles::{Error, Reconciled, refused, run};
use crate::ids::BrandId;

const READERS: &str = "storekeeper_readers";
const OWNER: &str = "storekeeper_owner";

/// One schema of a brand, and who may look into it.
pub(super) struct Wall<'a> {
    pub(super) brand: &'a BrandId,
    pub(super) schema: &'a str,
    pub(super) readers: BTreeSet<&'a str>,
    pub(super) loader: &'a str,
}

impl Wall<'_> {
    fn let_in(&self, object: &Object, privilege: &str, readers: bool, rights: &mut BTreeSet<Right>) {
        rights.insert(Right::new(object.clone(), privilege, self.loader));
        for reader in self.readers.iter().filter(|_| readers) {
            rights.insert(Right::new(object.clone(), privilege, reader));
        }
    }
}

/// Raises the wall on every relation of a schema, and notes who may read what.
pub(super) async fn raise(
    connection: &mut PgConnection,
    wall: &Wall<'_>,
    rights: &mut BTreeSet<Right>,
    done: &mut Reconciled,
) -> Result<(), Error> {
    let Wall { brand, schema, .. } = *wall;
    wall.let_in(&Object::schema(schema), "USAGE", true, rights);
    let rows = sqlx::query(
        "SELECT c.relname::text AS name, c.relkind = 'v' AS is_view,
                c.relispartition OR c.relkind IN ('m', 'f') OR starts_with(c.relname::text, '_') AS internal,
                pg_get_userbyid(c.relowner)::text AS owner,
                c.relrowsecurity AND c.relforcerowsecurity AS secured,
                coalesce('security_invoker=true' = ANY(c.reloptions), false) AS asks_as_reader,
                coalesce(obj_description(c.oid, 'pg_class') LIKE 'rights: owner%', false) AS owner_rights,
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'store_id'
                        AND NOT a.attisdropped) AS by_store,
                ARRAY(SELECT p.polname::text || ' ' || coalesce(obj_description(p.oid, 'pg_policy'), '')
                      FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
         FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         ORDER BY c.relname",
    )
    .bind(schema)
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read the tables of", schema))?;
    for row in rows {
        let name: String = row.get("name");
        let is_view: bool = row.get("is_view");
        let internal: bool = row.get("internal");
        if !is_view && !internal && row.get::<bool, _>("by_store") {
            let table = format!("{}.{}", Ident::known(schema), Ident::known(&name));
            if !row.get::<bool, _>("secured") {
                done.policies_changed += 1;
                let statement = format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
                run(connection, statement, "secure the rows of", &name).await?;
            }
            let policies: Vec<String> = row.get("policies");
            policies_on(connection, brand, &table, &name, row.get("owner"), &policies, done).await?;
        }
        // A view that asks with its owner's rights shows every row, unless it was
        // made to: it says so itself, and has no stores in it.
        let shows_own_rows = !is_view
            || row.get::<bool, _>("asks_as_reader")
            || (row.get::<bool, _>("owner_rights") && !row.get::<bool, _>("by_store"));
        // Of a partition's rows only the table above it asks the policies.
        wall.let_in(&Object::relation(schema, &name), "SELECT", shows_own_rows && !internal, rights);
    }
    let routines = sqlx::query(
        "SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS name,
                p.prokind = 'f' AND p.proretset AND NOT p.prosecdef AND p.proname::text LIKE '%\\_as\\_of'
                AND p.pronargs = 1 AND p.proargtypes[0] = 'timestamptz'::regtype AS for_readers
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = $1",
    )
    .bind(schema)
    .fetch_all(connection)
    .await
    .map_err(refused("read the functions of", schema))?;
    for row in routines {
        wall.let_in(&Object::routine(row.get("name")), "EXECUTE", row.get("for_readers"), rights);
    }
    Ok(())
}

async fn policies_on(
    connection: &mut PgConnection,
    brand: &BrandId,
    table: &str,
    name: &str,
    owner: &str,
    found: &[String],
    done: &mut Reconciled,
) -> Result<(), Error> {
    let readers = format!(
        "FOR SELECT USING (store_id IN (SELECT w.store_id FROM walls.stores w
         WHERE w.role_name = current_user AND w.brand = {}))",
        literal(&brand.0)
    );
    // FORCE binds the owner too: who loads must see and write every row.
    let owner = format!("TO {} USING (true) WITH CHECK (true)", Ident::known(owner));
    let mut wanted = BTreeMap::new();
    for (policy, text) in [(READERS, readers), (OWNER, owner)] {
        // The catalog rewrites expressions: a digest of ours is compared instead.
        let digest = hexadecimal(&Sha256::digest(&text)[..8]);
        wanted.insert(format!("{policy} {digest}"), (policy, text, digest));
    }
    for line in found.iter().filter(|line| !wanted.contains_key(*line)) {
        let policy = line.split(' ').next().unwrap_or_default();
        done.policies_changed += 1;
        let statement = format!("DROP POLICY {} ON {table}", Ident::known(policy));
        run(connection, statement, "drop a policy of", name).await?;
    }
    for (line, (policy, text, digest)) in &wanted {
        if found.contains(line) {
            continue;
        }
        done.policies_changed += 1;
        let policy = Ident::known(policy);
        run(connection, format!("CREATE POLICY {policy} ON {table} {text}"), "raise the wall on", name).await?;
        let note = format!("COMMENT ON POLICY {policy} ON {table} IS {}", literal(digest));
        run(connection, note, "raise the wall on", name).await?;
    }
    Ok(())
}
