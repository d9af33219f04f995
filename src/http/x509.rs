//! The two facts we need of a certificate: whose key it is for, and when it ends.
//!
//! Only positions are read and nothing is trusted: the key is compared with one
//! that is ours, the service itself verifies the certificate.

use chrono::{DateTime, NaiveDateTime, Utc};

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which a certificate of the first version leaves out.
const VERSION: u8 = 0xa0;

/// What a certificate says.
pub(super) struct Facts<'a> {
    /// The public key in its own encoding.
    pub(super) public_key: &'a [u8],
    /// The last moment at which it is good.
    pub(super) expires_at: DateTime<Utc>,
}

/// Reads a certificate in DER; `None` if it is none.
pub(super) fn facts(der: &[u8]) -> Option<Facts<'_>> {
    let certificate = Reader(der).of(SEQUENCE)?;
    let mut body = Reader(Reader(certificate).of(SEQUENCE)?);
    if body.0.first() == Some(&VERSION) {
        body.next()?;
    }
    // The serial number, the algorithm and the issuer.
    for _ in 0..3 {
        body.next()?;
    }
    let mut validity = Reader(body.of(SEQUENCE)?);
    validity.next()?;
    let (tag, text) = validity.next()?;
    let expires_at = moment(tag, std::str::from_utf8(text).ok()?)?;
    // The subject.
    body.next()?;
    let mut key = Reader(body.of(SEQUENCE)?);
    key.next()?;
    let (unused_bits, public_key) = key.of(BIT_STRING)?.split_first()?;
    (*unused_bits == 0).then_some(Facts { public_key, expires_at })
}

fn moment(tag: u8, text: &str) -> Option<DateTime<Utc>> {
    let text = match tag {
        GENERALIZED_TIME => text.to_owned(),
        // Two digits mean 1950 to 2049.
        UTC_TIME => {
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{text}")
        }
        _ => return None,
    };
    NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok().map(|moment| moment.and_utc())
}

/// DER values, one behind the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the next value, with its tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let digits = usize::from(first & 0x7f);
            if digits == 0 || digits > 4 {
                return None;
            }
            let (bytes, after) = rest.split_at_checked(digits)?;
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = after;
        }
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn of(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_certificate_is_none_wherever_it_ends() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 7);
        let der = parameters.self_signed(&pair).unwrap().der().to_vec();
        let facts = super::facts(&der).unwrap();
        assert_eq!(facts.expires_at.to_rfc3339(), "2031-05-07T00:00:00+00:00");
        assert_eq!(facts.public_key, rcgen::PublicKeyData::der_bytes(&pair));
        for end in 0..der.len() {
            assert!(super::facts(&der[..end]).is_none(), "{end}");
        }
        assert!(super::facts(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_none());
        assert!(super::facts(&[0x30, 0x80, 0x00, 0x00]).is_none());
    }

    #[test]
    fn both_spellings_of_a_moment_are_read() {
        let year = |tag, text| moment(tag, text).map(|moment| moment.format("%Y-%m-%d").to_string());
        assert_eq!(year(UTC_TIME, "491231235959Z").as_deref(), Some("2049-12-31"));
        assert_eq!(year(UTC_TIME, "500101000000Z").as_deref(), Some("1950-01-01"));
        assert_eq!(year(GENERALIZED_TIME, "20501231235959Z").as_deref(), Some("2050-12-31"));
        assert_eq!(year(UTC_TIME, "9"), None);
        assert_eq!(year(SEQUENCE, "20501231235959Z"), None);
    }
}
