//! What needs no sign-in, or acts for our groups without being ours.

use std::collections::BTreeSet;

use super::findings::Findings;
use super::world::World;
use crate::metabase::client::{self, list};
use crate::metabase::tables::Kind;

impl World<'_> {
    /// Looks for links that need no sign-in, and for keys that act for our groups.
    pub(super) async fn links(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let sharing = self.gathered.actual.settings.get("enable-public-sharing");
        let shared = sharing.is_none_or(|setting| setting.value != false);
        for (path, kind) in [("api/card/public", "question"), ("api/dashboard/public", "dashboard")] {
            findings.check("public links");
            match self.gathered.client.get(path).await {
                Ok(answer) => {
                    for link in list(answer) {
                        let name = link["name"].as_str().unwrap_or_default();
                        findings.leak("anybody", format!("{kind} `{name}`"), "public link");
                    }
                }
                // While sharing is switched off the list is refused, and so is every link.
                Err(error) if !shared && error.status().is_some_and(|status| status.is_client_error()) => {}
                Err(error) => return Err(error),
            }
        }
        let ours: BTreeSet<i64> =
            self.desired().groups.keys().filter_map(|key| self.index.get(Kind::Group, key)).collect();
        for key in list(self.gathered.client.get("api/api-key").await?) {
            findings.check("API keys");
            if key["group"]["id"].as_i64().is_some_and(|group| ours.contains(&group)) {
                let name = key["name"].as_str().unwrap_or_default();
                let group = key["group"]["name"].as_str().unwrap_or_default();
                findings.exposures.insert(format!("the API key `{name}` has the rights of `{group}` and is not ours"));
            }
        }
        Ok(())
    }
}
