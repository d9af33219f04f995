//! The people who read the numbers, and what they are granted.

use super::brand::Brand;
use super::names::{draw, plain};
use super::random::Stream;

/// One line of the people file: a person and one of the person's grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Address, unique to the person.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Language of the person's mails and dashboards.
    pub language: String,
    /// `chain`, `brand:harbor`, `region:harbor/North` or `store:harbor/000101`.
    pub scope: String,
    /// `viewer`, `analyst` or `owner`.
    pub level: String,
}

/// Lists everybody's grants: head office, brand heads, regions, stores, then
/// those with more than one store.
pub(super) fn grants(seed: u64, brands: &[Brand]) -> Vec<Grant> {
    let mut posts: Vec<Vec<(String, &str)>> = vec![vec![("chain".to_owned(), "owner")]];
    for brand in brands {
        posts.push(vec![(format!("brand:{}", brand.id), "owner")]);
    }
    for brand in brands {
        for region in &brand.regions {
            posts.push(vec![(format!("region:{}/{region}", brand.id), "analyst")]);
        }
    }
    for brand in brands {
        for index in 0..brand.stores.len() {
            posts.push(vec![(store(brand, index), "viewer")]);
        }
    }
    if let [first, second] = brands {
        posts.push(vec![(store(first, 0), "viewer"), (store(first, 1), "viewer")]);
        posts.push(vec![(store(second, 5), "viewer"), (store(second, 9), "viewer")]);
        posts.push(vec![(store(first, 6), "analyst")]);
        // The same store number in both brands.
        posts.push(vec![(store(first, 24), "viewer"), (store(second, 0), "viewer")]);
    }
    let mut stream = Stream::new(seed, &["people"]);
    let names = draw(&mut stream, posts.len());
    let mut taken: Vec<String> = Vec::new();
    let mut grants = Vec::new();
    for (name, post) in names.into_iter().zip(posts) {
        let language = if stream.chance(0.2) { "es" } else { "en" };
        let email = address(name, &taken);
        taken.push(email.clone());
        for (scope, level) in post {
            grants.push(Grant {
                email: email.clone(),
                first_name: name.0.to_owned(),
                last_name: name.1.to_owned(),
                language: language.to_owned(),
                scope,
                level: level.to_owned(),
            });
        }
    }
    grants
}

/// Writes the grants as a CSV file, one line a grant.
pub(super) fn csv(grants: &[Grant]) -> String {
    let mut csv = String::from("email,first_name,last_name,language,scope,level\n");
    for grant in grants {
        let fields =
            [grant.email.as_str(), &grant.first_name, &grant.last_name, &grant.language, &grant.scope, &grant.level];
        csv.push_str(&fields.join(","));
        csv.push('\n');
    }
    csv
}

fn store(brand: &Brand, index: usize) -> String {
    format!("store:{}", brand.store_key(&brand.stores[index]))
}

/// Finds an address nobody has yet.
fn address(name: (&str, &str), taken: &[String]) -> String {
    let base = format!("{}.{}", plain(name.0), plain(name.1));
    let mut email = format!("{base}@example.com");
    let mut count = 2;
    while taken.contains(&email) {
        email = format!("{base}{count}@example.com");
        count += 1;
    }
    email
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::brand::found;
    use super::*;

    #[test]
    fn every_store_and_region_has_somebody() {
        let brands = found(7, 1);
        let grants = grants(7, &brands);
        let scopes: BTreeSet<&str> = grants.iter().map(|grant| grant.scope.as_str()).collect();
        for brand in &brands {
            for index in 0..brand.stores.len() {
                assert!(scopes.contains(store(brand, index).as_str()));
            }
            for region in &brand.regions {
                assert!(scopes.contains(format!("region:{}/{region}", brand.id).as_str()));
            }
        }
        let people: BTreeSet<&str> = grants.iter().map(|grant| grant.email.as_str()).collect();
        assert_eq!(people.len(), 57);
        assert_eq!(grants.len(), 60);
    }

    #[test]
    fn somebody_has_the_same_number_in_both_brands() {
        let csv = csv(&grants(7, &found(7, 1)));
        let line = |scope: &str| {
            csv.lines()
                .filter(|line| line.contains(scope))
                .map(|line| line.split(',').next().expect("a field").to_owned())
                .collect::<BTreeSet<_>>()
        };
        let both = &line("store:harbor/000125") & &line("store:mesa/000125");
        assert_eq!(both.len(), 1);
    }

    #[test]
    fn no_field_needs_quotes() {
        for line in csv(&grants(7, &found(7, 1))).lines() {
            assert_eq!(line.split(',').count(), 6, "{line}");
        }
    }
}
