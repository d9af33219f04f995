//! PostgreSQL as each wall's role: what Metabase's connections can read at most.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};

use super::answers::StoreKey;
use super::findings::{Findings, RoleProof, digest};
use super::world::World;
use crate::access::{Scope, ScopeKind, has_role, role_name};
use crate::ids::{BrandId, StoreId};
use crate::metabase::AT_ONCE;
use crate::metabase::context::Error;
use crate::warehouse::probe::{self, Relation};

impl World<'_> {
    /// Signs in as every role and reads every table.
    pub(super) async fn roles(&self, findings: &mut Findings) -> Result<Vec<RoleProof>, Error> {
        let tree = &self.gathered.tree;
        let mut schemas: Vec<String> = tree.brands.iter().map(|brand| brand.id.schema()).collect();
        schemas.extend(["mart_all", "access", "ops", "walls", "public"].map(str::to_owned));
        let relations = probe::relations(self.warehouse(), &schemas)
            .await
            .map_err(|source| Error::Role { role: "owner".to_owned(), source })?;
        let scopes = tree.scopes().into_iter().filter(|scope| has_role(scope, self.context.settings.wall));
        let mut sampled: BTreeSet<(Option<BrandId>, ScopeKind)> = BTreeSet::new();
        let jobs: Vec<(Scope, Vec<&Relation>)> = scopes
            .map(|scope| {
                // A view shows its reader what the tables show her, so the tables are
                // enough; one role of each kind and brand proves it of the views.
                let views = sampled.insert((scope.brand().cloned(), scope.kind()));
                let relations =
                    relations.iter().filter(|relation| views || !relation.view || relation.owner_rights).collect();
                (scope, relations)
            })
            .collect();
        let found: Vec<(Findings, RoleProof)> = futures::stream::iter(jobs)
            .map(|(scope, relations)| async move {
                let role = role_name(&self.context.installation.name, &scope);
                let password = self.gathered.credentials.password(&role);
                let seen = probe::look(self.warehouse(), &role, &password, &relations)
                    .await
                    .map_err(|source| Error::Role { role: role.clone(), source })?;
                Ok::<_, Error>(self.role(&scope, &role, &relations, &seen))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut proofs = Vec::new();
        for (one, proof) in found {
            findings.add(one);
            proofs.push(proof);
        }
        proofs.sort_by(|left, right| left.scope.cmp(&right.scope));
        Ok(proofs)
    }

    fn role(&self, scope: &Scope, role: &str, relations: &[&Relation], seen: &probe::Seen) -> (Findings, RoleProof) {
        let mut findings = Findings::default();
        let who = format!("role {role}");
        let allowed = self.stores.of(scope);
        let mut all: BTreeSet<StoreKey> = BTreeSet::new();
        let mut lines = Vec::new();
        for relation in relations {
            findings.check("tables as a role");
            let key = (relation.schema.clone(), relation.name.clone());
            if !seen.readable.contains(&key) {
                continue;
            }
            let name = format!("{}.{}", relation.schema, relation.name);
            let schema_brand = relation.schema.strip_prefix("mart_").map(BrandId::from);
            let may_enter = match relation.schema.as_str() {
                "mart_all" => *scope == Scope::Chain,
                "walls" => relation.name == "stores",
                "access" | "ops" | "public" => false,
                _ => scope.brand().is_none_or(|brand| Some(brand) == schema_brand.as_ref()),
            };
            if !may_enter {
                findings.leak(&who, format!("table `{name}`"), "select as the role");
                continue;
            }
            for (brand, store) in seen.stores.get(&key).into_iter().flatten() {
                let brand = brand.as_deref().map(BrandId::from).or_else(|| schema_brand.clone());
                let pair = (brand.unwrap_or_else(|| BrandId::from("")), StoreId(store.clone()));
                lines.push(format!("{name} {}/{store}", pair.0));
                if !allowed.contains(&pair) {
                    findings.leak(&who, format!("store {}/{store} in `{name}`", pair.0), "select as the role");
                }
                all.insert(pair);
            }
        }
        let proof = RoleProof {
            role: role.to_owned(),
            scope: scope.to_string(),
            relations: seen.readable.len(),
            refused: relations.len() - seen.readable.len(),
            stores: all.len(),
            hash: digest(lines),
        };
        (findings, proof)
    }
}
