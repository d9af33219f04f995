//! What a release of Metabase does differently from its neighbours.
//!
//! Every difference the stand-in knows is a question asked here, so that the
//! rest of the module never compares version numbers.

/// One release, as told by its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    tag: String,
    minor: u32,
    patch: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self::parse("v0.61.2")
    }
}

impl Profile {
    /// Reads a tag such as `v0.61.2`; one it cannot read counts as the newest.
    pub(super) fn parse(tag: &str) -> Self {
        let mut numbers = tag.trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
        let (minor, patch) = match (numbers.next(), numbers.next()) {
            (Some(Ok(_)), Some(Ok(minor))) => (minor, numbers.next().and_then(Result::ok)),
            _ => (u32::MAX, None),
        };
        Self { tag: tag.to_owned(), minor, patch: patch.unwrap_or(0) }
    }

    /// The tag as given.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// Queries are answered as MBQL 5, with the old form as a string beside it.
    pub(super) fn answers_mbql5(&self) -> bool {
        self.minor >= 57
    }

    /// A missing resource is a JSON envelope instead of plain text.
    pub(super) fn json_not_found(&self) -> bool {
        self.minor >= 59
    }

    /// The collection graph leaves `none` out.
    pub(super) fn sparse_collection_graph(&self) -> bool {
        (self.minor, self.patch) >= (56, 13)
    }

    /// Creating a collection bumps the revision of the collection graph.
    pub(super) fn collection_create_bumps_revision(&self) -> bool {
        self.minor >= 55
    }

    /// Groups say which of them are built in.
    pub(super) fn magic_groups(&self) -> bool {
        self.minor >= 57
    }

    /// A third built-in group, Data Analysts, exists.
    pub(super) fn data_analysts(&self) -> bool {
        self.minor >= 59
    }

    /// Graph writes take `force` and `skip-graph`.
    pub(super) fn graph_flags(&self) -> bool {
        self.minor >= 52
    }

    /// The status of a refused login.
    pub(super) fn refused_login_status(&self) -> u16 {
        if self.minor >= 46 { 401 } else { 400 }
    }

    /// A login to a deactivated account says so.
    pub(super) fn names_disabled_accounts(&self) -> bool {
        self.minor <= 56
    }

    /// `POST /api/user/:id/password-reset-url` exists.
    pub(super) fn password_reset_url(&self) -> bool {
        self.minor >= 60
    }

    /// Alerts have become notifications.
    pub(super) fn notifications(&self) -> bool {
        self.minor >= 54
    }

    /// Tenant columns appear on users and groups.
    pub(super) fn tenants(&self) -> bool {
        self.minor >= 57
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sparse_graph_starts_inside_a_minor_release() {
        assert!(!Profile::parse("v0.56.12").sparse_collection_graph());
        assert!(Profile::parse("v0.56.13").sparse_collection_graph());
        assert!(Profile::parse("v0.57.0").sparse_collection_graph());
    }

    #[test]
    fn an_unreadable_tag_is_the_newest() {
        assert!(Profile::parse("vUNKNOWN").json_not_found());
        assert!(!Profile::parse("v0.54.2").answers_mbql5());
        assert!(Profile::parse("v1.61.2-beta").answers_mbql5());
    }
}
