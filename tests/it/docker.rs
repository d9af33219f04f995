//! The compose file and the image's recipe hold what they promise.
//!
//! Where Docker's compose plugin is installed, it judges the file itself; what the
//! file must be for us is checked on its parsed form everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose() -> Value {
    serde_saphyr::from_str(&read("docker/compose.yml")).expect("compose.yml is YAML")
}

fn services(compose: &Value) -> &Map<String, Value> {
    compose["services"].as_object().expect("services")
}

/// The strings of a list, or the keys of a map: compose takes both in many places.
fn names(value: &Value) -> BTreeSet<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

/// Every `${NAME…}` of a compose file; `$$` is a dollar sign.
fn interpolated(text: &str) -> BTreeSet<String> {
    text.replace("$$", "")
        .split("${")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect())
        .collect()
}

/// The names that an env file sets.
fn assigned(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn docker_compose_accepts_the_file_where_it_is_installed() {
    let available =
        Command::new("docker").args(["compose", "version"]).output().is_ok_and(|output| output.status.success());
    if !available {
        println!("docker compose is not installed: only the structure is checked");
        return;
    }
    let judged = Command::new("docker")
        .args(["compose", "--profile", "certbot"])
        .args(["--file", "docker/compose.yml"])
        .args(["--env-file", "docker/.env.example"])
        .args(["config", "--quiet"])
        .current_dir(project())
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
}

#[test]
fn every_service_is_pinned_watched_limited_and_confined() {
    let compose = compose();
    let services = services(&compose);
    assert_eq!(services.keys().collect::<Vec<_>>(), ["postgres", "metabase", "storekeeper", "nginx", "certbot"]);
    for (name, service) in services {
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').expect("a tag").1;
        // Our own is built here; of others a full version is named.
        if service["build"].is_null() {
            assert!(tag.contains('.') && tag.contains(|c: char| c.is_ascii_digit()), "{name}: {image} is not pinned");
        }
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(names(&service["cap_drop"]), ["ALL"].into(), "{name}");
        assert!(names(&service["security_opt"]).contains("no-new-privileges:true"), "{name}");
        assert_ne!(service["privileged"], true, "{name}");
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(limits["cpus"].is_string(), "{name}: cpus");
        assert!(limits["memory"].is_string(), "{name}: memory");
    }

    // storekeeper's own is in its image; certbot serves nobody.
    for name in ["postgres", "metabase", "nginx"] {
        assert!(services[name]["healthcheck"]["test"].is_array(), "{name}");
    }
    assert!(read("docker/Dockerfile").contains("\nHEALTHCHECK "));
    for name in services.keys() {
        for (other, wanted) in services[name]["depends_on"].as_object().unwrap_or(&Map::new()) {
            assert!(services.contains_key(other), "{name} needs {other}");
            assert_eq!(wanted["condition"], "service_healthy", "{name}: {other}");
        }
    }
}

#[test]
fn only_nginx_can_be_reached_and_postgresql_only_by_its_two_users() {
    let compose = compose();
    let services = services(&compose);
    let networks = compose["networks"].as_object().unwrap();
    for (name, service) in services {
        assert_eq!(service["ports"].is_array(), name == "nginx", "{name}");
        assert!(service["network_mode"].is_null(), "{name}");
        for network in names(&service["networks"]) {
            assert!(networks.contains_key(network), "{name}: {network}");
        }
    }
    for network in ["data", "web"] {
        assert_eq!(networks[network]["internal"], true, "{network}");
    }
    assert_eq!(names(&services["postgres"]["networks"]), ["data"].into());
    let on = |network: &str| -> Vec<&str> {
        services
            .iter()
            .filter(|(_, service)| names(&service["networks"]).contains(network))
            .map(|(name, _)| name.as_str())
            .collect()
    };
    assert_eq!(on("data"), ["postgres", "metabase", "storekeeper"]);
    assert_eq!(on("web"), ["metabase", "storekeeper", "nginx"]);
    // Metabase reaches nothing outside.
    assert_eq!(on("out"), ["storekeeper"]);
    assert_eq!(on("edge"), ["nginx", "certbot"]);
}

#[test]
fn secrets_are_files_that_are_declared_used_and_made() {
    let compose = compose();
    let declared = names(&compose["secrets"]);
    let mut used = BTreeSet::new();
    for (name, service) in services(&compose) {
        let own = names(&service["secrets"]);
        let environment = service["environment"].as_object().unwrap();
        for (variable, value) in environment {
            let value = value.as_str().expect("quoted, so that nothing is guessed");
            let secret =
                ["PASSWORD", "PASS", "SECRET", "TOKEN", "DATABASE__URL"].iter().any(|end| variable.ends_with(end));
            assert!(!secret, "{name}: {variable} must be a file");
            if let Some(file) = value.strip_prefix("/run/secrets/") {
                assert!(own.contains(file), "{name}: {variable} is not given {file}");
            }
        }
        used.extend(own);
    }
    assert_eq!(declared, used);

    let script = read("docker/make-secrets.sh");
    for secret in declared {
        let file = compose["secrets"][secret]["file"].as_str();
        assert_eq!(file, Some(format!("./secrets/{secret}").as_str()));
        assert!(script.contains(secret), "make-secrets.sh forgets {secret}");
    }
}

#[test]
fn storekeeper_understands_its_environment() {
    let secrets = tempfile::tempdir().unwrap();
    let example: BTreeMap<String, String> = read("docker/.env.example")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let reference = Regex::new(r"\$\{([A-Z_]+)[^}]*\}").unwrap();
    let compose = compose();
    let environment = compose["services"]["storekeeper"]["environment"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().unwrap();
            let value = reference.replace_all(value, |found: &Captures<'_>| &example[&found[1]]);
            if let Some(secret) = value.strip_prefix("/run/secrets/") {
                let file = secrets.path().join(secret);
                std::fs::write(&file, "x").unwrap();
                return (name.clone(), file.display().to_string());
            }
            (name.clone(), value.into_owned())
        })
        .collect();
    let settings = storekeeper::settings::read(&[], &environment).unwrap();
    assert!(settings.database.url.is_some());
    assert!(settings.microsoft.is_some());
    assert!(settings.mail.smtp.password.is_some());
    // nginx and the health check look here.
    assert_eq!(settings.ops.listen.port(), 8080);
    assert!(settings.ops.listen.ip().is_unspecified());
    let metabase = settings.metabase.unwrap();
    assert_eq!(metabase.url, "http://metabase:3000");
    assert_eq!(
        metabase.site_url.as_deref(),
        compose["services"]["metabase"]["environment"]["MB_SITE_URL"]
            .as_str()
            .map(|url| url.replace("${SERVER_NAME:?see .env.example}", &example["SERVER_NAME"]))
            .as_deref()
    );
}

#[test]
fn the_example_environment_has_every_variable_and_no_other() {
    assert_eq!(interpolated(&read("docker/compose.yml")), assigned(&read("docker/.env.example")));
}

#[test]
fn nginx_is_given_the_variables_of_its_template() {
    let compose = compose();
    let known = assigned(&read("nginx/front.env"));
    let environment = compose["services"]["nginx"]["environment"].as_object().unwrap();
    for name in environment.keys().filter(|name| name.starts_with("FRONT_")) {
        assert!(known.contains(name), "{name} is not in nginx/front.env");
    }
    // Those whose defaults are right for a Debian host only.
    for name in known.iter().filter(|name| {
        let ends = ["CERTIFICATE", "_KEY", "_ROOT", "_DIR", "_LOG", "_USER", "_RESOLVER"];
        ends.iter().any(|end| name.ends_with(end))
    }) {
        assert!(environment.contains_key(name), "{name} is left to its default");
    }
}

/// The folder of definitions or settings that a mount `../x:/srv/storekeeper/x` brings.
fn definitions(mount: &str) -> Option<&str> {
    let (source, target) = mount.split_once(':')?;
    let name = source.strip_prefix("../")?;
    (target.strip_prefix("/srv/storekeeper/")? == name).then_some(name)
}

#[test]
fn what_is_mounted_from_the_project_or_declared_exists() {
    let compose = compose();
    let volumes = names(&compose["volumes"]);
    let folder = project().join("docker");
    let recipe = read("docker/Dockerfile");
    let mut used = BTreeSet::new();
    for (name, service) in services(&compose) {
        for mount in names(&service["volumes"]) {
            let source = mount.split(':').next().unwrap();
            if !source.starts_with('.') {
                assert!(volumes.contains(source), "{name}: {source}");
                used.insert(source);
            } else if let Some(shadowed) = mount.strip_suffix(":ro").and_then(definitions) {
                // Laid over the image's own copy.
                let copy = format!("\nCOPY {shadowed} ./{shadowed}\n");
                assert!(recipe.contains(&copy), "{name}: {source}");
            } else if source != "./tls" {
                // `tls` is made by make-secrets.sh.
                assert!(folder.join(source).exists(), "{name}: {source}");
            }
        }
    }
    assert_eq!(volumes, used);
}

#[test]
fn the_image_is_pinned_runs_as_nobody_special_and_finds_what_it_copies() {
    let recipe = read("docker/Dockerfile").replace("\\\n", " ");
    let lines = |word: &str| -> Vec<String> {
        recipe.lines().filter_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned()).collect()
    };
    let images = lines("FROM ");
    assert_eq!(images.len(), 2);
    for image in &images {
        let tag = image.split(' ').next().unwrap().rsplit_once(':').unwrap().1;
        assert!(tag.contains(|c: char| c.is_ascii_digit()), "{image}");
    }
    let toolchain: toml::Table = toml::from_str(&read("rust-toolchain.toml")).unwrap();
    let version = toolchain["toolchain"]["channel"].as_str().unwrap();
    assert!(images[0].starts_with(&format!("rust:{version}-")), "{images:?}");
    assert_eq!(lines("USER "), ["10001:10001"]);

    // The ignore file lets through what is copied, and nothing is copied twice.
    let let_through: BTreeSet<String> = read("docker/Dockerfile.dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .map(str::to_owned)
        .collect();
    let copied: BTreeSet<PathBuf> = lines("COPY ")
        .iter()
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| {
            let mut words: Vec<PathBuf> = line.split_whitespace().map(PathBuf::from).collect();
            words.pop();
            words
        })
        .collect();
    for path in &copied {
        assert!(
            let_through.iter().any(|allowed| path.starts_with(allowed)),
            "{} is kept out by Dockerfile.dockerignore",
            path.display()
        );
    }
    for allowed in &let_through {
        assert!(copied.iter().any(|path| path.starts_with(allowed)), "{allowed} is sent to the builder and not copied");
    }
}

/// The folders outside of `src/` that the sources compile in.
fn compiled_in(folder: &Path, found: &mut BTreeSet<String>) {
    let outside =
        Regex::new(r#"(?:include_str|include_bytes|migrate)!\("(?:\.{1,2}/)*([a-z]+)/"#).expect("a regular expression");
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("its entry").path();
        if path.is_dir() {
            compiled_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            found.extend(
                outside
                    .captures_iter(&text)
                    .map(|captures| captures[1].to_owned())
                    .filter(|name| project().join(name).is_dir()),
            );
        }
    }
}

#[test]
fn the_image_is_built_with_everything_the_sources_compile_in() {
    let recipe = read("docker/Dockerfile");
    let build = recipe.split("\nFROM ").nth(1).unwrap();
    let mut folders = BTreeSet::new();
    compiled_in(&project().join("src"), &mut folders);
    assert!(folders.contains("config"), "{folders:?}");
    for folder in folders {
        assert!(build.contains(&format!("\nCOPY {folder} ./{folder}\n")), "the build stage lacks {folder}");
    }
}
