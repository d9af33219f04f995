use super::*;

/// Made by `age-keygen` for this test.
const RECIPIENT: &str = "age1zl5szxnapqh03kwvmhfrd55nnpe2lxjzyuvx0ukqyha8y2pxm3pqdg8r97";
const IDENTITY: &str =
    "# created by age-keygen\nAGE-SECRET-KEY-15T0WQMJ3H84STFCM7XP3ZXAJ9RASDHNUSHMA8ZKR7VRP0D7V4RDSJ79PQQ\n";
const OTHER: &str = "AGE-SECRET-KEY-1PM7H66FNXLFDST587HWR29L9NXAWQ6Z7KPRYGDM0VLA6R223TU0S6E0SX5";
/// `printf 'the quick brown fox' | age -r …`, by age 1.1.1.
const BY_AGE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB2Rks5Z3F4d1dNVnUxalNhNmNQN2NvTnVQTWRYOWZRcjNqWmU5NlJQdFc4CnJwOGxVKzRobkhrRy9zQjgvbC9MUHRUMW9IOHFWOTF0bzJzbnh5YnRDRFUKLS0tIGg0OC9IbElQQ1pUTnJKTGNWNUF2dy9JWFBsQU0wcy9GNzIrOTNDOW9iMlkKtOIiLZ64TVcWQt3K6x3mEy5sYQ2hA6VBzYxM6IAqfK0BAZyPoWmPGFucpubdZHp1Tr/s";

fn encrypted(plain: &[u8], piece: usize) -> Vec<u8> {
    let (mut encryptor, mut out) = Encryptor::new(&[RECIPIENT.parse().unwrap()]).unwrap();
    for part in plain.chunks(piece) {
        encryptor.push(part, &mut out).unwrap();
    }
    encryptor.finish(&mut out).unwrap();
    out
}

fn opened(sealed: &[u8], piece: usize, identity: &str) -> Result<Vec<u8>, AgeError> {
    let mut decryptor = Decryptor::new(Identity::read_all(identity)?);
    let mut out = Vec::new();
    for part in sealed.chunks(piece) {
        decryptor.push(part, &mut out)?;
    }
    decryptor.finish(&mut out)?;
    Ok(out)
}

#[test]
fn what_age_encrypted_is_opened() {
    let sealed = base64::engine::general_purpose::STANDARD.decode(BY_AGE).unwrap();
    assert_eq!(opened(&sealed, 7, IDENTITY).unwrap(), b"the quick brown fox");
}

#[test]
fn every_length_around_a_chunk_comes_back_however_it_is_cut() {
    for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 5] {
        let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        for piece in [1000, 70_000] {
            let sealed = encrypted(&plain, piece);
            assert!(opened(&sealed, 4096, IDENTITY).unwrap() == plain, "{length} bytes in pieces of {piece}");
        }
    }
}

#[test]
fn another_key_opens_nothing() {
    let sealed = encrypted(b"secret", 100);
    assert_eq!(opened(&sealed, 100, OTHER), Err(AgeError::WrongKey));
    assert_eq!(opened(b"PGDMP no age at all", 100, IDENTITY), Err(AgeError::NotAge));
}

#[test]
fn no_bit_can_change_and_no_chunk_can_go() {
    let plain = vec![7_u8; 2 * CHUNK_BYTES + 100];
    let sealed = encrypted(&plain, 50_000);
    for at in (0..sealed.len()).step_by(4999).chain([0, 30, sealed.len() - 1]) {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(opened(&changed, 60_000, IDENTITY).is_err(), "byte {at}");
    }
    let start = sealed.len() - (plain.len() + 3 * TAG_BYTES);
    for end in [start - 20, start, start + SEALED_BYTES, start + 2 * SEALED_BYTES, sealed.len() - 1] {
        assert_eq!(opened(&sealed[..end], 60_000, IDENTITY), Err(AgeError::Damaged), "cut at {end}");
    }
    let without_first = [&sealed[..start], &sealed[start + SEALED_BYTES..]].concat();
    assert_eq!(opened(&without_first, 60_000, IDENTITY), Err(AgeError::Damaged));
}

#[test]
fn a_key_is_in_no_message() {
    let identities = Identity::read_all(IDENTITY).unwrap();
    assert_eq!(format!("{identities:?}"), "[Identity(…)]");
    assert_eq!(Identity::read_all("# nothing\n").unwrap_err(), AgeError::Identity);
    assert_eq!(Identity::read_all(RECIPIENT).unwrap_err(), AgeError::Identity);
}
