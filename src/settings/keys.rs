//! The keys that exist, so that a typing error gets the nearest one as an answer.

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    List,
    /// Text that never stands in a file of ours.
    Secret,
}

/// Every key; `*` stands for a brand's id.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("installation.name", Kind::Text),
    ("installation.data_dir", Kind::Text),
    ("log.format", Kind::Text),
    ("log.filter", Kind::Text),
    ("database.url", Kind::Secret),
    ("database.max_connections", Kind::Number),
    ("warehouse.partitions_ahead", Kind::Number),
    ("warehouse.analyze_rows", Kind::Number),
    ("warehouse.history_days", Kind::Number),
    ("warehouse.archive_after_months", Kind::Number),
    ("warehouse.archive_dir", Kind::Text),
    ("warehouse.keep_files_days", Kind::Number),
    ("http.connect_timeout_seconds", Kind::Number),
    ("http.read_timeout_seconds", Kind::Number),
    ("http.attempts", Kind::Number),
    ("http.backoff_milliseconds", Kind::Number),
    ("http.throttled_pause_seconds", Kind::Number),
    ("http.retry_after_limit_seconds", Kind::Number),
    ("microsoft.tenant_id", Kind::Text),
    ("microsoft.client_id", Kind::Text),
    ("microsoft.client_secret", Kind::Secret),
    ("microsoft.client_secret_expires_on", Kind::Text),
    ("microsoft.certificate_file", Kind::Text),
    ("microsoft.private_key_file", Kind::Text),
    ("microsoft.cloud", Kind::Text),
    ("microsoft.authority_url", Kind::Text),
    ("microsoft.graph_url", Kind::Text),
    ("brands.*.title", Kind::Text),
    ("brands.*.time_zone", Kind::Text),
    ("brands.*.drive.site", Kind::Text),
    ("brands.*.drive.id", Kind::Text),
    ("brands.*.drive.user", Kind::Text),
    ("brands.*.dataverse_url", Kind::Text),
    ("brands.*.folder", Kind::Text),
    ("sources.file_limit_bytes", Kind::Number),
    ("sources.worksheet_limit_bytes", Kind::Number),
    ("sources.dataverse_page_size", Kind::Number),
    ("sources.concurrent_downloads", Kind::Number),
    ("sources.settle_seconds", Kind::Number),
    ("sources.throttled_limit_seconds", Kind::Number),
    ("sources.mismatched_text", Kind::Text),
    ("forecast.horizon_days", Kind::Number),
    ("metabase.url", Kind::Text),
    ("metabase.site_url", Kind::Text),
    ("metabase.site_name", Kind::Text),
    ("metabase.locale", Kind::Text),
    ("metabase.admin_email", Kind::Text),
    ("metabase.administrators", Kind::List),
    ("metabase.admin_password", Kind::Secret),
    ("metabase.database_host", Kind::Text),
    ("metabase.database_port", Kind::Number),
    ("metabase.database_ssl", Kind::Flag),
    ("metabase.wall", Kind::Text),
    ("metabase.isolation", Kind::Text),
    ("metabase.deactivation_limit", Kind::Number),
    ("metabase.deletion_limit", Kind::Number),
    ("metabase.report_time_zone", Kind::Text),
    ("metabase.start_of_week", Kind::Text),
    ("metabase.session_timeout_minutes", Kind::Number),
    ("metabase.home_page", Kind::Text),
    ("metabase.mail.host", Kind::Text),
    ("metabase.mail.port", Kind::Number),
    ("metabase.mail.security", Kind::Text),
    ("metabase.mail.username", Kind::Text),
    ("metabase.mail.password", Kind::Secret),
    ("metabase.mail.from_address", Kind::Text),
    ("metabase.mail.from_name", Kind::Text),
    ("metabase.cache.strategy", Kind::Text),
    ("metabase.cache.multiplier", Kind::Number),
    ("metabase.cache.min_duration_milliseconds", Kind::Number),
    ("mail.transport", Kind::Text),
    ("mail.from", Kind::Text),
    ("mail.to", Kind::List),
    ("mail.keep_dir", Kind::Text),
    ("mail.smtp.host", Kind::Text),
    ("mail.smtp.port", Kind::Number),
    ("mail.smtp.security", Kind::Text),
    ("mail.smtp.username", Kind::Text),
    ("mail.smtp.password", Kind::Secret),
    ("mail.smtp.ca_file", Kind::Text),
    ("scheduler.enabled", Kind::Flag),
    ("ops.listen", Kind::Text),
    ("audit.cron", Kind::Text),
    ("audit.time_zone", Kind::Text),
    ("audit.dir", Kind::Text),
    ("audit.keep_last", Kind::Number),
    ("audit.sample", Kind::Number),
    ("audit.mail_to", Kind::List),
    ("backup.target", Kind::Text),
    ("backup.recipients", Kind::List),
    ("backup.identity", Kind::Secret),
    ("backup.metabase_database_url", Kind::Secret),
    ("backup.keep_last", Kind::Number),
    ("backup.keep_daily", Kind::Number),
    ("backup.keep_weekly", Kind::Number),
    ("backup.programs_dir", Kind::Text),
    ("backup.cron", Kind::Text),
    ("backup.time_zone", Kind::Text),
    ("backup.s3.region", Kind::Text),
    ("backup.s3.endpoint", Kind::Text),
    ("backup.s3.allow_http", Kind::Flag),
    ("backup.s3.access_key_id", Kind::Text),
    ("backup.s3.secret_access_key", Kind::Secret),
    ("backup.azure.account", Kind::Text),
    ("backup.azure.endpoint", Kind::Text),
    ("backup.azure.allow_http", Kind::Flag),
    ("backup.azure.access_key", Kind::Secret),
    ("key_vault.sign_in", Kind::Text),
    ("key_vault.client_id", Kind::Text),
    ("key_vault.identity_url", Kind::Text),
];

/// Finds what is known of a key; `x_file` and `x.key_vault` of a secret `x` are keys as well.
pub(super) fn find(path: &str) -> Option<Kind> {
    let pattern = pattern_of(path);
    KEYS.iter().find_map(|(key, kind)| {
        if *key == pattern {
            return Some(*kind);
        }
        let elsewhere = |ending| *kind == Kind::Secret && pattern.strip_suffix(ending) == Some(key);
        (elsewhere("_file") || elsewhere(".key_vault")).then_some(Kind::Text)
    })
}

/// Says whether a path is a section, e.g. `mail.smtp`.
pub(super) fn is_section(path: &str) -> bool {
    let prefix = format!("{}.", pattern_of(path));
    prefix == "brands." || find(path) == Some(Kind::Secret) || KEYS.iter().any(|(key, _)| key.starts_with(&prefix))
}

/// Finds the known key that is spelled most alike.
pub(super) fn nearest(path: &str) -> Option<String> {
    let pattern = pattern_of(path);
    KEYS.iter()
        .map(|(key, _)| (strsim::damerau_levenshtein(key, &pattern), *key))
        .min()
        .filter(|(distance, _)| *distance <= 6)
        .map(|(_, key)| match path.strip_prefix("brands.").and_then(|rest| rest.split('.').next()) {
            Some(brand) => key.replacen('*', brand, 1),
            None => key.to_owned(),
        })
}

fn pattern_of(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('.').collect();
    if parts.len() > 1 && parts[0] == "brands" {
        parts[1] = "*";
    }
    parts.join(".")
}
