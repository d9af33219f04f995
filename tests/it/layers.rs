//! Who may import whom: the order of groups in `src/lib.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads the groups: a comment that starts with a number opens one.
fn groups(lib: &str) -> BTreeMap<String, usize> {
    let mut group = 0;
    let mut groups = BTreeMap::new();
    for line in lib.lines() {
        if line.strip_prefix("// ").is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit())) {
            group += 1;
        } else if let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            groups.insert(name.to_owned(), group);
        }
    }
    groups
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Modules that a text names behind `crate::`, also in `use crate::{a, b::c}`.
fn imported(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` of a macro and `sandbox_crate::` are other words.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut item) = (0, String::new());
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(word(std::mem::take(&mut item).trim())),
                    c if depth == 0 => item.push(c),
                    _ => {}
                }
            }
            names.push(word(item.trim()));
        } else {
            names.push(word(rest));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What a module imports that it may not, as `file: module`.
fn violations(groups: &BTreeMap<String, usize>, module: &str, file: &str, text: &str) -> Vec<String> {
    let own = groups[module];
    let bad = |name: &String| name != module && groups.get(name).is_some_and(|group| *group >= own && *group > 1);
    imported(text).into_iter().filter(bad).map(|name| format!("{file} imports {name}")).collect()
}

#[test]
fn every_module_imports_earlier_groups_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let groups = groups(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    assert!(groups.len() >= 15, "found only {groups:?}");
    let mut found = Vec::new();
    for file in sources(&src) {
        let shown = file.strip_prefix(&src).unwrap().display().to_string();
        let module = shown.split(['/', '.']).next().unwrap();
        if matches!(module, "lib" | "main") {
            continue;
        }
        assert!(groups.contains_key(module), "`{module}` is in no group of src/lib.rs");
        found.extend(violations(&groups, module, &shown, &std::fs::read_to_string(&file).unwrap()));
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_bad_import_is_found_however_it_is_written() {
    let groups = groups(
        "// 1 leaves\npub mod ids;\npub mod clock;\n// 2 pure\npub mod formats;\npub mod contracts;\n// 3 doors\npub mod warehouse;\n",
    );
    let found = |text| violations(&groups, "formats", "formats/x.rs", text);
    assert_eq!(found("use crate::warehouse::Load;"), ["formats/x.rs imports warehouse"]);
    assert_eq!(found("use crate::{ids::StoreId, warehouse::{Load, Table}};"), ["formats/x.rs imports warehouse"]);
    assert_eq!(found("let x = crate::contracts::check(y);"), ["formats/x.rs imports contracts"]);
    assert!(found("use crate::ids::StoreId;\n// crate::warehouse is mentioned\nuse crate::formats::Kind;").is_empty());
}

#[test]
fn the_sandbox_never_imports_the_program() {
    let sandbox = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox/src");
    let guilty: Vec<PathBuf> = sources(&sandbox)
        .into_iter()
        .filter(|file| std::fs::read_to_string(file).unwrap().contains("storekeeper::"))
        .collect();
    assert_eq!(guilty, Vec::<PathBuf>::new());
}

#[test]
fn pure_files_do_no_io_and_read_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let forbidden = ["std::fs", "std::net", "tokio::", "sqlx::", "reqwest::", "Utc::now", "SystemTime", "Instant::now"];
    let pure = |shown: &str| {
        ["src/contracts/", "src/formats/", "src/transforms/", "forecast/src/"]
            .iter()
            .any(|folder| shown.starts_with(folder))
            || ["policy.rs", "plan.rs", "grants.rs", "retention.rs", "compare.rs"]
                .iter()
                .any(|name| shown.ends_with(name))
    };
    let mut found = Vec::new();
    let folders = [root.join("src"), root.join("forecast/src")];
    for file in folders.iter().flat_map(|folder| sources(folder)) {
        let shown = file.strip_prefix(root).unwrap().display().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        // Tests of pure code may read the files they compare with.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if pure(&shown) {
            found.extend(forbidden.iter().filter(|word| code.contains(**word)).map(|word| format!("{shown}: {word}")));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}
